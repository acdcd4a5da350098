package dnsserver

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/dnsserver/forward"
	"github.com/rollcall-dns/rollcall/registry"
)

// upstream is another server on loopback, which answers by a function.
type upstream struct {
	addr  string
	asked atomic.Int32
}

func newUpstream(t testing.TB, answer func(q dns.Question) []string) *upstream {
	t.Helper()
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{addr: p.LocalAddr().String()}
	started, ended := make(chan struct{}), make(chan struct{})
	s := &dns.Server{PacketConn: p, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		u.asked.Add(1)
		texts := answer(m.Question[0])
		if texts == nil {
			return
		}
		r := new(dns.Msg).SetReply(m)
		for _, text := range texts {
			if r.Truncated = text == "truncated"; r.Truncated {
				continue
			}
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Error(err)
				return
			}
			if rr.Header().Rrtype == dns.TypeSOA {
				r.Ns = append(r.Ns, rr)
			} else {
				r.Answer = append(r.Answer, rr)
			}
		}
		_ = w.WriteMsg(r)
	})}
	go func() { defer close(ended); _ = s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = s.Shutdown(); <-ended })
	return u
}

// newForwarding returns a lab that forwards by routes, for clients in 192.0.2.0/24
// and on loopback.
func newForwarding(t testing.TB, routes ...string) *lab {
	t.Helper()
	l := newLab(t)
	l.forwards(t, routes...)
	return l
}

// forwards makes a lab forward by routes.
func (l *lab) forwards(t testing.TB, routes ...string) {
	t.Helper()
	c, err := cache.NewForwardedCache(1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	config := forward.Config{Cache: c, Ours: l.zones.Encloses, Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("127.0.0.0/8")}}
	for _, text := range routes {
		r, err := forward.ParseRoute(text)
		if err != nil {
			t.Fatal(err)
		}
		config.Routes = append(config.Routes, r)
	}
	if l.asker, err = forward.New(config); err != nil {
		t.Fatal(err)
	}
	l.others = c
	t.Cleanup(func() { l.asker.Close(); c.Close() })
}

// resolve asks as a stub resolver does, and waits for what is pending.
func (l *lab) resolve(t testing.TB, m *dns.Msg, from string) *dns.Msg {
	t.Helper()
	query, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	w := l.newWorker("udp")
	reply := w.serve(nil, query, netip.MustParseAddrPort(from))
	if p := w.pending(); p != nil {
		reply = p.reply(context.Background())
	}
	answer := new(dns.Msg)
	if err := answer.Unpack(reply); err != nil {
		t.Fatalf("the reply %x: %v", reply, err)
	}
	if answer.Id != m.Id || !slices.Equal(answer.Question, m.Question) {
		t.Errorf("%v is no reply to %v", answer, m)
	}
	return answer
}

const (
	friend   = "192.0.2.1:5353"
	stranger = "198.51.100.1:5353"
)

func texts(rrs []dns.RR) (all []string) {
	for _, rr := range rrs {
		all = append(all, strings.Join(strings.Fields(rr.String()), " "))
	}
	return all
}

func outside(q dns.Question) []string { return []string{q.Name + " 60 IN A 203.0.113.1"} }

func TestNamesOfOthersAreAskedOfThem(t *testing.T) {
	u := newUpstream(t, outside)
	l := newForwarding(t, u.addr)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	for _, what := range []string{"what the upstream says", "what is kept of it"} {
		m := l.resolve(t, question("WwW.Example.", dns.TypeA, 1232), friend)
		t.Logf("%s: AA %v, RA %v", what, m.Authoritative, m.RecursionAvailable)
		if got := texts(m.Answer); len(got) != 1 || !strings.HasSuffix(got[0], "60 IN A 203.0.113.1") || m.Authoritative || !m.RecursionAvailable || m.IsEdns0() == nil {
			t.Errorf("the answer is %v", m)
		}
		l.others.Wait()
	}
	if m := l.resolve(t, question("web.service.test.", dns.TypeA, 0), friend); !m.Authoritative || !m.RecursionAvailable || len(m.Answer) != 1 {
		t.Errorf("a name of ours is answered by %v", m)
	}
	if m := l.resolve(t, question("wbe.service.test.", dns.TypeA, 0), friend); m.Rcode != dns.RcodeNameError || u.asked.Load() != 1 {
		t.Errorf("a name in our zone is answered by %v, and the upstream was asked %d times", m, u.asked.Load())
	} else {
		t.Logf("what is ours: AA %v, RA %v, and of 4 questions %d were asked of others", m.Authoritative, m.RecursionAvailable, u.asked.Load())
	}
}

func TestNobodyElseIsAskedForSomebodyElse(t *testing.T) {
	u := newUpstream(t, outside)
	l := newForwarding(t, u.addr)
	l.resolve(t, question("known.example.", dns.TypeA, 0), friend)
	before := u.asked.Load()
	for name, row := range map[string]struct {
		from  string
		edit  func(*dns.Msg)
		rcode int
	}{
		"a stranger":                   {stranger, func(*dns.Msg) {}, dns.RcodeRefused},
		"a stranger, for what is kept": {stranger, func(m *dns.Msg) { m.Question[0].Name = "known.example." }, dns.RcodeRefused},
		"without recursion desired":    {friend, func(m *dns.Msg) { m.RecursionDesired = false }, dns.RcodeRefused},
		"without it, for what is kept": {friend, func(m *dns.Msg) { m.RecursionDesired, m.Question[0].Name = false, "known.example." }, dns.RcodeRefused},
		"another class":                {friend, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		"a transfer":                   {friend, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, dns.RcodeRefused},
		"NOTIFY":                       {friend, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, dns.RcodeNotImplemented},
		"UPDATE":                       {friend, func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented},
		"a name of ours, in capitals":  {friend, func(m *dns.Msg) { m.Question[0].Name = "Secret.TEST." }, dns.RcodeNameError},
		"a private address's name of ours": {friend, func(m *dns.Msg) {
			m.Question[0] = dns.Question{Name: "1.2.3.10.in-addr.arpa.", Qtype: dns.TypePTR, Qclass: 1}
		}, dns.RcodeNameError},
	} {
		m := question("www.example.", dns.TypeA, 0)
		row.edit(m)
		if got := l.resolve(t, m, row.from); got.Rcode != row.rcode || len(got.Answer) > 0 || got.RecursionAvailable != (row.from == friend && row.rcode == dns.RcodeNameError) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if n := u.asked.Load() - before; n > 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

func TestAnAliasIsFollowedFromOurZonesToOthersNamesAndBack(t *testing.T) {
	u := newUpstream(t, func(q dns.Question) []string {
		switch name := strings.ToLower(q.Name); {
		case name == "host.example.":
			return []string{"host.example. 60 IN CNAME web.service.test.", "web.service.test. 60 IN A 203.0.113.66"}
		case name == "db.example." && q.Qtype == dns.TypeA:
			return []string{"db.example. 60 IN A 203.0.113.5"}
		}
		return []string{"example. 60 IN SOA a. b. 1 2 3 4 5"}
	})
	l := newForwarding(t, u.addr)
	l.register(t, registry.Instance{Service: "web", Port: 80, Address: "10.1.1.1"})
	l.register(t, registry.Instance{Service: "db", Port: 80, Address: "db.example"})
	l.register(t, registry.Instance{Service: "round", Port: 80, Address: "host.example"})
	for name, want := range map[string][]string{
		"host.example.":       {"host.example. 60 IN CNAME web.service.test.", "web.service.test. 5 IN A 10.1.1.1"},
		"db.service.test.":    {"db.service.test. 5 IN CNAME db.example.", "db.example. 60 IN A 203.0.113.5"},
		"round.service.test.": {"round.service.test. 5 IN CNAME host.example.", "host.example. 60 IN CNAME web.service.test.", "web.service.test. 5 IN A 10.1.1.1"},
	} {
		for _, edns := range []int{0, 1232} {
			m := l.resolve(t, question(name, dns.TypeA, edns), friend)
			if got := texts(m.Answer); !slices.Equal(got, want) || !m.RecursionAvailable || m.Authoritative != strings.HasSuffix(name, "test.") || (m.IsEdns0() != nil) != (edns > 0) {
				t.Errorf("%s is answered by %v", name, m)
			}
		}
	}
	if m := l.resolve(t, question("db.service.test.", dns.TypeA, 0), stranger); len(m.Answer) != 1 || m.RecursionAvailable {
		t.Errorf("a stranger gets %v", m)
	}
	if m := l.resolve(t, question("db.service.test.", dns.TypeMX, 0), friend); m.Rcode != dns.RcodeSuccess || len(m.Answer) > 1 {
		t.Errorf("another type is answered by %v", m)
	}
}

func TestWhatOthersHaveCutShortIsSaidToBe(t *testing.T) {
	u := newUpstream(t, func(q dns.Question) []string { return append(outside(q), "truncated") }) // and knows no TCP
	l := newForwarding(t, u.addr)
	l.register(t, registry.Instance{Service: "db", Port: 80, Address: "db.example"})
	for name, records := range map[string]int{"db.example.": 1, "db.service.test.": 2} {
		if m := l.resolve(t, question(name, dns.TypeA, 1232), friend); !m.Truncated || len(m.Answer) != records {
			t.Errorf("%s: %v", name, m)
		}
	}
}

func TestOthersMayHaveWhatIsNotInOurZone(t *testing.T) {
	u := newUpstream(t, outside)
	l := newForwarding(t, "test="+u.addr)
	l.register(t, registry.Instance{Service: "web", Port: 80, Address: "10.1.1.1"})
	if m := l.resolve(t, question("web.service.test.", dns.TypeA, 0), friend); u.asked.Load() > 0 || !m.Authoritative {
		t.Errorf("the upstream was asked for a registered name, and the answer is %v", m)
	}
	if m := l.resolve(t, question("old.service.test.", dns.TypeA, 0), friend); u.asked.Load() != 1 || len(m.Answer) != 1 {
		t.Errorf("a name that is not registered is answered by %v", m)
	}
}

func TestALongAnswerOfOthersIsCutForUDP(t *testing.T) {
	u := newUpstream(t, func(q dns.Question) (all []string) {
		for i := range 60 {
			all = append(all, fmt.Sprintf("%s 60 IN A 203.0.113.%d", q.Name, i))
		}
		return all
	})
	l := newForwarding(t, u.addr)
	for _, edns := range []int{0, 700} {
		for range 2 {
			m := l.resolve(t, question("www.example.", dns.TypeA, edns), friend)
			m.Compress = true
			if packed, _ := m.Pack(); !m.Truncated || len(m.Answer) < 20 || len(packed) > max(512, edns) {
				t.Errorf("with room for %d octets there are %d records, and TC is %v", max(512, edns), len(m.Answer), m.Truncated)
			}
		}
	}
}

// TestNoAnswerOfOthersIsLongerThanItMayBe asks for one of 40 records with room for all
// sizes about the smallest one: alone, and behind an alias of ours. TC is set exactly
// where a record is missing, and then no further one would have fitted.
func TestNoAnswerOfOthersIsLongerThanItMayBe(t *testing.T) {
	const records, each = 40, 16
	u := newUpstream(t, func(q dns.Question) (all []string) {
		for i := range records {
			all = append(all, fmt.Sprintf("%s 60 IN A 203.0.113.%d", q.Name, i))
		}
		return all
	})
	l := newForwarding(t, u.addr)
	l.register(t, registry.Instance{Service: "db", Port: 80, Address: "db.example"})
	for name, want := range map[string]int{"db.example.": records, "db.service.test.": 1 + records} {
		replies, cut, longest := 0, 0, 0
		for _, cookie := range []string{"", "0102030405060708"} {
			for size := minUDP; size <= 1000; size++ {
				m := question(name, dns.TypeA, size)
				if cookie != "" {
					m = withCookie(m, cookie)
				}
				query, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				w := l.newWorker("udp")
				reply := w.serve(nil, query, netip.MustParseAddrPort(friend))
				if p := w.pending(); p != nil {
					reply = p.reply(t.Context())
				}
				l.metrics.retire(w.tally)
				if wrong := follows(query, reply, size); wrong != "" {
					t.Fatalf("%s, room for %d octets: %s, in %d octets", name, size, wrong, len(reply))
				}
				r, _ := parseReply(reply)
				replies, longest = replies+1, max(longest, len(reply))
				if r.has(flagTC) {
					cut++
				}
				switch {
				case r.opt == nil, cookie != "" && len(r.opt.data) != cookieOption:
					t.Errorf("%s, room for %d octets: OPT is %v", name, size, r.opt)
				case r.has(flagTC) != (len(r.answer) < want):
					t.Errorf("%s, room for %d octets: %d answers, TC %v", name, size, len(r.answer), r.has(flagTC))
				case r.has(flagTC) && len(reply)+each <= size:
					t.Errorf("%s: %d octets of %d are used, for %d answers", name, len(reply), size, len(r.answer))
				}
			}
		}
		t.Logf("%s: %d replies, %d of them cut short, %d octets at most: none is longer than it may be", name, replies, cut, longest)
	}
}

// TestWhatOthersAnswerIsTheSameForAllClients asks for a name of others for a subnet, first
// when it is not known, and then when it is kept.
func TestWhatOthersAnswerIsTheSameForAllClients(t *testing.T) {
	l := newForwarding(t, newUpstream(t, func(q dns.Question) []string { return []string{q.Name + " 60 IN A 203.0.113.1"} }).addr)
	content := []byte{0, 1, 24, 0, 192, 0, 2}
	query := asks("db.example.", dns.TypeA, withOPT(1232, 0, 0, option(optionSubnet, content...)...))
	query[2] |= 1 // RD
	for kept := false; !kept; {
		w := l.newWorker("udp")
		reply := w.serve(nil, query, netip.MustParseAddrPort(friend))
		p := w.pending()
		if kept = p == nil; !kept {
			reply = p.reply(t.Context())
		}
		if r, err := parseReply(reply); err != nil || len(r.answer) != 1 || !bytes.Equal(r.options()[optionSubnet], content) {
			t.Errorf("kept %v: %x, %v", kept, reply, err)
		}
	}
}

// TestOurNamesAreAnsweredWhileOthersHang puts the figure on what forwarding may
// cost: 200 questions hang, as no upstream answers.
func TestOurNamesAreAnsweredWhileOthersHang(t *testing.T) {
	u := newUpstream(t, func(dns.Question) []string { return nil })
	l := newForwarding(t, u.addr)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	addr := l.run(t)
	for _, client := range []string{"127.0.0.2", "127.0.0.3"} { // each may have 100
		conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(client)}}).Dial("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for i := range 100 {
			query, _ := question(fmt.Sprintf("%s.%d.example.", client, i), dns.TypeA, 0).Pack()
			if _, err := conn.Write(query); err != nil {
				t.Fatal(err)
			}
		}
	}
	for deadline := time.Now().Add(5 * time.Second); u.asked.Load() < 200; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d questions hang", u.asked.Load())
		}
	}
	conn, err := dns.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var took []time.Duration
	for range 1000 {
		start := time.Now()
		if err := conn.WriteMsg(question("web.service.test.", dns.TypeA, 0)); err != nil {
			t.Fatal(err)
		}
		if m, err := conn.ReadMsg(); err != nil || len(m.Answer) != 1 {
			t.Fatalf("%v, %v", m, err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("with 200 questions hanging, the 99th percentile of an answer is %v", took[990])
	if took[990] > 50*time.Millisecond {
		t.Errorf("the 99th percentile of an answer is %v", took[990])
	}
}

func TestPendingQueriesAreAnsweredOverEachTransport(t *testing.T) {
	u := newUpstream(t, outside)
	l := newForwarding(t, u.addr)
	addr := l.run(t)
	var clients sync.WaitGroup
	for _, network := range []string{"udp", "tcp"} {
		for i := range 20 {
			clients.Go(func() {
				client := &dns.Client{Net: network, Timeout: 5 * time.Second}
				m, _, err := client.Exchange(question(network+string(rune('a'+i))+".example.", dns.TypeA, 0), addr)
				if err != nil || len(m.Answer) != 1 {
					t.Errorf("over %s: %v, %v", network, m, err)
				}
			})
		}
	}
	clients.Wait()
}
