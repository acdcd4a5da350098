package dnssec

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/dns"
)

func newKey(t testing.TB, zone string) *Key {
	t.Helper()
	k, err := Generate(zone)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSigner(t testing.TB, keys ...*Key) *Signer {
	t.Helper()
	s, err := NewSigner(keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rrset(t testing.TB, records ...string) (all []dns.RR) {
	t.Helper()
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rr)
	}
	return all
}

func sign(t testing.TB, s *Signer, set []dns.RR, p Period, keep bool) *dns.RRSIG {
	t.Helper()
	signatures, err := s.Sign(set, Order{Period: p, Keep: keep})
	if err != nil || len(signatures) != 1 {
		t.Fatalf("%d signatures, %v", len(signatures), err)
	}
	return signatures[0].(*dns.RRSIG)
}

func TestASignatureIsGoodFromAnHourBeforeItsPeriodToAWeekAfter(t *testing.T) {
	s := newSigner(t, newKey(t, "test."))
	now := time.Date(2026, 5, 17, 13, 30, 0, 0, time.UTC)
	rrsig := sign(t, s, rrset(t, "web.test. 5 A 10.0.0.1"), PeriodAt(now), true)
	for at, want := range map[string]bool{
		"2026-05-16T22:59:59Z": false, "2026-05-16T23:00:00Z": true, "2026-05-17T13:30:00Z": true,
		"2026-05-25T00:00:00Z": true, "2026-05-25T00:00:01Z": false,
	} {
		moment, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := rrsig.ValidityPeriod(moment); got != want {
			t.Errorf("%s: good %v", at, got)
		}
	}
}

func TestASignatureIsOverTheSetAndNotOverItsOrder(t *testing.T) {
	k := newKey(t, "test.")
	s := newSigner(t, k)
	first := rrset(t, "web.test. 5 A 10.0.0.1", "web.test. 5 A 10.0.0.2")
	rrsig := sign(t, s, first, 20000, true)
	second := rrset(t, "web.test. 5 A 10.0.0.2", "web.test. 5 A 10.0.0.1")
	if again := sign(t, s, second, 20000, true); again.Signature != rrsig.Signature || s.Made() != 1 || s.Recalled() != 1 {
		t.Errorf("another order was signed anew: %d signatures", s.Made())
	}
	if err := rrsig.Verify(&k.public, second); err != nil {
		t.Error(err)
	}
	for what, set := range map[string][]dns.RR{
		"another TTL":     rrset(t, "web.test. 6 A 10.0.0.1", "web.test. 6 A 10.0.0.2"),
		"another address": rrset(t, "web.test. 5 A 10.0.0.1", "web.test. 5 A 10.0.0.3"),
		"another owner":   rrset(t, "wbe.test. 5 A 10.0.0.1", "wbe.test. 5 A 10.0.0.2"),
	} {
		if other := sign(t, s, set, 20000, true); other.Signature == rrsig.Signature || other.Verify(&k.public, set) != nil {
			t.Errorf("%s: %v", what, other)
		}
	}
	if other := sign(t, s, first, 20001, true); other.Signature == rrsig.Signature {
		t.Error("another period has the same signature")
	}
}

// TestARememberedSignatureKeepsNothingOfTheQuestion signs for an owner whose text
// is used again, as that of a question is.
func TestARememberedSignatureKeepsNothingOfTheQuestion(t *testing.T) {
	s := newSigner(t, newKey(t, "test."))
	text := []byte("web.test.")
	set := rrset(t, "web.test. 5 A 10.0.0.1")
	set[0].Header().Name = unsafe.String(&text[0], len(text))
	sign(t, s, set, 20000, true)
	copy(text, "xxxxxxxxx")
	if again := sign(t, s, rrset(t, "web.test. 5 A 10.0.0.1"), 20000, true); again.Hdr.Name != "web.test." || s.Recalled() != 1 {
		t.Errorf("remembered was %v", again)
	}
}

func TestOnlyWhatIsMadeIsOnTheBudget(t *testing.T) {
	s := newSigner(t, newKey(t, "test."))
	left := 1
	order := Order{Period: 20000, Keep: true, Allow: func() bool { left--; return left >= 0 }}
	for range 3 { // the first is made, the others are remembered
		if _, err := s.Sign(rrset(t, "web.test. 5 A 10.0.0.1"), order); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Sign(rrset(t, "wbe.test. 5 A 10.0.0.1"), order); !errors.Is(err, ErrBudget) {
		t.Errorf("beyond the budget: %v", err)
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	s := newSigner(t, newKey(t, "test."))
	sign(t, s, rrset(t, "made-up.test. 5 A 10.0.0.1"), 20000, false)
	for i := range s.memory {
		if s.memory[i].Load() != nil {
			t.Fatal("a signature was kept that was not to be")
		}
	}
}

func TestTheKeysSignWhatTheyAreFor(t *testing.T) {
	first, second, data := newKey(t, "test."), newKey(t, "test."), newKey(t, "test.")
	data.public.Flags = flagZone
	data.tag = data.public.KeyTag()
	for _, row := range []struct {
		keys     []*Key
		first    *Key
		ofKeys   int
		entries  int
		behalves string
	}{
		{[]*Key{first}, first, 1, 1, "one key"},
		{[]*Key{first, second}, first, 2, 2, "a new key behind the old one"},
		{[]*Key{first, data}, data, 1, 1, "a key of the zone's own"},
		{[]*Key{data, first, second}, data, 2, 2, "that, and a roll-over of the others"},
	} {
		s := newSigner(t, row.keys...)
		ofKeys, err := s.Sign(s.Keys(dns.TypeDNSKEY), Order{Period: 20000, Keep: true})
		rrsig := sign(t, s, rrset(t, "web.test. 5 A 10.0.0.1"), 20000, true)
		if err != nil || len(ofKeys) != row.ofKeys || len(s.Keys(dns.TypeDNSKEY)) != len(row.keys) || rrsig.KeyTag != row.first.tag ||
			len(s.Keys(dns.TypeCDS)) != row.entries || len(s.Keys(dns.TypeCDNSKEY)) != row.entries || len(s.DS()) != row.entries {
			t.Errorf("%s: %d signatures of the keys, signed with %d", row.behalves, len(ofKeys), rrsig.KeyTag)
		}
	}
	if _, err := NewSigner([]*Key{data}); err == nil {
		t.Error("a zone needs no key that a DS may point to")
	}
	if _, err := NewSigner([]*Key{first, first}); err == nil {
		t.Error("the same key is taken twice")
	}
}

func TestAKeyIsReadAsItWasWritten(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "Web.Example")
	if err := k.Write(dir); err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(dir, k.Name())
	if info, err := os.Stat(base + ".private"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key: %v, %v", info, err)
	}
	for _, path := range []string{base, base + ".key", base + ".private"} {
		if again, err := ReadKey(path); err != nil || again.DS().String() != k.DS().String() || again.Zone() != "web.example." {
			t.Errorf("%s: %v", path, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("there are %v, %v", entries, err)
	}
}

func TestAKeyIsNeverOverwritten(t *testing.T) {
	for _, ending := range []string{".key", ".private"} {
		dir, k := t.TempDir(), newKey(t, "test.")
		path := filepath.Join(dir, k.Name()+ending)
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := k.Write(dir); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", ending, err)
		}
		entries, err := os.ReadDir(dir)
		if text, _ := os.ReadFile(path); string(text) != "precious" || err != nil || len(entries) != 1 {
			t.Errorf("%s: there are %v now, and %q", ending, entries, text)
		}
	}
}

func TestAKeyThatIsNoneIsRefused(t *testing.T) {
	dir := t.TempDir()
	k, other := newKey(t, "test."), newKey(t, "test.")
	for _, key := range []*Key{k, other} {
		if err := key.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	read := func(key *Key, ending string) string {
		text, err := os.ReadFile(filepath.Join(dir, key.Name()+ending))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, row := range []struct{ behaviour, public, private, want string }{
		{"another's private key", read(k, ".key"), read(other, ".private"), "does not belong"},
		{"no private key", read(k, ".key"), "", "no private key"},
		{"rubbish", read(k, ".key"), "rubbish", "no private key"},
		{"no DNSKEY", "; nothing\n", read(k, ".private"), "no DNSKEY"},
		{"another record", "test. A 10.0.0.1\n", read(k, ".private"), "no DNSKEY"},
		{"another algorithm", strings.Replace(read(k, ".key"), " 13 ", " 8 ", 1), read(k, ".private"), "algorithm 8"},
		{"a revoked key", strings.Replace(read(k, ".key"), "257 3", "385 3", 1), read(k, ".private"), "signs no zone"},
	} {
		base := filepath.Join(dir, "K")
		for ending, text := range map[string]string{".key": row.public, ".private": row.private} {
			if err := os.WriteFile(base+ending, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := ReadKey(base); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.behaviour, err)
		}
	}
	if _, err := ReadKey(filepath.Join(dir, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestBINDReadsTheKey lets dnssec-dsfromkey and dnssec-signzone read what Write has
// written, and reads what dnssec-keygen has.
func TestBINDReadsTheKey(t *testing.T) {
	if _, err := exec.LookPath("dnssec-signzone"); err != nil {
		t.Skip("dnssec-signzone is not installed: .ci/install does that")
	}
	dir, k := t.TempDir(), newKey(t, "test.")
	if err := k.Write(dir); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), name, args...)
		command.Dir = dir
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	if out := run("dnssec-dsfromkey", "-2", k.Name()+".key"); !strings.Contains(strings.ToUpper(out), strings.ToUpper(k.DS().Digest)) {
		t.Errorf("the DS is %s\nand not %v", out, k.DS())
	}
	zone := "@ 60 SOA ns a 1 3600 600 86400 30\n@ 60 NS ns\nns 60 A 10.0.0.1\n$INCLUDE " + k.Name() + ".key\n"
	if err := os.WriteFile(filepath.Join(dir, "zone"), []byte(zone), 0o600); err != nil {
		t.Fatal(err)
	}
	run("dnssec-signzone", "-z", "-o", "test.", "zone", k.Name())
	theirs := strings.TrimSpace(run("dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "other.test"))
	key, err := ReadKey(filepath.Join(dir, theirs))
	if err != nil || key.Name() != theirs || key.Zone() != "other.test." {
		t.Errorf("the key of dnssec-keygen, %s: %v", theirs, err)
	}
}

func TestTheSuccessorOfANameComesNext(t *testing.T) {
	label := func(c string, n int) string { return strings.Repeat(c, n) }
	rest := "." + label("m", 63) + "." + label("m", 63) + "." + label("m", 63) + "."
	for _, row := range []struct{ behaviour, name, want string }{
		{"a name with room", "web.test.", `\000.web.test.`},
		{"the root", ".", `\000.`},
		{"one octet too long for a label more", label("a", 60) + rest, label("a", 60) + `\000` + rest},
		{"the longest", label("a", 61) + rest, label("a", 60) + "b" + rest},
		{"up to where letters would begin", label("a", 60) + `\@` + rest, label("a", 60) + "[" + rest},
		{"with the highest octet", label("a", 60) + `\255` + rest, label("a", 59) + "b" + rest},
	} {
		if got := successor(row.name); got != row.want {
			t.Errorf("%s: %s, want %s", row.behaviour, got, row.want)
		}
	}
}

func TestAnNSECListsEachTypeOnceInOrder(t *testing.T) {
	nsec := Exists("web.test.", 5, []uint16{dns.TypeSRV, dns.TypeA, dns.TypeSRV})
	if got := nsec.String(); got != "web.test.\t5\tIN\tNSEC\t\\000.web.test. A SRV RRSIG NSEC" {
		t.Error(got)
	}
	if got := Absent("wbe.test.", 5).String(); got != "wbe.test.\t5\tIN\tNSEC\t\\000.wbe.test. RRSIG NSEC NXNAME" {
		t.Error(got)
	}
}
