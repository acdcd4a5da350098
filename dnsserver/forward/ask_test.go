package forward

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
)

func TestSixtyIdenticalQuestionsAreOneUpstream(t *testing.T) {
	s := newServer(t)
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
		time.Sleep(50 * time.Millisecond) // so that all of them meet
		_ = w.WriteMsg(reply(m, "192.0.2.1"))
	})
	a := newAsker(t, s.addr)
	var clients sync.WaitGroup
	for range 60 {
		clients.Go(func() {
			if f, _ := a.Ask(context.Background(), of("www.example.", dns.TypeA)); f.Failed() {
				t.Error("a client got no answer")
			}
		})
	}
	clients.Wait()
	t.Logf("60 clients: the upstream was asked %d times", s.queries.Load())
	if n := s.queries.Load(); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

func TestAnAnswerIsKeptForItsTTLAndCountsDown(t *testing.T) {
	key := (&Question{Name: []byte(wire("www.example.")), Type: dns.TypeA}).key(nil)
	m := reply(new(dns.Msg).SetQuestion("www.example.", dns.TypeA), "192.0.2.1")
	came := time.Now()
	f, err := cache.NewForwarded(key, m, came)
	if err != nil {
		t.Fatal(err)
	}
	if !f.Fresh(came.Add(59*time.Second)) || f.Fresh(came.Add(60*time.Second)) {
		t.Error("a TTL of 60 s is not kept for 60 s")
	}
}

func TestTheSameNameWithOtherFlagsIsAnotherQuestion(t *testing.T) {
	s := newServer(t)
	a := newAsker(t, s.addr)
	for _, q := range []Question{{}, {DO: true}, {CD: true}, {DO: true, CD: true}} {
		q.Name, q.Type = []byte(wire("www.example.")), dns.TypeA
		ask(t, a, q)
		a.cache.Wait()
		ask(t, a, q)
	}
	t.Logf("the four combinations of DO and CD, each twice: the upstream was asked %d times", s.queries.Load())
	if n := s.queries.Load(); n != 4 {
		t.Errorf("the upstream was asked %d times, not once for each", n)
	}
}

func TestWhatDoesNotExistIsKept(t *testing.T) {
	s := newServer(t)
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
		r := new(dns.Msg).SetRcode(m, dns.RcodeNameError)
		r.Ns = records(t, "example. 86400 SOA ns.example. h.example. 1 2 3 4 300")
		_ = w.WriteMsg(r)
	})
	a := newAsker(t, s.addr)
	for range 3 {
		m := ask(t, a, of("nowhere.example.", dns.TypeA))
		if m.Rcode != dns.RcodeNameError || len(m.Ns) != 1 || m.Ns[0].Header().Ttl != 300 {
			t.Errorf("the answer is %v", m)
		}
		a.cache.Wait()
	}
	if n := s.queries.Load(); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

func TestTheNextUpstreamIsAsked(t *testing.T) {
	for name, fail := range map[string]func(*server){
		"after SERVFAIL": func(s *server) { s.rcode(dns.RcodeServerFailure) },
		"after REFUSED":  func(s *server) { s.rcode(dns.RcodeRefused) },
		"after silence":  func(s *server) { s.dead() },
		"after nonsense": func(s *server) {
			s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
				packed, _ := reply(m, "192.0.2.66").Pack()
				_, _ = w.Write(packed[:len(packed)-3])
			})
		},
		"after fewer records than there are to be": func(s *server) {
			s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
				packed, _ := reply(m, "192.0.2.66").Pack()
				packed[7] = 5 // records in the answer section
				_, _ = w.Write(packed)
			})
		},
		"after fewer beside the answer than there are to be": func(s *server) {
			s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
				packed, _ := reply(m, "192.0.2.66").Pack()
				packed[11] = 1
				_, _ = w.Write(packed)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := newServer(t), newServer(t)
			fail(first)
			m := ask(t, newAsker(t, first.addr, second.addr), of("www.example.", dns.TypeA))
			if len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "192.0.2.1" {
				t.Errorf("the answer is %v", m)
			}
		})
	}
}

func TestAServerThatOnlyKnowsWhoElseToAskDoesNotAnswer(t *testing.T) {
	first, second := newServer(t), newServer(t)
	refer := func(w dns.ResponseWriter, m *dns.Msg) {
		r := new(dns.Msg).SetReply(m)
		r.Ns = records(t, "example. 300 IN NS ns.example.")
		_ = w.WriteMsg(r)
	}
	first.answer(refer)
	if m := ask(t, newAsker(t, first.addr, second.addr), of("www.example.", dns.TypeA)); len(m.Answer) != 1 {
		t.Errorf("the next upstream is not asked: %v", m)
	}
	if m := ask(t, newAsker(t, first.addr), of("www.example.", dns.TypeA)); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("a referral is taken for an answer: %v", m)
	}
}

// TestAnAnswerToSomethingElseIsNone has the first upstream fill the answer section
// with what does not lead from the question to an end.
func TestAnAnswerToSomethingElseIsNone(t *testing.T) {
	var long []string
	for n := range maxChain + 1 {
		long = append(long, fmt.Sprintf("%d.example. 60 CNAME %d.example.", n, n+1))
	}
	for _, row := range []struct {
		name   string
		answer []string
	}{
		{"another owner", []string{"bank.example. 60 A 203.0.113.66"}},
		{"another type", []string{"0.example. 60 TXT x"}},
		{"another class", []string{"0.example. 60 CH A 203.0.113.66"}},
		{"aliases that go round", []string{"0.example. 60 CNAME 1.example.", "1.example. 60 CNAME 0.example."}},
		{"an alias of itself", []string{"0.example. 60 CNAME 0.example."}},
		{"more aliases than are followed", long},
	} {
		t.Run(row.name, func(t *testing.T) {
			first, second := newServer(t), newServer(t)
			first.answer(func(w dns.ResponseWriter, m *dns.Msg) {
				r := reply(m, "203.0.113.66")
				r.Answer = records(t, row.answer...)
				_ = w.WriteMsg(r)
			})
			if m := ask(t, newAsker(t, first.addr, second.addr), of("0.example.", dns.TypeA)); len(m.Answer) != 1 {
				t.Errorf("the next upstream is not asked: %v", m)
			}
			if m := ask(t, newAsker(t, first.addr), of("0.example.", dns.TypeA)); m.Rcode != dns.RcodeServerFailure || len(m.Answer) > 0 {
				t.Errorf("where there is no other the answer is %v", m)
			}
		})
	}
}

func TestAsManyAliasesAreFollowedAsMayBe(t *testing.T) {
	s := newServer(t)
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
		r := reply(m, "192.0.2.1")
		r.Answer = nil
		for n := range maxChain {
			r.Answer = append(r.Answer, records(t, fmt.Sprintf("%d.example. 60 CNAME %d.example.", n, n+1))...)
		}
		r.Answer = append(r.Answer, records(t, fmt.Sprintf("%d.example. 60 A 192.0.2.1", maxChain))...)
		_ = w.WriteMsg(r)
	})
	if m := ask(t, newAsker(t, s.addr), of("0.example.", dns.TypeA)); len(m.Answer) != maxChain+1 {
		t.Errorf("the answer is %v", m)
	}
}

func TestWhereNobodyAnswersTheClientIsToldWhy(t *testing.T) {
	s := newServer(t)
	s.rcode(dns.RcodeServerFailure)
	m := ask(t, newAsker(t, s.addr), of("www.example.", dns.TypeA))
	ede, _ := m.IsEdns0().Option[0].(*dns.EDNS0_EDE)
	if m.Rcode != dns.RcodeServerFailure || ede == nil || ede.InfoCode != dns.ExtendedErrorCodeNoReachableAuthority {
		t.Errorf("the answer is %v", m)
	}
}

func TestAFailureIsKeptForASecond(t *testing.T) {
	s := newServer(t)
	s.rcode(dns.RcodeServerFailure)
	a := newAsker(t, s.addr)
	ask(t, a, of("www.example.", dns.TypeA))
	a.cache.Wait()
	asked := s.queries.Load()
	for range 20 {
		ask(t, a, of("www.example.", dns.TypeA))
	}
	if n := s.queries.Load(); n != asked {
		t.Errorf("the upstream was asked %d times more", n-asked)
	}
}

func TestWhereNobodyAnswersTheOldAnswerIsGiven(t *testing.T) {
	s := newServer(t)
	a := newAsker(t, s.addr)
	q := of("www.example.", dns.TypeA)
	old := reply(new(dns.Msg).SetQuestion("www.example.", dns.TypeA), "192.0.2.7")
	f, err := cache.NewForwarded(q.key(nil), old, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	a.cache.Put(f)
	a.cache.Wait()
	s.rcode(dns.RcodeServerFailure)
	m := ask(t, a, q)
	ede, _ := m.IsEdns0().Option[0].(*dns.EDNS0_EDE)
	t.Logf("the old answer is %v", m.Answer)
	if len(m.Answer) != 1 || m.Answer[0].Header().Ttl != 30 || ede == nil || ede.InfoCode != dns.ExtendedErrorCodeStaleAnswer {
		t.Errorf("the answer is %v", m)
	}
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) { _ = w.WriteMsg(reply(m, "192.0.2.1")) })
	if m := ask(t, a, q); m.Answer[0].(*dns.A).A.String() != "192.0.2.1" {
		t.Errorf("when the upstream is back the answer is %v", m)
	}
}

func TestAClientWaitsBrieflyWhereThereIsAnOldAnswer(t *testing.T) {
	s := newServer(t)
	s.dead()
	a := newAsker(t, s.addr)
	q := of("www.example.", dns.TypeA)
	f, err := cache.NewForwarded(q.key(nil), reply(new(dns.Msg).SetQuestion("www.example.", dns.TypeA), "192.0.2.7"), time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	a.cache.Put(f)
	a.cache.Wait()
	start := time.Now()
	if _, stale := a.Ask(context.Background(), q); !stale {
		t.Error("the old answer was not given")
	}
	took := time.Since(start)
	t.Logf("the client waited %v for a new answer", took)
	if took < clientPatience || took > 3*time.Second {
		t.Errorf("the client waited %v", took)
	}
}

func TestAHotAnswerIsAskedForBeforeItRunsOut(t *testing.T) {
	key := (&Question{Name: []byte(wire("www.example.")), Type: dns.TypeA}).key(nil)
	synctest.Test(t, func(t *testing.T) {
		f, err := cache.NewForwarded(key, reply(new(dns.Msg).SetQuestion("www.example.", dns.TypeA), "192.0.2.1"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(55 * time.Second)
		if f.Refresh(time.Now()) {
			t.Error("nobody has asked for it, and it is asked for anew")
		}
		for range 3 {
			sent(t, of("www.example.", dns.TypeA), f, false)
		}
		if !f.Refresh(time.Now()) {
			t.Error("it is asked for often, and not asked for anew")
		}
		if f.Refresh(time.Now()) {
			t.Error("it is asked for anew twice")
		}
	})
}

func TestOneClientCannotTakeAllPlaces(t *testing.T) {
	a := newAsker(t, "192.0.2.53")
	greedy, other := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	taken := 0
	for a.Enter(greedy) {
		taken++
	}
	if taken != 100 || !a.Enter(other) {
		t.Errorf("one client has %d places, and then another none", taken)
	}
	a.Leave(other)
	for range taken {
		a.Leave(greedy)
	}
	total := 0
	for i := range 20 {
		for a.Enter(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})) {
			total++
		}
	}
	t.Logf("one client has %d places, and all have %d", taken, total)
	if total != 1000 {
		t.Errorf("there are %d places in all", total)
	}
	for i := range 10 {
		for range 100 {
			a.Leave(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}))
		}
	}
}
