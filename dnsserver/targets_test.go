package dnsserver

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// A record of an SRV answer may lead to a host of others. HAProxy and its like look for
// the address beside it and nowhere else.
func TestAddressesOfOthersHostsComeAlong(t *testing.T) {
	u := newUpstream(t, func(q dns.Question) []string {
		switch {
		case q.Name == "a.example." && q.Qtype == dns.TypeA:
			return []string{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN A 203.0.113.5"}
		case q.Name == "c.example." && q.Qtype == dns.TypeAAAA:
			return []string{"c.example. 60 IN AAAA 2001:db8::5"}
		}
		return []string{"example. 60 IN SOA a. b. 1 2 3 4 5"}
	})
	l := newForwarding(t, u.addr)
	for n, address := range []string{"a.example", "c.example", "c.example", "10.1.1.1"} {
		l.register(t, registry.Instance{Service: "db", ID: fmt.Sprint(n), Port: 80 + n, Address: address})
	}
	want := []string{
		"0a010101.addr.dc1.test. 5 IN A 10.1.1.1",
		"a.example. 60 IN CNAME b.example.", "b.example. 60 IN A 203.0.113.5", "c.example. 60 IN AAAA 2001:db8::5",
	}
	for range 2 {
		m := l.resolve(t, question("db.service.test.", dns.TypeSRV, 0), friend)
		got := texts(m.Extra)
		slices.Sort(got)
		if !slices.Equal(got, want) || len(m.Answer) != 4 || !m.Authoritative || !m.RecursionAvailable || m.Truncated {
			t.Errorf("the answer is %v", m)
		}
	}
	if m := l.resolve(t, question("db.service.test.", dns.TypeSRV, 0), stranger); len(m.Answer) != 4 || len(m.Extra) != 1 || m.RecursionAvailable {
		t.Errorf("a stranger gets %v", m)
	}
	if m := l.resolve(t, question("db.service.test.", dns.TypeSRV, 512), friend); len(m.Answer) != 4 || m.Truncated || m.IsEdns0() == nil {
		t.Errorf("in 512 octets the answer is %v", m)
	}
}

func TestAnAnswerWaitsBrieflyForAddressesOfOthersHosts(t *testing.T) {
	u := newUpstream(t, func(dns.Question) []string { return nil })
	l := newForwarding(t, u.addr)
	l.register(t, registry.Instance{Service: "db", Port: 80, Address: "a.example"})
	began := time.Now()
	m := l.resolve(t, question("db.service.test.", dns.TypeSRV, 1232), friend)
	if took := time.Since(began); took < targetTime/2 || took > 10*targetTime {
		t.Errorf("the answer took %v", took)
	}
	if len(m.Answer) != 1 || m.Rcode != dns.RcodeSuccess {
		t.Errorf("the answer is %v", m)
	}
}

// TestAComposedAnswerSaysWhy asks for an alias to a name of others, while they or the
// registry are away.
func TestAComposedAnswerSaysWhy(t *testing.T) {
	u := newUpstream(t, func(q dns.Question) []string {
		if q.Name == "lost.example." {
			return nil
		}
		return outside(q)
	})
	l := newForwarding(t, u.addr)
	l.register(t, registry.Instance{Service: "lost", Port: 80, Address: "lost.example"})
	l.register(t, registry.Instance{Service: "web", Port: 80, Address: "web.example"})
	if m := l.resolve(t, question("lost.service.test.", dns.TypeA, 1232), friend); m.Rcode != dns.RcodeServerFailure || extendedError(m) != int(dns.ExtendedErrorCodeNoReachableAuthority) {
		t.Errorf("while nobody answers for it: %v", m)
	}
	l.freshness = func() *registry.Freshness { return &registry.Freshness{Synced: true, Stale: true} }
	if m := l.resolve(t, question("web.service.test.", dns.TypeA, 1232), friend); len(m.Answer) != 2 || extendedError(m) != int(dns.ExtendedErrorCodeStaleAnswer) {
		t.Errorf("while the registry is away: %v", m)
	}
}
