package forward

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestOnlyWhatWasAskedForIsBelieved(t *testing.T) {
	for _, row := range []struct {
		name       string
		qtype      uint16
		answer, ns []string
		want       []string
	}{
		{"the records", dns.TypeA, []string{"www.example. 60 A 192.0.2.1", "www.example. 60 A 192.0.2.2"}, nil,
			[]string{"www.example. 60 A 192.0.2.1", "www.example. 60 A 192.0.2.2"}},
		{"no record of another name", dns.TypeA, []string{"www.example. 60 A 192.0.2.1", "bank.example. 60 A 203.0.113.66"}, nil,
			[]string{"www.example. 60 A 192.0.2.1"}},
		{"no record of another type", dns.TypeA, []string{"www.example. 60 A 192.0.2.1", "www.example. 60 MX 1 mail.example."}, nil,
			[]string{"www.example. 60 A 192.0.2.1"}},
		{"what an alias leads to", dns.TypeA, []string{"b.example. 60 A 192.0.2.1", "www.example. 60 CNAME B.example."}, nil,
			[]string{"www.example. 60 CNAME B.example.", "b.example. 60 A 192.0.2.1"}},
		{"nothing beyond an alias's end", dns.TypeA, []string{"www.example. 60 CNAME b.example.", "c.example. 60 A 192.0.2.1"}, nil,
			[]string{"www.example. 60 CNAME b.example."}},
		{"the alias itself", dns.TypeCNAME, []string{"www.example. 60 CNAME b.example.", "b.example. 60 A 192.0.2.1"}, nil,
			[]string{"www.example. 60 CNAME b.example."}},
		{"all that there is, and what an alias among it leads to", dns.TypeANY,
			[]string{"b.example. 60 A 192.0.2.1", "www.example. 60 CNAME b.example.", "b.example. 60 TXT x", "c.example. 60 A 192.0.2.2"}, nil,
			[]string{"www.example. 60 CNAME b.example.", "b.example. 60 A 192.0.2.1", "b.example. 60 TXT x"}},
		{"all that there is, though the alias's end is not told", dns.TypeANY, []string{"www.example. 60 CNAME b.example."}, []string{"example. 60 SOA a. b. 1 2 3 4 5"},
			[]string{"www.example. 60 CNAME b.example."}},
		{"a DNAME, what is made of it, and all that there is there", dns.TypeANY,
			[]string{"example. 60 DNAME other.test.", "www.example. 60 CNAME www.other.test.", "www.other.test. 60 A 192.0.2.1"}, nil,
			[]string{"example. 60 DNAME other.test.", "www.example. 60 CNAME www.other.test.", "www.other.test. 60 A 192.0.2.1"}},
		{"a DNAME and what is made of it", dns.TypeA,
			[]string{"example. 60 DNAME other.test.", "www.example. 60 CNAME www.other.test.", "www.other.test. 60 A 192.0.2.1"}, nil,
			[]string{"example. 60 DNAME other.test.", "www.example. 60 CNAME www.other.test.", "www.other.test. 60 A 192.0.2.1"}},
		{"up to where an alias leads to a name of ours", dns.TypeA,
			[]string{"www.example. 60 CNAME web.ours.test.", "web.ours.test. 60 A 203.0.113.66"}, nil,
			[]string{"www.example. 60 CNAME web.ours.test."}},
		{"the zone that has no such record", dns.TypeA, nil, []string{"example. 60 SOA a. b. 1 2 3 4 5"},
			[]string{"example. 60 SOA a. b. 1 2 3 4 5"}},
		{"no zone that the name is not in", dns.TypeA, nil, []string{"com. 60 SOA a. b. 1 2 3 4 5", "example. 60 NS evil.example."}, nil},
		{"no servers beside an answer", dns.TypeA, []string{"www.example. 60 A 192.0.2.1"}, []string{"example. 60 NS evil.example."},
			[]string{"www.example. 60 A 192.0.2.1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := newAsker(t, "192.0.2.53")
			m, err := a.scrub(&dns.Msg{Answer: records(t, row.answer...), Ns: records(t, row.ns...)}, "www.example.", row.qtype)
			if err != nil {
				t.Fatal(err)
			}
			var got, want strings.Builder
			for _, rr := range append(m.Answer, m.Ns...) {
				got.WriteString(rr.String() + "\n")
			}
			for _, text := range row.want {
				for _, rr := range records(t, strings.Split(strings.TrimSpace(text), "\n")...) {
					want.WriteString(rr.String() + "\n")
				}
			}
			if got.String() != want.String() {
				t.Errorf("kept is\n%swanted\n%s", &got, &want)
			}
			if leads := strings.Contains(row.name, "of ours"); leads != (m.into != "") {
				t.Errorf("it leads to %q", m.into)
			}
		})
	}
}

func TestAPublicUpstreamGivesNoPrivateAddresses(t *testing.T) {
	m := &dns.Msg{Answer: records(t,
		"www.example. 60 A 10.1.2.3", "www.example. 60 A 192.0.2.1", "www.example. 60 A 127.0.0.1", "www.example. 60 A 169.254.169.254",
		"www.example. 60 AAAA fd00::1", "www.example. 60 AAAA ::ffff:192.168.0.1", "www.example. 60 AAAA 2001:db8::1",
	)}
	if n := dropPrivate(m); n != 5 || len(m.Answer) != 2 {
		t.Errorf("%d were dropped, and %v is left", n, m.Answer)
	}
}

// TestAPublicUpstreamHintsAtNoPrivateAddress has the addresses in records that only
// hint at them (RFC 9460, section 7.3), to which a browser connects all the same.
func TestAPublicUpstreamHintsAtNoPrivateAddress(t *testing.T) {
	hints := 0
	for _, row := range []struct {
		name, record, want string
		dropped            int
	}{
		{"the public one stays", `HTTPS 1 . alpn="h2" ipv4hint="10.1.2.3,192.0.2.1,192.168.0.1"`, `HTTPS 1 . alpn="h2" ipv4hint="192.0.2.1"`, 2},
		{"no hint is left", `HTTPS 1 . alpn="h2" ipv4hint="127.0.0.1"`, `HTTPS 1 . alpn="h2"`, 1},
		{"of both families", `SVCB 1 s.example. ipv4hint="169.254.169.254" ipv6hint="fd00::1,2001:db8::1,::1,fe80::1"`, `SVCB 1 s.example. ipv6hint="2001:db8::1"`, 4},
		{"a client must heed them: no record is left", `SVCB 1 . mandatory="ipv6hint" ipv6hint="fd00::1"`, "", 1},
		{"a client must heed others", `SVCB 1 . mandatory="port" port="8443" ipv6hint="fd00::1"`, `SVCB 1 . mandatory="port" port="8443"`, 1},
		{"nothing is private", `HTTPS 1 . ipv4hint="192.0.2.1" ipv6hint="2001:db8::1"`, `HTTPS 1 . ipv4hint="192.0.2.1" ipv6hint="2001:db8::1"`, 0},
		{"there are none", `HTTPS 0 other.example.`, `HTTPS 0 other.example.`, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := &dns.Msg{Answer: records(t, "www.example. 60 "+row.record)}
			var want []dns.RR
			if row.want != "" {
				want = records(t, "www.example. 60 "+row.want)
			}
			if n := dropPrivate(m); n != row.dropped {
				t.Errorf("%d were dropped, and not %d", n, row.dropped)
			}
			if got, want := fmt.Sprint(m.Answer), fmt.Sprint(want); got != want {
				t.Errorf("what is left is\n%s\nwanted\n%s", got, want)
			}
			hints += row.dropped
		})
	}
	t.Logf("of %d private hints none is given", hints)
}

// TestTypesThatNoRecordOfANameHasAreNotAskedFor has those of RFC 6895, section 3.1, that
// belong to a message and not to a name. What is refused is not kept either.
func TestTypesThatNoRecordOfANameHasAreNotAskedFor(t *testing.T) {
	s := newServer(t)
	a := newAsker(t, s.addr, "corp.example="+s.addr)
	types := []uint16{dns.TypeOPT, dns.TypeNXNAME, 129, 248, dns.TypeTKEY, dns.TypeTSIG}
	for _, qtype := range types {
		for _, name := range []string{"www.example.", "www.corp.example.", "."} {
			if m := ask(t, a, of(name, qtype)); m.Rcode != dns.RcodeFormatError || len(m.Answer)+len(m.Ns) > 0 {
				t.Errorf("%s %s: %v", name, dns.Type(qtype), m)
			}
			if a.cache.Wait(); a.Cached(of(name, qtype), time.Now()) != nil {
				t.Errorf("%s %s is kept", name, dns.Type(qtype))
			}
		}
	}
	asked := s.queries.Load()
	t.Logf("of %d types the upstream was asked %d times", len(types), asked)
	if asked > 0 {
		t.Errorf("the upstream was asked %d times", asked)
	}
	for _, qtype := range []uint16{dns.TypeA, 127, dns.TypeANY, 256} {
		ask(t, a, of("www.example.", qtype))
	}
	if n := s.queries.Load(); n != 4 {
		t.Errorf("for 4 others it was asked %d times", n)
	}
}

func TestNamesThatMeanTheSameEverywhereAreNotAskedFor(t *testing.T) {
	s := newServer(t)
	a := newAsker(t, s.addr)
	for _, row := range []struct {
		name  string
		qtype uint16
		rcode int
		want  string
	}{
		{"localhost.", dns.TypeA, dns.RcodeSuccess, "127.0.0.1"},
		{"my.localhost.", dns.TypeAAAA, dns.RcodeSuccess, "::1"},
		{"localhost.", dns.TypeMX, dns.RcodeSuccess, ""},
		{"www.invalid.", dns.TypeA, dns.RcodeNameError, ""},
		{"expyuzz4wqqyqhjn.onion.", dns.TypeA, dns.RcodeNameError, ""},
		{"_dns.resolver.arpa.", dns.TypeSVCB, dns.RcodeSuccess, ""},
	} {
		m := ask(t, a, of(row.name, row.qtype))
		if m.Rcode != row.rcode || (len(m.Answer) > 0) != (row.want != "") || row.want != "" && !strings.HasSuffix(m.Answer[0].String(), row.want) {
			t.Errorf("%s %s: %v", row.name, dns.Type(row.qtype), m)
		}
	}
	if n := s.queries.Load(); n > 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
	public := &route{domain: "\x00", public: true}
	for _, name := range []string{"1.2.3.10.in-addr.arpa.", "1.0.16.172.in-addr.arpa.", "1.0.31.172.in-addr.arpa.", "1.d.f.ip6.arpa."} {
		if m := special(name, dns.TypePTR, public); m == nil || m.Rcode != dns.RcodeNameError {
			t.Errorf("a public upstream would be asked for %s", name)
		}
	}
	for _, name := range []string{"1.0.32.172.in-addr.arpa.", "1.0.15.172.in-addr.arpa.", "8.8.8.8.in-addr.arpa."} {
		if special(name, dns.TypePTR, public) != nil {
			t.Errorf("a public upstream would not be asked for %s", name)
		}
	}
}
