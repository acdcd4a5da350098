package transfer

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/miekg/dns"
)

// Keys are TSIG keys by their names, fully qualified and in lower case. They print
// as nothing but a number, so that no log ever has a secret.
type Keys map[string]key

type key struct {
	algorithm string // fully qualified, in lower case
	secret    []byte
}

// String returns how many keys there are.
func (ks Keys) String() string { return fmt.Sprintf("%d keys", len(ks)) }

// GoString does the same.
func (ks Keys) GoString() string { return ks.String() }

// Has tells whether there is a key of a name, fully qualified and in lower case.
func (ks Keys) Has(name string) bool { return ks[name].secret != nil }

// algorithms are those of RFC 8945, section 6, but for MD5 and what is truncated.
var algorithms = map[string]func() hash.Hash{
	dns.HmacSHA1: sha1.New, dns.HmacSHA224: sha256.New224, dns.HmacSHA256: sha256.New,
	dns.HmacSHA384: sha512.New384, dns.HmacSHA512: sha512.New,
}

// minSecret is the shortest secret that is taken, octets.
const minSecret = 16

// ParseKeys reads keys in the form of BIND's configuration, which tsig-keygen writes:
//
//	key "transfer" {
//		algorithm hmac-sha256;
//		secret "c2Vj…";
//	};
//
// Errors have the line, and never a secret.
func ParseKeys(text string) (Keys, error) {
	keys, in := make(Keys), &clauses{text: text, line: 1}
	for {
		word, err := in.next()
		switch {
		case err != nil:
			return nil, err
		case word == "":
			return keys, nil
		case word != "key":
			return nil, in.errorf("only clauses of the form key NAME { … }; may stand here")
		}
		name, k, err := in.key()
		if err != nil {
			return nil, err
		}
		if keys.Has(name) {
			return nil, in.errorf("the key %s is there twice", name)
		}
		keys[name] = k
	}
}

// key reads a clause behind the word key.
func (in *clauses) key() (name string, k key, err error) {
	if name, err = in.next(); err != nil {
		return "", k, err
	}
	name = dns.CanonicalName(name)
	if _, isName := dns.IsDomainName(name); !isName || name == "." {
		return "", k, in.errorf("the key's name is no domain name")
	}
	if err := in.expect("{"); err != nil {
		return "", k, err
	}
	for {
		word, err := in.next()
		if err != nil {
			return "", k, err
		}
		switch word {
		case "algorithm":
			err = in.algorithm(&k)
		case "secret":
			err = in.secret(&k)
		case "}":
			if k.algorithm == "" || k.secret == nil {
				return "", k, in.errorf("the key %s needs an algorithm and a secret", name)
			}
			return name, k, in.expect(";")
		default:
			err = in.errorf("a key has an algorithm and a secret, and nothing else")
		}
		if err == nil {
			err = in.expect(";")
		}
		if err != nil {
			return "", k, err
		}
	}
}

func (in *clauses) algorithm(k *key) error {
	word, err := in.next()
	if err != nil {
		return err
	}
	if k.algorithm = dns.CanonicalName(word); algorithms[k.algorithm] == nil {
		return in.errorf("the algorithm is none that is known, as hmac-sha256 is")
	}
	return nil
}

func (in *clauses) secret(k *key) error {
	word, err := in.next()
	if err != nil {
		return err
	}
	if k.secret, err = base64.StdEncoding.DecodeString(word); err != nil {
		return in.errorf("the secret is no base64")
	}
	if len(k.secret) < minSecret {
		return in.errorf("the secret has %d octets, and fewer than %d can be guessed", len(k.secret), minSecret)
	}
	return nil
}

// clauses reads the words of a configuration as BIND has it.
type clauses struct {
	text string // that was not read yet
	line int
}

func (in *clauses) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{in.line}, args...)...)
}

// next returns the next word, without its quotes; empty: there is none.
func (in *clauses) next() (string, error) {
	if err := in.skip(); err != nil || in.text == "" {
		return "", err
	}
	switch c := in.text[0]; c {
	case '{', '}', ';':
		return in.take(1), nil
	case '"':
		end := strings.IndexAny(in.text[1:], "\"\n")
		if end < 0 || in.text[1+end] == '\n' {
			return "", in.errorf("a quotation has no end")
		}
		word := in.take(end + 2)
		return word[1 : len(word)-1], nil
	}
	end := strings.IndexAny(in.text, "{}; \t\r\n\"")
	if end < 0 {
		end = len(in.text)
	}
	return in.take(end), nil
}

// skip skips blanks and comments, of which there are three kinds.
func (in *clauses) skip() error {
	for in.text != "" {
		switch {
		case strings.ContainsRune(" \t\r\n", rune(in.text[0])):
			in.take(1)
		case in.text[0] == '#', strings.HasPrefix(in.text, "//"):
			end := strings.IndexByte(in.text, '\n')
			if end < 0 {
				end = len(in.text)
			}
			in.take(end)
		case strings.HasPrefix(in.text, "/*"):
			end := strings.Index(in.text, "*/")
			if end < 0 {
				return in.errorf("a comment has no end")
			}
			in.take(end + 2)
		default:
			return nil
		}
	}
	return nil
}

// take returns the next octets, and goes behind them.
func (in *clauses) take(n int) string {
	taken := in.text[:n]
	in.text, in.line = in.text[n:], in.line+strings.Count(taken, "\n")
	return taken
}

func (in *clauses) expect(want string) error {
	word, err := in.next()
	if err == nil && word != want {
		err = in.errorf("%s is missing", want)
	}
	return err
}

// mac returns what a key makes of octets. The error is dns.ErrSecret where there is
// no such key.
func (ks Keys) mac(octets []byte, name, algorithm string) ([]byte, error) {
	k, ok := ks[dns.CanonicalName(name)]
	if !ok || k.algorithm != dns.CanonicalName(algorithm) {
		return nil, dns.ErrSecret
	}
	h := hmac.New(algorithms[k.algorithm], k.secret)
	h.Write(octets)
	return h.Sum(nil), nil
}

// Generate implements dns.TsigProvider.
func (ks Keys) Generate(octets []byte, t *dns.TSIG) ([]byte, error) {
	return ks.mac(octets, t.Hdr.Name, t.Algorithm)
}

// Verify implements dns.TsigProvider.
func (ks Keys) Verify(octets []byte, t *dns.TSIG) error {
	want, err := ks.Generate(octets, t)
	if err != nil {
		return err
	}
	got, err := hex.DecodeString(t.MAC)
	if err != nil || !hmac.Equal(got, want) {
		return errors.Join(dns.ErrSig, err)
	}
	return nil
}
