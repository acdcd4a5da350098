package dnsserver

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// extendedError returns the code of a reply's Extended DNS Error, or -1.
func extendedError(m *dns.Msg) int {
	if opt := m.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if ede, ok := option.(*dns.EDNS0_EDE); ok {
				return int(ede.InfoCode)
			}
		}
	}
	return -1
}

func TestWhileTheRegistryIsAway(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80, Address: "10.1.0.1"})
	var now registry.Freshness
	l.freshness = func() *registry.Freshness { return &now }
	ask := func(name string) *dns.Msg {
		return l.ask(t, "udp", new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(1232, false))
	}
	for _, c := range []struct {
		behaviour string
		now       registry.Freshness
		maxStale  time.Duration
		name      string
		rcode     int
		answers   int
		error     int
	}{
		{"fresh: an answer", registry.Freshness{Synced: true}, 0, "web.service.test.", dns.RcodeSuccess, 1, -1},
		{"stale: the same, and that it is", registry.Freshness{Synced: true, Stale: true}, 0, "web.service.test.", dns.RcodeSuccess, 1, int(dns.ExtendedErrorCodeStaleAnswer)},
		{"stale: a name that was not there", registry.Freshness{Synced: true, Stale: true}, 0, "wbe.service.test.", dns.RcodeNameError, 0, int(dns.ExtendedErrorCodeStaleAnswer)},
		{"stale for longer than allowed", registry.Freshness{Synced: true, Stale: true, Since: time.Now().Add(-time.Hour)}, time.Minute, "web.service.test.", dns.RcodeServerFailure, 0, int(dns.ExtendedErrorCodeNotReady)},
		{"not synced yet: what is not there may yet be", registry.Freshness{Stale: true}, 0, "wbe.service.test.", dns.RcodeServerFailure, 0, int(dns.ExtendedErrorCodeNotReady)},
		{"somebody else's name is refused all the same", registry.Freshness{Stale: true}, 0, "example.com.", dns.RcodeRefused, 0, int(dns.ExtendedErrorCodeNotAuthoritative)},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			now, l.maxStale = c.now, c.maxStale
			reply := ask(c.name)
			if reply.Rcode != c.rcode || len(reply.Answer) != c.answers || extendedError(reply) != c.error {
				t.Errorf("%s, %d answers, extended error %d; want %s, %d, %d", dns.RcodeToString[reply.Rcode], len(reply.Answer),
					extendedError(reply), dns.RcodeToString[c.rcode], c.answers, c.error)
			}
		})
	}
}
