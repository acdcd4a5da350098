package main

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// A peer is another server that reads master files.
type peer struct {
	program string
	args    []string // the configuration's name comes behind them
	config  func(p *place, port int, zonefile string) string
	// intended tells of a difference whether it is one that is meant.
	intended func(qtype uint16, mine, peers string) bool
}

var bind = peer{"named", []string{"-g", "-c"}, func(p *place, port int, file string) string {
	return fmt.Sprintf("options { directory %q; pid-file none; session-keyfile none; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; zero-no-soa-ttl no; "+
		"check-integrity no; check-names primary ignore; check-mx ignore; check-srv-cname ignore; check-mx-cname ignore; check-wildcard no; };\ncontrols { };\n"+
		"zone %q { type primary; file %q; };\n", p.dir, port, generated, file)
}, bindMeansIt}

var knot = peer{"knotd", []string{"-c"}, func(p *place, port int, file string) string {
	return fmt.Sprintf("server:\n    listen: 127.0.0.1@%d\n    rundir: %q\ndatabase:\n    storage: %q\nlog:\n  - target: stderr\n    any: info\n"+
		"zone:\n  - domain: %s\n    storage: %q\n    file: %q\n    zonefile-load: whole\n    zonefile-sync: -1\n    journal-content: none\n    semantic-checks: soft\n", port, p.dir, p.dir, generated, p.dir, file)
}, knotMeansIt}

// TestZoneFilesAreAnsweredAsBINDDoes puts generated questions about generated zones
// to rollcall and to BIND, which read the same file. What is compared is the code,
// AA, the records of the answer, and of the authority section where there is no
// answer: the SOA of a denial, or the servers of a delegation. With ROLLCALL_LONG
// there are ten times as many, and others each time.
func TestZoneFilesAreAnsweredAsBINDDoes(t *testing.T) { bind.compare(t) }

// TestZoneFilesAreAnsweredAsKnotDoes does the same with Knot DNS.
func TestZoneFilesAreAnsweredAsKnotDoes(t *testing.T) { knot.compare(t) }

func (other peer) compare(t *testing.T) {
	zones, questions, seed := 4, 2500, uint64(1)
	if os.Getenv("ROLLCALL_LONG") != "" {
		zones, questions, seed = 20, 5000, uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	asked, differ, meant := 0, 0, 0
	for range zones {
		g := &zoneGenerator{Rand: random}
		text := g.zone()
		ours, theirs := g.serve(t, text, other)
		for range questions {
			name, qtype := g.question()
			mine, peers := answerOf(t, ours, name, qtype), answerOf(t, theirs, name, qtype)
			asked++
			if mine == peers {
				continue
			}
			if other.intended(qtype, mine, peers) {
				meant++
				continue
			}
			if differ++; differ <= 5 {
				t.Errorf("%s %s\nrollcall says\n%s%s says\n%s", name, dns.Type(qtype), mine, other.program, peers)
			}
		}
		if differ > 0 {
			t.Logf("the zone is\n%s", text)
			break
		}
	}
	t.Logf("%d questions about %d zones: %d differences that are meant, and %d others", asked, zones, meant, differ)
}

// bindMeansIt tells of a difference from BIND whether it is the one that is meant. To
// a name whose alias leads back to it BIND answers with the alias, and SERVFAIL; we
// answer with the alias, which is all that there is.
func bindMeansIt(_ uint16, mine, peers string) bool {
	return strings.HasPrefix(peers, "SERVFAIL") && strings.TrimPrefix(peers, "SERVFAIL") == strings.TrimPrefix(mine, "NOERROR") && strings.Contains(peers, "cname")
}

// knotMeansIt does so of a difference from Knot DNS, which has two. To ANY it answers
// with one set of records (RFC 8482), and where a DNAME is above the name goes on to
// what that leads to; we answer with all sets, as BIND does. And an alias that leads
// back to its name by a wildcard stands in its answer more than once.
func knotMeansIt(qtype uint16, mine, peers string) bool {
	ours, theirs := strings.Split(mine, "\n"), strings.Split(peers, "\n")
	if qtype == dns.TypeANY && strings.Contains(mine, "\tdname\t") {
		return !slices.ContainsFunc(ours[1:slices.Index(ours, "--")], func(line string) bool { return !slices.Contains(theirs, line) })
	}
	if qtype == dns.TypeANY {
		return ours[0] == theirs[0] && slices.Index(theirs, "--") > 1 && !slices.ContainsFunc(theirs, func(line string) bool { return !slices.Contains(ours, line) })
	}
	return strings.Contains(peers, "\tcname\t") && slices.Equal(slices.Compact(ours), slices.Compact(theirs))
}

// zoneGenerator makes up a zone, and questions about it.
type zoneGenerator struct {
	*rand.Rand
	names []string // that the zone has
	cuts  []string // that it delegates
	taken map[string]bool
}

const generated = "gen.example."

var labels = []string{"a", "b", "c", "d", "www", "mail", "_tcp", "x1", "*"}

func (g *zoneGenerator) name() string {
	parts := make([]string, 1+g.IntN(3))
	for n := range parts {
		parts[n] = labels[g.IntN(len(labels)-1)]
	}
	if g.IntN(8) == 0 {
		parts[0] = "*"
	}
	return strings.Join(parts, ".") + "." + generated
}

// free tells whether a name lies below no cut and no DNAME, and has nothing yet.
func (g *zoneGenerator) free(name string) bool {
	return !g.taken[name] && !slices.ContainsFunc(g.cuts, func(cut string) bool { return dns.IsSubDomain(cut, name) })
}

// target is a name to lead to: mostly one of the zone's.
func (g *zoneGenerator) target() string {
	switch {
	case g.IntN(6) == 0:
		return "elsewhere.test."
	case g.IntN(4) == 0 || len(g.names) == 0:
		return g.name()
	}
	return g.names[g.IntN(len(g.names))]
}

// zone returns the text of a master file.
func (g *zoneGenerator) zone() string {
	g.taken = make(map[string]bool)
	lines := []string{
		generated + " 60 IN SOA ns1." + generated + " hostmaster." + generated + " 1 3600 600 86400 30",
		generated + " 60 IN NS ns1." + generated, generated + " 60 IN MX 10 mail." + generated, "ns1." + generated + " 60 IN A 192.0.2.53",
	}
	for range 3 + g.IntN(3) { // what hides what is below comes first
		cut := "cut" + fmt.Sprint(len(g.cuts)) + "." + generated
		if g.IntN(3) == 0 {
			lines = append(lines, cut+" 60 IN DNAME "+[]string{"elsewhere.test.", "a." + generated, "b.c." + generated}[g.IntN(3)])
		} else {
			lines = append(lines, cut+" 60 IN NS ns1."+cut, cut+" 60 IN NS ns.elsewhere.test.", "ns1."+cut+" 60 IN A 192.0.2.54")
		}
		g.cuts = append(g.cuts, cut)
	}
	for range 60 + g.IntN(60) {
		name := g.name()
		if !g.free(name) {
			continue
		}
		g.taken[name] = true
		g.names = append(g.names, name)
		if g.IntN(5) == 0 {
			lines = append(lines, name+" 60 IN CNAME "+g.target())
			continue
		}
		for range 1 + g.IntN(3) {
			lines = append(lines, name+" 60 IN "+[]string{
				fmt.Sprintf("A 192.0.2.%d", g.IntN(256)), fmt.Sprintf("AAAA 2001:db8::%x", g.IntN(1<<16)), fmt.Sprintf("MX %d %s", g.IntN(9), g.target()),
				fmt.Sprintf("TXT \"%d\" %q", g.IntN(9), strings.Repeat("x", g.IntN(250))), fmt.Sprintf("SRV 1 %d 80 %s", g.IntN(9), g.target()),
				"CAA 0 issue \"ca.test\"", fmt.Sprintf("TYPE65280 \\# 2 %04x", g.IntN(1<<16)), "PTR " + g.target(),
			}[g.IntN(8)])
		}
	}
	sort.Strings(lines[1:])
	return strings.Join(slices.Compact(lines), "\n") + "\n"
}

// question asks for a name of the zone, one near it, or one below it.
func (g *zoneGenerator) question() (name string, qtype uint16) {
	switch g.IntN(6) {
	case 0:
		name = g.name()
	case 1:
		name = labels[g.IntN(len(labels))] + "." + g.names[g.IntN(len(g.names))]
	case 2:
		name = "q.r." + g.names[g.IntN(len(g.names))]
	case 3:
		name = g.cuts[g.IntN(len(g.cuts))]
		if g.IntN(2) == 0 {
			name = labels[g.IntN(len(labels)-1)] + "." + name
		}
	case 4:
		_, name, _ = strings.Cut(g.names[g.IntN(len(g.names))], ".")
	default:
		name = g.names[g.IntN(len(g.names))]
	}
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeTXT, dns.TypeSRV, dns.TypeCNAME, dns.TypeNS, dns.TypeSOA, dns.TypePTR, dns.TypeCAA, dns.TypeANY, dns.TypeDNAME, dns.TypeDS, 65280}
	return name, types[g.IntN(len(types))]
}

// serve has rollcall and another server answer from the same file.
func (g *zoneGenerator) serve(t *testing.T, text string, other peer) (ours, theirs string) {
	t.Helper()
	p := newPlace(t, other.program)
	file := p.write("gen.zone", text)
	files, err := openZoneFiles([]string{generated + "=" + file}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	s := start(t, &settings{
		dnsAddrs: []string{"127.0.0.1:0"}, adminAddr: "127.0.0.1:0", zones: []string{"rollcall.internal."}, zoneFiles: files,
		datacenter: "dc1", node: "host-1", nodeAddress: "127.0.0.1", ttl: 5 * time.Second, negativeTTL: 5 * time.Second, maxAnswers: 100,
		logger: slog.New(slog.DiscardHandler),
	})
	port := free(t)
	p.start(other.program, append(other.args, p.write("peer.conf", other.config(p, port, filepath.Base(file))))...)
	theirs = fmt.Sprint("127.0.0.1:", port)
	consultest.Eventually(t, 15*time.Second, other.program+" answers", func() bool {
		m, err := dns.Exchange(new(dns.Msg).SetQuestion(generated, dns.TypeSOA), theirs)
		return err == nil && len(m.Answer) == 1
	})
	return s.dns.Addrs()[0].String(), theirs
}

// answerOf asks over TCP, so that nothing is cut, and returns what is compared.
func answerOf(t *testing.T, addr, name string, qtype uint16) string {
	t.Helper()
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.RecursionDesired = false
	m, _, err := (&dns.Client{Net: "tcp", Timeout: 10 * time.Second}).Exchange(q, addr)
	if err != nil {
		t.Fatalf("%s %s: %v", name, dns.Type(qtype), err)
	}
	var lines []string
	for _, rr := range m.Answer {
		lines = append(lines, strings.ToLower(rr.String()))
	}
	sort.Strings(lines)
	var authority []string
	if len(m.Answer) == 0 || m.Answer[len(m.Answer)-1].Header().Rrtype == dns.TypeCNAME {
		for _, rr := range m.Ns {
			if rr.Header().Rrtype == dns.TypeSOA || !m.Authoritative {
				authority = append(authority, strings.ToLower(rr.String()))
			}
		}
	}
	sort.Strings(authority)
	return fmt.Sprintf("%s aa=%v\n%s\n--\n%s\n", dns.RcodeToString[m.Rcode], m.Authoritative, strings.Join(lines, "\n"), strings.Join(authority, "\n"))
}
