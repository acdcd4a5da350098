package dnsserver

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
	"github.com/rollcall-dns/rollcall/zones/static"
)

// over asks through the pipeline of a transport, and reads the reply strictly.
func (l *lab) over(t testing.TB, transport string, query []byte) *wireReply {
	t.Helper()
	r, err := parseReply(l.newWorker(transport).serve(nil, query, client))
	if err != nil {
		t.Fatalf("%x: %v", query, err)
	}
	return r
}

// TestADenialLivesForTheLesserOfTwoTimes has registered zones and zone files whose
// SOA lives longer than its minimum, as long, and shorter (RFC 2308, section 5).
func TestADenialLivesForTheLesserOfTwoTimes(t *testing.T) {
	tried := 0
	denials := func(t *testing.T, l *lab, apex string, names ...string) {
		t.Helper()
		soa := l.over(t, "tcp", asks(apex, dns.TypeSOA)).answer[0]
		want := min(soa.ttl, binary.BigEndian.Uint32(soa.data[len(soa.data)-4:]))
		for _, name := range names {
			for _, transport := range transports {
				for _, edns := range [][]byte{asks(name, dns.TypeHTTPS), asks(name, dns.TypeHTTPS, withOPT(1232, 0, 0x8000))} {
					r := l.over(t, transport, edns)
					tried++
					if len(r.answer) > 0 || len(r.ns) != 1 || r.ns[0].rrtype != dns.TypeSOA || r.ns[0].ttl != want {
						t.Errorf("%s over %s: %+v, and the lesser is %d", name, transport, r.ns, want)
					}
				}
			}
		}
	}
	for _, ttl := range []time.Duration{5, 60, 3600} {
		for _, minimum := range []time.Duration{5, 60, 3600} {
			l := newLabFrom(t, zones.Config{Zones: []string{"test."}, TTL: ttl * time.Second, NegativeTTL: minimum * time.Second})
			l.register(t, registry.Instance{Service: "web", Port: 80})
			denials(t, l, "test.", "web.service.test.", "wbe.service.test.", "service.test.")
		}
	}
	for _, row := range [][2]int{{3600, 30}, {60, 60}, {10, 300}, {0, 300}} {
		path := filepath.Join(t.TempDir(), "zone")
		text := fmt.Sprintf("@ %d IN SOA ns1 hostmaster 1 3600 600 86400 %d\n@ 60 IN NS ns1\nns1 60 IN A 10.9.0.1\nwww 60 IN A 10.0.0.1\n", row[0], row[1])
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := static.Open("corp.example.", path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		denials(t, newLabWith(t, static.Files{f}, "test."), "corp.example.", "www.corp.example.", "wbe.corp.example.")
	}
	t.Logf("%d denials: each lives for the lesser of the SOA's TTL and its minimum", tried)
}

// TestLargeAnswersAreWholeOverAStream puts the figure on how large a service may be.
// More records than an answer may have are a subset that is a client's own, and what
// is beyond 65,535 octets is cut off.
func TestLargeAnswersAreWholeOverAStream(t *testing.T) {
	for _, row := range []struct {
		instances, most, answers int // all: the answer is whole
		whole                    bool
	}{
		{60, 100, 60, true}, {5000, 100, 100, true}, {1000, 5000, 1000, true}, {5000, 5000, 0, false},
	} {
		l := newLab(t)
		c, err := cache.New(cache.Config{MaxAnswers: row.most})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		l.cache = c
		l.registerMany(t, "big", row.instances)
		for _, transport := range []string{"tcp", "tls", "https"} {
			var first []string
			for range 2 {
				r := l.over(t, transport, asks("big.service.test.", dns.TypeSRV))
				if len(r.octets) > maxTCP || r.rcode() != dns.RcodeSuccess || r.has(flagTC) == row.whole || row.whole && len(r.answer) != row.answers {
					t.Errorf("%d instances over %s: %d octets, %d answers, TC %v", row.instances, transport, len(r.octets), len(r.answer), r.has(flagTC))
				}
				var targets []string
				for _, a := range r.answer {
					targets = append(targets, string(a.data))
				}
				if slices.Sort(targets); row.whole && first != nil && !slices.Equal(first, targets) {
					t.Errorf("%d instances over %s: the same client gets others", row.instances, transport)
				}
				first = targets
				if transport == "tcp" {
					t.Logf("%d instances, at most %d in an answer: %d octets, %d SRV and %d addresses, TC %v", row.instances, row.most, len(r.octets), len(r.answer), len(r.extra), r.has(flagTC))
				}
			}
		}
	}
}

// TestEveryTargetResolves asks for each target of each SRV record that there is, and
// compares what is said with what was beside the record.
func TestEveryTargetResolves(t *testing.T) {
	l := newConformer(t)
	l.register(t, registry.Instance{Service: "mixed", ID: "4", Port: 1, Address: "10.2.0.1"})
	l.register(t, registry.Instance{Service: "mixed", ID: "6", Port: 2, Address: "2001:db8::7"})
	l.register(t, registry.Instance{Service: "node", Port: 3})
	targets := 0
	for _, name := range []string{
		web, "v1.web.service.test.", "_web._tcp.test.", "_web._v1.service.test.", "web-0._web._tcp.test.", "web.service.dc1.test.",
		"big.service.test.", "six.service.test.", "long.service.test.", "mixed.service.test.", "node.service.test.",
	} {
		r := l.over(t, "tcp", asks(name, dns.TypeSRV))
		if len(r.answer) == 0 {
			t.Errorf("%s has no targets", name)
		}
		beside := make(map[string][]string) // the addresses of a target
		for _, a := range r.extra {
			beside[a.name] = append(beside[a.name], fmt.Sprint(a.rrtype, a.ttl, a.data))
		}
		for _, srv := range r.answer {
			targets++
			target := srv.data[6:]
			if srv.packed || srv.ttl != r.answer[0].ttl {
				t.Errorf("%s: a target is compressed, or has a TTL of its own", name)
			}
			var direct []string
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
				query := append(append(make([]byte, headerSize), target...), 0, byte(qtype), 0, 1)
				query[5] = 1
				for _, a := range l.over(t, "udp", query).answer {
					direct = append(direct, fmt.Sprint(a.rrtype, a.ttl, a.data))
				}
			}
			if len(direct) == 0 || !slices.Equal(direct, beside[string(target)]) {
				t.Errorf("%s: beside %q there is %v, and asked for it is %v", name, target, beside[string(target)], direct)
			}
		}
	}
	t.Logf("%d targets: each resolves, to what is beside it", targets)
}

// TestAllMetadataFits registers as much metadata as may be, of more instances than
// an answer has room for.
func TestAllMetadataFits(t *testing.T) {
	l := newLab(t)
	for n := range 40 {
		meta := map[string]string{"n": fmt.Sprint(n)}
		for key := range 19 {
			meta[fmt.Sprint("key", key)] = strings.Repeat("x", 200)
		}
		l.register(t, registry.Instance{Service: "long", ID: fmt.Sprint(n), Port: 80 + n, Address: fmt.Sprintf("10.0.0.%d", n), Meta: meta})
	}
	for _, transport := range transports {
		for _, name := range []string{"long.service.test.", "1._long._tcp.test."} {
			r := l.over(t, transport, asks(name, dns.TypeTXT, withOPT(1232, 0, 0)))
			if len(r.octets) > maxTCP || len(r.answer) == 0 && !r.has(flagTC) {
				t.Errorf("%s over %s: %d octets, %d answers, TC %v", name, transport, len(r.octets), len(r.answer), r.has(flagTC))
			}
			for _, txt := range r.answer {
				octets := 0
				for data := txt.data; len(data) > 0; data = data[1+int(data[0]):] {
					octets += int(data[0])
				}
				if octets < 3900 {
					t.Errorf("%s over %s: a record has %d octets of text", name, transport, octets)
				}
			}
			t.Logf("%s over %s: %d octets, %d records, TC %v", name, transport, len(r.octets), len(r.answer), r.has(flagTC))
		}
	}
}
