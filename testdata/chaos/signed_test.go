package chaos

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// signedZone is the second zone that rollcall answers for: the same services, signed.
const signedZone = "signed.internal."

// anchors are the keys of the signed zone, all of which a validator was told of, and
// those that it has found in the zone. Its methods may be called from any goroutine,
// but for roll.
type anchors struct {
	j      *journal
	config string   // the file that names the keys that rollcall has
	files  []string // of all keys
	told   []*dns.DNSKEY

	mu    sync.Mutex
	found map[uint16]*dns.DNSKEY
}

const keys = 3

// newAnchors has the program make keys, and gives it the first.
func newAnchors(j *journal, path string) *anchors {
	j.t.Helper()
	dir := j.t.TempDir()
	a := &anchors{j: j, config: filepath.Join(dir, "rollcall.yaml"), found: make(map[uint16]*dns.DNSKEY)}
	for range keys {
		if out, err := exec.Command(path, "keygen", "--dir", dir, signedZone).CombinedOutput(); err != nil {
			j.t.Fatalf("keygen: %v\n%s", err, out)
		}
	}
	var err error
	if a.files, err = filepath.Glob(filepath.Join(dir, "*.private")); err != nil || len(a.files) != keys {
		j.t.Fatalf("keygen has written %q: %v", a.files, err)
	}
	for _, file := range a.files {
		text, err := os.ReadFile(strings.TrimSuffix(file, ".private") + ".key")
		if err != nil {
			j.t.Fatal(err)
		}
		rr, err := dns.NewRR(string(text))
		if err != nil {
			j.t.Fatal(err)
		}
		a.told = append(a.told, rr.(*dns.DNSKEY))
	}
	if err := a.give(0); err != nil {
		j.t.Fatal(err)
	}
	return a
}

// flags has rollcall answer for the signed zone, too, behind another.
func (a *anchors) flags(zone string) []string {
	return []string{"--zone", zone, "--zone", signedZone, "--config", a.config}
}

// give names keys, the one that signs first, for when the configuration is read.
func (a *anchors) give(numbers ...int) error {
	text := "dnssec-key:\n"
	for _, n := range numbers {
		text += fmt.Sprintf("  - %q\n", a.files[n%keys])
	}
	if err := os.WriteFile(a.config+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(a.config+".new", a.config)
}

// roll has one key follow another, as the page about DNSSEC has it but for the time
// between, and rollcall read its configuration anew each time. Certificates and their
// keys go together meanwhile, as it looks at those, too.
func (a *anchors) roll(api string, weather *weather, files sync.Locker, random *rand.Rand, over func() bool) {
	client := &http.Client{Timeout: acknowledgedWithin, Transport: &http.Transport{DisableKeepAlives: true}}
	for n := 0; ; n++ {
		for _, numbers := range [][]int{{n, n + 1}, {n + 1, n}, {n + 1}} {
			time.Sleep(time.Duration(random.Float64() * float64(time.Second)))
			if over() {
				return
			}
			if err := a.give(numbers...); err != nil {
				a.j.wrong("wrong", "the keys: %v", err)
			}
			files.Lock()
			good := weather.watch()
			status, text, err := put(client, "http://"+api+"/v1/agent/reload", nil)
			files.Unlock()
			if err != nil {
				time.Sleep(noticeWithin)
			}
			if fine, _ := good(); fine && status != http.StatusOK {
				a.j.wrong("refused outside of faults", "other keys: %d %s, %v", status, text, err)
			}
		}
		a.j.add("keys rolled over", 1)
	}
}

// judge holds a reply against the keys that the zone has, and asks for them where
// they are others than before.
func (a *anchors) judge(reply *dns.Msg, by *asker) {
	if !a.knows(reply) {
		keys, _, _ := by.ask(signedZone, dns.TypeDNSKEY)
		if keys == nil {
			return
		}
		if err := a.learn(keys); err != nil {
			a.j.wrong("wrong", "%v", err)
		}
	}
	a.j.add("signed answers", 1)
	if err := a.validate(reply); err != nil {
		a.j.wrong("wrong", "over %s does not validate: %v:\n%v", by.network, err, reply)
	}
}

// learn takes the zone's keys from an answer, where one that was told has signed
// them.
func (a *anchors) learn(reply *dns.Msg) error {
	for _, set := range sets(reply.Answer) {
		if set.qtype != dns.TypeDNSKEY || set.name != signedZone {
			continue
		}
		for _, key := range a.told {
			if !slices.ContainsFunc(set.records, func(rr dns.RR) bool { return dns.IsDuplicate(rr, key) }) || set.by(key) != nil {
				continue
			}
			a.mu.Lock()
			for _, rr := range set.records {
				a.found[rr.(*dns.DNSKEY).KeyTag()] = rr.(*dns.DNSKEY)
			}
			a.mu.Unlock()
			return nil
		}
	}
	return fmt.Errorf("no key that is trusted has signed the zone's keys:\n%v", reply)
}

// knows tells whether all keys that have signed something are known.
func (a *anchors) knows(reply *dns.Msg) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, section := range [][]dns.RR{reply.Answer, reply.Ns, reply.Extra} {
		for _, rr := range section {
			if s, ok := rr.(*dns.RRSIG); ok && a.found[s.KeyTag] == nil {
				return false
			}
		}
	}
	return true
}

// validate judges a reply as a validator does: all that is in it is signed, but for
// what was added where there was no room for signatures, and what is not there is
// denied.
func (a *anchors) validate(reply *dns.Msg) error {
	for n, section := range [][]dns.RR{reply.Answer, reply.Ns, reply.Extra} {
		for _, set := range sets(section) {
			if err := a.verify(set); err != nil && !(n == 2 && len(set.signatures) == 0) {
				return fmt.Errorf("%s %s: %w", set.name, dns.TypeToString[set.qtype], err)
			}
		}
	}
	if len(reply.Answer) == 0 {
		return denied(reply)
	}
	return nil
}

func (a *anchors) verify(set *rrset) error {
	if len(set.signatures) == 0 {
		return fmt.Errorf("is not signed")
	}
	for _, signature := range set.signatures {
		a.mu.Lock()
		key := a.found[signature.KeyTag]
		a.mu.Unlock()
		if key == nil {
			return fmt.Errorf("is signed by key %d, which the zone has not", signature.KeyTag)
		}
		if err := set.by(key); err != nil {
			return err
		}
	}
	return nil
}

// denied tells whether a reply without an answer proves that there is none.
func denied(reply *dns.Msg) error {
	q := reply.Question[0]
	soa := false
	for _, rr := range reply.Ns {
		_, is := rr.(*dns.SOA)
		soa = soa || is
	}
	for _, rr := range reply.Ns {
		nsec, ok := rr.(*dns.NSEC)
		if !ok || !strings.EqualFold(nsec.Hdr.Name, q.Name) {
			continue
		}
		if slices.Contains(nsec.TypeBitMap, q.Qtype) || slices.Contains(nsec.TypeBitMap, dns.TypeCNAME) || !soa {
			return fmt.Errorf("no proof that there is none: %v, with a SOA: %v", nsec, soa)
		}
		return nil
	}
	return fmt.Errorf("%s %s: there is neither an answer nor a proof", q.Name, dns.TypeToString[q.Qtype])
}

// rrset is one of a section, with its signatures.
type rrset struct {
	name       string
	qtype      uint16
	records    []dns.RR
	signatures []*dns.RRSIG
}

// sets takes a section apart.
func sets(section []dns.RR) (all []*rrset) {
	of := func(name string, qtype uint16) *rrset {
		name = dns.CanonicalName(name)
		for _, s := range all {
			if s.name == name && s.qtype == qtype {
				return s
			}
		}
		all = append(all, &rrset{name: name, qtype: qtype})
		return all[len(all)-1]
	}
	for _, rr := range section {
		switch rr := rr.(type) {
		case *dns.OPT:
		case *dns.RRSIG:
			s := of(rr.Hdr.Name, rr.TypeCovered)
			s.signatures = append(s.signatures, rr)
		default:
			s := of(rr.Header().Name, rr.Header().Rrtype)
			s.records = append(s.records, rr)
		}
	}
	return all
}

// by tells whether a key has signed it, and the signature is good now.
func (s *rrset) by(key *dns.DNSKEY) error {
	if len(s.records) == 0 {
		return fmt.Errorf("there is a signature, and nothing that it is of")
	}
	for _, signature := range s.signatures {
		if signature.KeyTag != key.KeyTag() {
			continue
		}
		if !signature.ValidityPeriod(time.Now()) {
			return fmt.Errorf("its signature is not good now: %v", signature)
		}
		if signature.SignerName != signedZone || s.records[0].Header().Ttl > signature.OrigTtl {
			return fmt.Errorf("its signature is of others: %v", signature)
		}
		return signature.Verify(key, s.records)
	}
	return fmt.Errorf("key %d has not signed it", key.KeyTag())
}
