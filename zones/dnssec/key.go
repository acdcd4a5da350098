package dnssec

import (
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"
)

// keyTTL is for how long, in seconds, others may keep a zone's keys: a key that is
// to be used has to be published for that long before, and stay for that long
// after.
const keyTTL = 3600

// The flags of a DNSKEY (RFC 4034, section 2.1.1).
const (
	flagZone = 1 << 8
	flagSEP  = 1 // a DS in the parent zone may point to it
)

// Key is a key of a zone, the private one and the DNSKEY that tells of it. It is
// immutable.
type Key struct {
	public  dns.DNSKEY
	private crypto.Signer
	tag     uint16
}

// Generate makes a key for a zone, which signs the zone's keys as well as all else
// that is in it.
func Generate(zone string) (*Key, error) {
	k := &Key{public: dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: dns.CanonicalName(zone), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: keyTTL},
		Flags: flagZone | flagSEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}}
	private, err := k.public.Generate(256)
	if err != nil {
		return nil, fmt.Errorf("generate a key for %s: %w", zone, err)
	}
	return k.with(private)
}

// with adds the private key, and makes sure that it is the DNSKEY's.
func (k *Key) with(private crypto.PrivateKey) (*Key, error) {
	signer, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the private key is none of ECDSA")
	}
	k.private, k.tag = signer, k.public.KeyTag()
	trial := []dns.RR{&dns.NULL{Hdr: dns.RR_Header{Name: k.Zone(), Rrtype: dns.TypeNULL, Class: dns.ClassINET}}}
	sig, err := k.sign(trial, 0)
	if err != nil || sig.Verify(&k.public, trial) != nil {
		return nil, errors.New("the private key does not belong to the DNSKEY")
	}
	return k, nil
}

// Zone returns the zone that the key is of, fully qualified and in lower case.
func (k *Key) Zone() string { return k.public.Hdr.Name }

// Tag returns the key's tag (RFC 4034, appendix B).
func (k *Key) Tag() uint16 { return k.tag }

// DNSKEY returns the public key as the zone has it.
func (k *Key) DNSKEY() *dns.DNSKEY { return dns.Copy(&k.public).(*dns.DNSKEY) }

// DS returns what the parent zone has to say of the key (RFC 4509).
func (k *Key) DS() *dns.DS { return k.public.ToDS(dns.SHA256) }

// isEntry tells whether a DS may point to the key.
func (k *Key) isEntry() bool { return k.public.Flags&flagSEP != 0 }

// Name returns what the key's two files are called before .key and .private.
func (k *Key) Name() string {
	return fmt.Sprintf("K%s+%03d+%05d", k.Zone(), k.public.Algorithm, k.tag)
}

// Write writes the key to two files in a directory, in the format of BIND: NAME.key
// with the DNSKEY, and NAME.private, which only their owner may read. Both are
// either there and whole or not there. What is there already stays as it is, and
// the error is fs.ErrExist then.
func (k *Key) Write(dir string) error {
	private := filepath.Join(dir, k.Name()+".private")
	if err := writeNew(private, k.public.PrivateKeyString(k.private), 0o600); err != nil {
		return err
	}
	text := fmt.Sprintf("; This is a key of %s, %d.\n%s\n", k.Zone(), k.tag, k.public.String())
	if err := writeNew(filepath.Join(dir, k.Name()+".key"), text, 0o644); err != nil {
		return errors.Join(err, os.Remove(private))
	}
	return nil
}

// writeNew writes a file that is not there yet. The text is on disk before the
// name is there.
func writeNew(path, text string, mode fs.FileMode) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".rollcall-key-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(temporary.Name())) }()
	_, err = temporary.WriteString(text)
	if err := errors.Join(err, temporary.Chmod(mode), temporary.Sync(), temporary.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Link(temporary.Name(), path); err != nil { // which never replaces a file
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// ReadKey reads a key from the two files that Write writes, or another program
// that knows BIND's format. The path is that of either, or without .key and
// .private.
func ReadKey(path string) (*Key, error) {
	base := strings.TrimSuffix(strings.TrimSuffix(path, ".private"), ".key")
	k := new(Key)
	if err := k.readPublic(base + ".key"); err != nil {
		return nil, err
	}
	file, err := os.Open(base + ".private")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	private, err := k.public.ReadPrivateKey(file, base+".private")
	if err != nil || private == nil {
		return nil, fmt.Errorf("%s.private is no private key in BIND's format", base)
	}
	if k, err = k.with(private); err != nil {
		return nil, fmt.Errorf("%s.private: %w", base, err)
	}
	return k, nil
}

// readPublic reads the DNSKEY.
func (k *Key) readPublic(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	rr, err := dns.ReadRR(file, path)
	public, ok := rr.(*dns.DNSKEY)
	switch {
	case err != nil:
		return fmt.Errorf("%s is no DNSKEY: %w", path, err)
	case !ok:
		return fmt.Errorf("%s has no DNSKEY", path)
	case public.Algorithm != dns.ECDSAP256SHA256:
		return fmt.Errorf("%s has a key of algorithm %d, and only 13 is known here, ECDSA on P-256", path, public.Algorithm)
	case public.Flags&flagZone == 0 || public.Flags&dns.REVOKE != 0 || public.Protocol != 3:
		return fmt.Errorf("%s has a key that signs no zone: its flags are %d", path, public.Flags)
	}
	k.public = *public
	k.public.Hdr.Name, k.public.Hdr.Ttl, k.public.Hdr.Class = dns.CanonicalName(public.Hdr.Name), keyTTL, dns.ClassINET
	return nil
}
