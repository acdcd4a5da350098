package transfer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const longSecret = "YSBzZWNyZXQgb2Ygc29tZSB0aGlydHktdHdvIG9jdHM="

func TestKeysAreReadAsBINDHasThem(t *testing.T) {
	keys, err := ParseKeys(`
# written by tsig-keygen
key "Transfer" {
	algorithm hmac-sha256;
	secret "` + longSecret + `";
};
// one without quotes, in one line
key other.example. { secret ` + longSecret + `; algorithm HMAC-SHA512; }; /* and
a comment of two lines */`)
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 2 || keys["transfer."].algorithm != dns.HmacSHA256 || keys["other.example."].algorithm != dns.HmacSHA512 {
		t.Errorf("%d keys, %q and %q", len(keys), keys["transfer."].algorithm, keys["other.example."].algorithm)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", keys, keys, keys, keys); strings.Contains(text, "secret") || strings.Contains(text, "97") {
		t.Errorf("keys print as %s", text)
	}
}

func TestAMistakeInKeysIsSaidWithoutTheSecret(t *testing.T) {
	key := func(body string) string { return "\nkey k {" + body + "};" }
	for _, row := range []struct{ name, text, want string }{
		{"dig's form", "hmac-sha256:k:" + longSecret, "line 1: only clauses of the form key NAME { … }; may stand here"},
		{"no algorithm", key("secret " + longSecret + ";"), "line 2: the key k. needs an algorithm and a secret"},
		{"no secret", key("algorithm hmac-sha256;"), "line 2: the key k. needs an algorithm and a secret"},
		{"an unknown algorithm", key("algorithm hmac-md5; secret " + longSecret + ";"), "line 2: the algorithm is none that is known, as hmac-sha256 is"},
		{"no base64", key("algorithm hmac-sha256;\nsecret \"" + longSecret + "!\";"), "line 3: the secret is no base64"},
		{"a short one", key("algorithm hmac-sha256; secret c2hvcnQ=;"), "line 2: the secret has 5 octets, and fewer than 16 can be guessed"},
		{"twice", key("algorithm hmac-sha256; secret "+longSecret+";") + key("algorithm hmac-sha256; secret "+longSecret+";"), "line 3: the key k. is there twice"},
		{"something else", key("algoritm hmac-sha256;"), "line 2: a key has an algorithm and a secret, and nothing else"},
		{"no end", "key k { algorithm hmac-sha256; secret " + longSecret + ";", "line 1: a key has an algorithm and a secret, and nothing else"},
		{"a quotation without one", "key \"k\n{", "line 1: a quotation has no end"},
		{"a comment without one", "/* key", "line 1: a comment has no end"},
		{"no name", "key \".\" {", "line 1: the key's name is no domain name"},
		{"no semicolon", "key k { algorithm hmac-sha256; secret " + longSecret + "; }", "line 1: ; is missing"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := ParseKeys(row.text)
			if err == nil || err.Error() != row.want || strings.Contains(err.Error(), longSecret) {
				t.Errorf("%v", err)
			}
		})
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add("key \"k\" { algorithm hmac-sha256; secret \"" + longSecret + "\"; };")
	f.Add("/* */ // \n# {};\"\"")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseKeys(text)
		for name, k := range keys {
			if err != nil || !dns.IsFqdn(name) || algorithms[k.algorithm] == nil || len(k.secret) < minSecret {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}
