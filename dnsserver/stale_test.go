package dnsserver

import (
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
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

// TestStaleAnswersAreKeptForFiveSecondsAtMost asks for everything that has a TTL, when
// the longest that may be is configured.
func TestStaleAnswersAreKeptForFiveSecondsAtMost(t *testing.T) {
	l := newLabFrom(t, zones.Config{Zones: []string{"test."}, TTL: zones.MaxTTL, NegativeTTL: zones.MaxTTL})
	l.register(t, registry.Instance{Service: "web", Port: 80, Address: "10.1.0.1"})
	now := registry.Freshness{Synced: true}
	l.freshness = func() *registry.Freshness { return &now }
	most := func(network, name string, qtype uint16) (ttl uint32) {
		reply := l.ask(t, network, new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, false))
		records := slices.Concat(reply.Answer, reply.Ns, reply.Extra)
		for _, record := range records {
			if record.Header().Rrtype != dns.TypeOPT {
				ttl = max(ttl, record.Header().Ttl)
			}
		}
		if len(records) < 2 {
			t.Errorf("%s %s over %s:\n%v", name, dns.TypeToString[qtype], network, reply)
		}
		return ttl
	}
	for _, network := range []string{"udp", "tcp"} {
		for name, qtype := range map[string]uint16{
			"web.service.test.": dns.TypeA, "_web._tcp.service.test.": dns.TypeSRV, "test.": dns.TypeSOA,
			"wbe.service.test.": dns.TypeA, "service.test.": dns.TypeTXT, "n1.node.test.": dns.TypeA,
		} {
			now.Stale = false
			if ttl := most(network, name, qtype); ttl != 3600 {
				t.Errorf("%s over %s, fresh: TTL %d", name, network, ttl)
			}
			now.Stale = true
			if ttl := most(network, name, qtype); ttl > 5 {
				t.Errorf("%s over %s, stale: TTL %d", name, network, ttl)
			}
		}
	}
}
