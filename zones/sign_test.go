package zones

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/zones/dnssec"
	"github.com/rollcall-dns/rollcall/zones/static"
)

func newKeys(t *testing.T, zones ...string) (keys []*dnssec.Key) {
	t.Helper()
	for _, zone := range zones {
		key, err := dnssec.Generate(zone)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

func TestAKeyIsOfAZoneThatIsServed(t *testing.T) {
	_, err := New(Config{Zones: []string{"test."}, Keys: newKeys(t, "other.")})
	if err == nil || !strings.Contains(err.Error(), "there is a key of other., which is none of the zones") {
		t.Error(err)
	}
	z := with(t, Config{Zones: []string{"test."}, Keys: newKeys(t, "test.", "10.in-addr.arpa.")})
	for zone := range z.All() {
		if signed := zone.Signer() != nil; signed != (zone.Name == "test." || zone.Name == "10.in-addr.arpa.") {
			t.Errorf("%s is signed: %v", zone.Name, signed)
		}
	}
	if !z.Signs() || with(t, Config{Zones: []string{"test."}}).Signs() {
		t.Error("whether anything is signed is told wrong")
	}
}

// TestADelegationIsSignedAsFarAsItIsOurs asks who signs what is at a delegation.
func TestADelegationIsSignedAsFarAsItIsOurs(t *testing.T) {
	z := with(t, Config{
		Zones: []string{"svc.corp.example."}, Keys: newKeys(t, "corp.example.", "svc.corp.example."),
		Files: []*static.File{file(t, "corp.example.", "sub NS ns.sub\nsub DS 1 13 2 00\nns.sub A 10.0.0.4\n")},
	})
	for ask, want := range map[string]string{
		"corp.example. NS": "corp.example.", "ns1.corp.example. A": "corp.example.",
		"sub.corp.example. NS": "", "sub.corp.example. DS": "corp.example.", "sub.corp.example. NSEC": "corp.example.", "ns.sub.corp.example. A": "",
		"svc.corp.example. NS": "svc.corp.example.", "svc.corp.example. DS": "corp.example.", "x.svc.corp.example. A": "svc.corp.example.",
		"www.elsewhere. A": "", "10.in-addr.arpa. SOA": "",
	} {
		name, rrtype, _ := strings.Cut(ask, " ")
		got := ""
		if signer := z.signerOf(&dns.RR_Header{Name: name, Rrtype: dns.StringToType[rrtype]}); signer != nil {
			got = signer.Keys(dns.TypeDNSKEY)[0].Header().Name
		}
		if got != want {
			t.Errorf("%s is signed by %q, want %q", ask, got, want)
		}
	}
}

// TestProvingChangesNothingThatIsThere compares the records of an answer with
// those of the one that Prove makes of it.
func TestProvingChangesNothingThatIsThere(t *testing.T) {
	z := with(t, Config{Zones: []string{"consul."}, Keys: newKeys(t, "consul.")})
	v := view(foo(), instance("web", at("10.0.0.1")))
	for _, ask := range []string{"web.service.consul. SRV", "web.service.consul. AAAA", "consul. SOA", "service.consul. A"} {
		q := question(t, ask)
		r := z.NewResolver()
		plain := z.Resolve(v, q)
		a, _ := r.Resolve(v, []byte(q.Name), q.Type)
		proven := r.Prove(a, dnssec.Order{Period: 20000, Keep: true})
		if len(proven.Records) != len(plain.Records) || proven.Rcode != plain.Rcode || len(proven.Authority) < len(plain.Authority) {
			t.Errorf("%s: %v\n%v", ask, plain, proven)
		}
	}
}
