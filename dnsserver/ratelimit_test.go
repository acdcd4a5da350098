package dnsserver

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones/static"
)

// asking returns a query for a name, read.
func asking(name string) *query {
	q := new(query)
	q.read(asks(name, dns.TypeA))
	return q
}

func TestANetworkGetsSoManyRepliesASecond(t *testing.T) {
	l := newLimiter(RateLimit{PerSecond: 200, Exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	second := time.Unix(1_700_000_000, 0)
	const replies = 10_000
	count := func(from string, reply []byte, names []*query, at time.Time) (n [3]int) {
		for i := range replies {
			a := netip.MustParseAddr(from)
			if a.Is4() { // from all over a /24
				octets := a.As4()
				octets[3] = byte(i)
				a = netip.AddrFrom4(octets)
			}
			n[l.judge(a, reply, names[i%len(names)], at)]++
		}
		return n
	}
	header := func(flags, rcode, answers byte) []byte {
		return []byte{0, 0, 0x84 | flags, rcode, 0, 1, 0, answers, 0, 0, 0, 0}
	}
	answer, nothing, denial := header(0, dns.RcodeSuccess, 3), header(0, dns.RcodeSuccess, 0), header(0, dns.RcodeNameError, 0)
	short, refusal := header(2, dns.RcodeSuccess, 0), header(0, dns.RcodeRefused, 0)
	web, db, both, many := asking("web.test."), asking("db.test."), []*query{asking("a.test."), asking("b.test.")}, []*query(nil)
	wild := []*query(nil)
	for n := range 1000 {
		many = append(many, asking(fmt.Sprintf("n%d.test.", n)))
		wild = append(wild, asking(fmt.Sprintf("w%d.test.", n)))
		wild[n].source = "test."
	}
	one := func(q *query) []*query { return []*query{q} }
	for _, row := range []struct {
		behaviour, from string
		reply           []byte
		names           []*query
		at              time.Time
		want            [3]int
	}{
		{"a flood", "192.0.2.0", answer, one(web), second, [3]int{200, 4900, 4900}},
		{"in capitals, as that", "192.0.2.0", answer, one(asking("WEB.Test.")), second, [3]int{0, 5000, 5000}},
		{"another name beside it", "192.0.2.0", answer, one(db), second, [3]int{200, 4900, 4900}},
		{"two names", "192.0.2.0", answer, both, second, [3]int{400, 4800, 4800}},
		{"what comes of a wildcard, whatever its name", "192.0.2.0", answer, wild, second, [3]int{200, 4900, 4900}},
		{"denials beside it", "192.0.2.0", denial, one(web), second, [3]int{200, 4900, 4900}},
		{"denials of other names, as those", "192.0.2.0", denial, many, second, [3]int{0, 5000, 5000}},
		{"what there is nothing of, as those", "192.0.2.0", nothing, one(web), second, [3]int{0, 5000, 5000}},
		{"refusals", "192.0.2.0", refusal, many, second, [3]int{200, 4900, 4900}},
		{"answers without room", "192.0.2.0", short, many, second, [3]int{200, 4900, 4900}},
		{"the next second", "192.0.2.0", answer, one(web), second.Add(time.Second), [3]int{200, 4900, 4900}},
		{"a thousand names", "192.0.2.0", answer, many, second.Add(2 * time.Second), [3]int{2000, 4000, 4000}},
		{"another network", "192.0.3.0", answer, one(web), second, [3]int{200, 4900, 4900}},
		{"an IPv6 network", "2001:db8::1", answer, one(web), second, [3]int{200, 4900, 4900}},
		{"another of the same /56", "2001:db8:0:ff::1", answer, one(web), second, [3]int{0, 5000, 5000}},
		{"one that is exempt", "10.1.2.0", answer, one(web), second, [3]int{10000, 0, 0}},
	} {
		got := count(row.from, row.reply, row.names, row.at)
		t.Logf("%s: of %d replies to a network in a second %d are sent, %d cut short, %d dropped", row.behaviour, replies, got[send], got[cutShort], got[drop])
		if got != row.want {
			t.Errorf("%s: sent, cut and dropped are %v, want %v", row.behaviour, got, row.want)
		}
	}
}

// TestCountingRepliesTakesBoundedMemory floods a name among replies to more networks than
// there is room for: its count is not lost.
func TestCountingRepliesTakesBoundedMemory(t *testing.T) {
	l := newLimiter(RateLimit{PerSecond: 200})
	second, answer, q := time.Unix(1_700_000_000, 0), []byte{0, 0, 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0}, asking("web.test.")
	victim, sent := netip.MustParseAddr("192.0.2.1"), 0
	const others = 1 << 16
	for n := range uint32(others) {
		if l.judge(victim, answer, q, second) == send {
			sent++
		}
		var octets [4]byte
		binary.BigEndian.PutUint32(octets[:], 11<<24+n<<8)
		l.judge(netip.AddrFrom4(octets), answer, q, second)
	}
	entries, octets := len(l.counts)*countsAtOnce, unsafe.Sizeof(*l)
	t.Logf("%d networks beside it: %d of %d answers to one are sent; %d counts in %d kB", others, sent, others, entries, octets>>10)
	if sent > 220 || entries > 100_000 || octets > 16<<20 {
		t.Errorf("%d answers are sent, and there are %d counts in %d octets", sent, entries, octets)
	}
	if n := testing.AllocsPerRun(100, func() { l.judge(victim, answer, q, second) }); n > 0 {
		t.Errorf("a reply that is counted takes %v allocations", n)
	}
}

// TestNamesThatAWildcardMakesUpAreOne asks for names below a wildcard, and for one that
// is there.
func TestNamesThatAWildcardMakesUpAreOne(t *testing.T) {
	l := newLabWith(t, static.Files{zoneFile(t, "corp.example.", 5, "www A 10.0.0.1\n*.wild A 10.0.0.2\n")}, "test.")
	l.limiter = newLimiter(RateLimit{PerSecond: 5})
	w := l.newWorker("udp")
	sent := func(name string) bool {
		reply := w.serve(nil, asks(name, dns.TypeA), client)
		return reply != nil && reply[2]&2 == 0
	}
	n := 0
	for i := range 1000 {
		if sent(fmt.Sprintf("%d.wild.corp.example.", i)) {
			n++
		}
	}
	t.Logf("of 1,000 names that a wildcard makes up %d are answered", n)
	if n == 0 || n > 5*3 { // in so many seconds, with the race detector
		t.Errorf("of 1,000 names that a wildcard makes up %d are answered", n)
	}
	if !sent("www.corp.example.") {
		t.Error("a name that is there is not answered beside them")
	}
}

func BenchmarkJudge(b *testing.B) {
	l := newLimiter(RateLimit{PerSecond: 200})
	now, answer, q := time.Now(), []byte{0, 0, 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0}, asking("web.service.test.")
	for n := uint32(0); b.Loop(); n++ {
		l.judge(netip.AddrFrom4([4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)}), answer, q, now)
	}
}

func TestWhoAsksTooMuchIsToldToComeOverTCP(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	l.limiter = newLimiter(RateLimit{PerSecond: 1})
	ask := func(transport string, m *dns.Msg) *dns.Msg {
		query, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		reply := l.newWorker(transport).serve(nil, query, client)
		if reply == nil {
			return nil
		}
		answer := new(dns.Msg)
		if err := answer.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	var sent, cut, dropped int
	for range 30 { // they may fall into two seconds
		switch reply := ask("udp", question("web.service.test.", dns.TypeSRV, 1232)); {
		case reply == nil:
			dropped++
		case reply.Truncated && len(reply.Answer) == 0 && reply.IsEdns0() != nil && len(reply.Extra) == 1:
			cut++
		case len(reply.Answer) == 1:
			sent++
		}
	}
	if sent == 0 || sent > 2 || cut < 10 || dropped < 10 || sent+cut+dropped != 30 {
		t.Errorf("sent %d, cut short %d, dropped %d", sent, cut, dropped)
	}
	if reply := ask("tcp", question("web.service.test.", dns.TypeSRV, 1232)); reply == nil || len(reply.Answer) != 1 {
		t.Errorf("over TCP: %v", reply)
	}
	cookie := cookieOf(ask("tcp", withCookie(question("web.service.test.", dns.TypeSRV, 1232), "0102030405060708")))
	for range 5 {
		if reply := ask("udp", withCookie(question("web.service.test.", dns.TypeSRV, 1232), cookie)); reply == nil || len(reply.Answer) != 1 {
			t.Errorf("with its cookie: %v", reply)
		}
	}
}

func TestABadCookieThatIsCutShortStaysOne(t *testing.T) {
	l := newLab(t)
	l.limiter = newLimiter(RateLimit{PerSecond: 1})
	query, err := withCookie(question("web.service.test.", dns.TypeA, 1232), "01020304050607080011223344556677").Pack()
	if err != nil {
		t.Fatal(err)
	}
	w, cut := l.newWorker("udp"), 0
	for range 30 {
		m := new(dns.Msg)
		if reply := w.serve(nil, query, client); reply == nil {
			continue
		} else if err := m.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		if m.Truncated {
			cut++
		}
		if m.Rcode != dns.RcodeBadCookie {
			t.Fatalf("the reply is %v", m)
		}
	}
	if cut < 10 {
		t.Errorf("%d replies are cut short", cut)
	}
}

// TestASignedDenialIsCountedAsADenial asks for names that do not exist: they are denied
// with NOERROR and a record that says so.
func TestASignedDenialIsCountedAsADenial(t *testing.T) {
	l := newSignedLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	l.limiter = newLimiter(RateLimit{PerSecond: 5})
	w := l.newWorker("udp")
	serve := func(name string) *dns.Msg {
		query, err := new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(1232, true).Pack()
		if err != nil {
			t.Fatal(err)
		}
		reply := w.serve(nil, query, client)
		if reply == nil {
			return nil
		}
		m := new(dns.Msg)
		if err := m.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		return m
	}
	for n := range 100 {
		serve(fmt.Sprintf("x%d.service.test.", n%7)) // the same ones, too: those may come from the cache
	}
	if m := serve("web.service.test."); m == nil || m.Truncated || len(m.Answer) == 0 {
		t.Errorf("an answer beside a flood of signed denials: %v", m)
	}
}

// TestRepliesThatAreDroppedLeaveTheOthersOfTheirBatch has whole batches on a
// socket, of which only some datagrams get a reply.
func TestRepliesThatAreDroppedLeaveTheOthersOfTheirBatch(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	l.limiter = newLimiter(RateLimit{PerSecond: 1})
	c, err := net.Dial("udp", l.run(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const queries = 200
	for id := range queries {
		m := question("web.service.test.", dns.TypeA, 1232)
		m.Id = uint16(id)
		query, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(query); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[uint16]bool)
	reply := make([]byte, 1500)
	for {
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := c.Read(reply)
		if err != nil {
			break
		}
		m := new(dns.Msg)
		if err := m.Unpack(reply[:n]); err != nil || seen[m.Id] || len(m.Question) != 1 {
			t.Fatalf("%v, %v, a second time: %v", m, err, seen[m.Id])
		}
		seen[m.Id] = true
	}
	if len(seen) < queries/3 || len(seen) > 2*queries/3 {
		t.Errorf("%d of %d queries got a reply, want about half of them", len(seen), queries)
	}
}

// TestGarbageIsNoLever sends noise, some of which begins as a query does: what comes
// back is never longer.
func TestGarbageIsNoLever(t *testing.T) {
	l := newLab(t)
	l.registerMany(t, "big", 60)
	w, random := l.newWorker("udp"), rand.New(rand.NewPCG(1, 2))
	in, out := 0, 0
	for n := range 2000 {
		noise := make([]byte, random.IntN(600))
		for i := range noise {
			noise[i] = byte(random.Uint32())
		}
		if n%2 == 0 && len(noise) > headerSize {
			copy(noise, []byte{1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		}
		reply := w.serve(nil, noise, client)
		if in, out = in+len(noise), out+len(reply); len(reply) > len(noise) {
			t.Errorf("%d octets for %d: %x", len(reply), len(noise), noise)
		}
	}
	t.Logf("%d octets came, and %d were sent", in, out)
}
