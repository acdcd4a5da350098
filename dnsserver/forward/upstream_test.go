package forward

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/rollcall-dns/rollcall/cache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is an upstream on loopback that a test makes behave in some way.
type server struct {
	addr    string
	queries atomic.Int32
	handle  atomic.Pointer[func(w dns.ResponseWriter, m *dns.Msg)]
}

// newServer starts one, over UDP and TCP. It answers 192.0.2.1 to everything.
func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{}
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) { _ = w.WriteMsg(reply(m, "192.0.2.1")) })
	l, p := listen(t)
	s.addr = l.Addr().String()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		if m.Question[0].Qtype != dns.TypeHINFO { // which asks about a loop
			s.queries.Add(1)
		}
		(*s.handle.Load())(w, m)
	})
	for _, d := range []*dns.Server{{Listener: l, Handler: handler}, {PacketConn: p, Handler: handler}} {
		started := make(chan struct{})
		d.NotifyStartedFunc = func() { close(started) }
		ended := make(chan struct{})
		go func() { defer close(ended); _ = d.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = d.Shutdown(); <-ended })
	}
	return s
}

// listen takes a port that is free for TCP and UDP.
func listen(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if p, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
			return l, p
		}
		l.Close()
	}
	t.Fatal("no port is free for TCP and UDP")
	return nil, nil
}

func (s *server) answer(handle func(w dns.ResponseWriter, m *dns.Msg)) { s.handle.Store(&handle) }

// dead makes it answer nothing.
func (s *server) dead() { s.answer(func(dns.ResponseWriter, *dns.Msg) {}) }

func (s *server) rcode(code int) {
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(m, code)) })
}

// reply is a reply with an address, which lives for a minute.
func reply(m *dns.Msg, addr string) *dns.Msg {
	r := new(dns.Msg).SetReply(m)
	r.RecursionAvailable = true
	if m.Question[0].Qtype == dns.TypeA {
		r.Answer = append(r.Answer, &dns.A{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(addr)})
	}
	return r
}

// records reads records as master files have them.
func records(t testing.TB, texts ...string) (rrs []dns.RR) {
	t.Helper()
	for _, text := range texts {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

// newAsker returns an Asker of routes that lives as long as the test. Names below
// ours.test. are our own.
func newAsker(t testing.TB, routes ...string) *Asker {
	t.Helper()
	c, err := cache.NewForwardedCache(1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Cache: c, Clients: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Ours: func(name []byte) int {
		const ours = "\x04ours\x04test\x00"
		if isIn(name, ours) {
			return len(ours)
		}
		return 0
	}}
	for _, text := range routes {
		r, err := ParseRoute(text)
		if err != nil {
			t.Fatal(err)
		}
		config.Routes = append(config.Routes, r)
	}
	a, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); c.Close() })
	return a
}

// run runs an Asker until the test ends.
func run(t testing.TB, a *Asker) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = a.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
}

func of(name string, qtype uint16) Question { return Question{Name: []byte(wire(name)), Type: qtype} }

// ask asks, and returns the reply that a client gets.
func ask(t testing.TB, a *Asker, q Question) *dns.Msg {
	t.Helper()
	f, stale := a.Ask(context.Background(), q)
	return sent(t, q, f, stale)
}

func sent(t testing.TB, q Question, f *cache.Forwarded, stale bool) *dns.Msg {
	t.Helper()
	message := append(append(make([]byte, 12), q.Name...), byte(q.Type>>8), byte(q.Type), 0, 1)
	packed, _ := f.Append(nil, &cache.Query{Message: message, End: len(message), EDNS: true, Limit: 65535, Stale: stale, RA: true}, time.Now())
	m := new(dns.Msg)
	if err := m.Unpack(packed); err != nil {
		t.Fatalf("the reply %x: %v", packed, err)
	}
	return m
}

func TestQueriesCannotBeGuessed(t *testing.T) {
	s := newServer(t)
	var mu sync.Mutex
	ids, ports := make(map[uint16]bool), make(map[string]bool)
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
		mu.Lock()
		ids[m.Id], ports[w.RemoteAddr().String()] = true, true
		mu.Unlock()
		_ = w.WriteMsg(reply(m, "192.0.2.1"))
	})
	a := newAsker(t, s.addr)
	for i := range 200 {
		ask(t, a, of(string(rune('a'+i%26))+string(rune('a'+i/26))+".example.", dns.TypeA))
	}
	mu.Lock()
	defer mu.Unlock()
	t.Logf("200 queries have %d ids and come from %d ports", len(ids), len(ports))
	if len(ids) < 190 || len(ports) < 100 {
		t.Errorf("200 queries have %d ids and come from %d ports", len(ids), len(ports))
	}
}

func TestOnlyTheReplyToTheQueryCounts(t *testing.T) {
	believed := 0
	forgeries := map[string]func(*dns.Msg){
		"another id":        func(m *dns.Msg) { m.Id++ },
		"a query":           func(m *dns.Msg) { m.Response = false },
		"another opcode":    func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify },
		"another name":      func(m *dns.Msg) { m.Question[0].Name = "evil.example." },
		"another type":      func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA },
		"another class":     func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"no question":       func(m *dns.Msg) { m.Question = nil },
		"a second question": func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
	}
	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
				forged := reply(m, "203.0.113.66")
				forge(forged)
				_ = w.WriteMsg(forged)
				_ = w.WriteMsg(reply(m, "192.0.2.1"))
			})
			m := ask(t, newAsker(t, s.addr), of("www.example.", dns.TypeA))
			if len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "192.0.2.1" {
				believed++
				t.Errorf("the answer is %v", m)
			}
		})
	}
	t.Logf("%d forgeries, %d believed", len(forgeries), believed)
}

func TestAFloodOfForgedRepliesLeadsToTCP(t *testing.T) {
	s := newServer(t)
	var overTCP atomic.Bool
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
		if w.RemoteAddr().Network() == "tcp" {
			overTCP.Store(true)
			_ = w.WriteMsg(reply(m, "192.0.2.1"))
			return
		}
		for range mostWrong {
			forged := reply(m, "203.0.113.66")
			forged.Id++
			_ = w.WriteMsg(forged)
		}
	})
	m := ask(t, newAsker(t, s.addr), of("www.example.", dns.TypeA))
	t.Logf("%d forged replies lead to TCP: %v", mostWrong, overTCP.Load())
	if len(m.Answer) != 1 || !overTCP.Load() {
		t.Errorf("the answer is %v", m)
	}
}

func TestATruncatedReplyIsAskedForOverTCP(t *testing.T) {
	s := newServer(t)
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
		r := reply(m, "192.0.2.1")
		if r.Truncated = w.RemoteAddr().Network() == "udp"; r.Truncated {
			r.Answer = nil
		}
		_ = w.WriteMsg(r)
	})
	if m := ask(t, newAsker(t, s.addr), of("www.example.", dns.TypeA)); len(m.Answer) != 1 {
		t.Errorf("the answer is %v", m)
	}
}

// cutShort makes an upstream give one record of many in a datagram, and hear nothing
// over TCP.
func (s *server) cutShort(addr string) {
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
		if w.RemoteAddr().Network() != "udp" {
			_ = w.Close()
			return
		}
		r := reply(m, addr)
		r.Truncated = true
		if addr == "" {
			r.Answer = nil
		}
		_ = w.WriteMsg(r)
	})
}

func TestATruncatedReplyIsGivenWhereTCPFails(t *testing.T) {
	s := newServer(t)
	s.cutShort("192.0.2.1")
	a := newAsker(t, s.addr)
	for range 2 {
		before := s.queries.Load()
		if m := ask(t, a, of("www.example.", dns.TypeA)); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 || !m.Truncated {
			t.Errorf("the answer is %v", m)
		}
		if a.cache.Wait(); s.queries.Load() == before {
			t.Error("what is cut short is kept")
		}
	}
	if u := a.upstreams()[0]; u.failures.Load() > 0 || u.down.Load() {
		t.Error("an upstream that answers as it can has failed")
	}
}

func TestOfATruncatedReplyWithoutARecordNothingIsGiven(t *testing.T) {
	s := newServer(t)
	s.cutShort("")
	if m := ask(t, newAsker(t, s.addr), of("www.example.", dns.TypeA)); m.Rcode != dns.RcodeServerFailure || m.Truncated {
		t.Errorf("the answer is %v", m)
	}
}

func TestAWholeReplyOfTheNextUpstreamIsBetterThanATruncatedOne(t *testing.T) {
	first, second := newServer(t), newServer(t)
	first.cutShort("192.0.2.66")
	if m := ask(t, newAsker(t, first.addr, second.addr), of("www.example.", dns.TypeA)); m.Truncated || len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "192.0.2.1" {
		t.Errorf("the answer is %v", m)
	}
	second.dead()
	start := time.Now()
	if m := ask(t, newAsker(t, first.addr, second.addr), of("www.example.", dns.TypeA)); !m.Truncated || len(m.Answer) != 1 {
		t.Errorf("where the next one is silent the answer is %v", m)
	}
	t.Logf("where the next one is silent it is given after %v", time.Since(start))
}

// TestWhatIsWholeUpToANameOfOursIsNotTruncated has a truncated reply lead into a zone of
// ours, where the answer goes on.
func TestWhatIsWholeUpToANameOfOursIsNotTruncated(t *testing.T) {
	a := newAsker(t, "192.0.2.53")
	m, err := a.scrub(&dns.Msg{MsgHdr: dns.MsgHdr{Truncated: true}, Answer: records(t, "www.example. 60 CNAME web.ours.test.")}, "www.example.", dns.TypeA)
	if err != nil || m.Truncated || m.into == "" {
		t.Errorf("what is kept is %v, %v", m, err)
	}
}

func TestAServerWithoutEDNSIsAskedWithoutIt(t *testing.T) {
	for name, refuse := range map[string]func(m *dns.Msg) *dns.Msg{
		"a header alone, FORMERR": func(m *dns.Msg) *dns.Msg {
			return &dns.Msg{MsgHdr: dns.MsgHdr{Id: m.Id, Response: true, Rcode: dns.RcodeFormatError}}
		},
		"a header alone, NOTIMP": func(m *dns.Msg) *dns.Msg {
			return &dns.Msg{MsgHdr: dns.MsgHdr{Id: m.Id, Response: true, Rcode: dns.RcodeNotImplemented}}
		},
		"FORMERR": func(m *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(m, dns.RcodeFormatError) },
		"NOTIMP":  func(m *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(m, dns.RcodeNotImplemented) },
		"the query turned round, NOTIMP": func(m *dns.Msg) *dns.Msg {
			m.Response, m.Rcode = true, dns.RcodeNotImplemented
			return m
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
				if m.IsEdns0() != nil {
					_ = w.WriteMsg(refuse(m))
					return
				}
				_ = w.WriteMsg(reply(m, "192.0.2.1"))
			})
			if m := ask(t, newAsker(t, s.addr), of("www.example.", dns.TypeA)); len(m.Answer) != 1 {
				t.Errorf("the answer is %v", m)
			}
			if n := s.queries.Load(); n != 2 {
				t.Errorf("it was asked %d times", n)
			}
		})
	}
}

func TestAServerThatRefusesWithoutEDNSAsWellIsAskedOnceMore(t *testing.T) {
	s := newServer(t)
	s.rcode(dns.RcodeNotImplemented)
	ask(t, newAsker(t, s.addr), of("www.example.", dns.TypeA))
	if n := s.queries.Load(); n != 4 { // one alone is tried twice
		t.Errorf("it was asked %d times", n)
	}
}

func TestNothingOfTheClientsIsSentOnButTheQuestion(t *testing.T) {
	s := newServer(t)
	got := make(chan *dns.Msg, 1)
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) { got <- m.Copy(); _ = w.WriteMsg(reply(m, "192.0.2.1")) })
	q := of("www.example.", dns.TypeA)
	q.DO, q.CD = true, true
	ask(t, newAsker(t, s.addr), q)
	m := <-got
	if edns := m.IsEdns0(); !m.RecursionDesired || !m.CheckingDisabled || !edns.Do() || len(edns.Option) > 0 || m.AuthenticatedData {
		t.Errorf("the upstream is asked %v", m)
	}
}
