package forward

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// until waits for something that takes a moment.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestAnUpstreamThatFailsTwiceIsAskedLastUntilItAnswers(t *testing.T) {
	first, second := newServer(t), newServer(t)
	first.dead()
	a := newAsker(t, first.addr, second.addr)
	run(t, a)
	u := a.upstreams()[0]
	for i := range mostFailures {
		a.failed(u, os.ErrDeadlineExceeded)
		if u.down.Load() != (i == mostFailures-1) {
			t.Errorf("after %d failures it counts as down: %v", i+1, u.down.Load())
		}
	}
	start := time.Now()
	ask(t, a, of("www.example.", dns.TypeA))
	if took := time.Since(start); took > patience {
		t.Errorf("a question took %v, as if the first had been asked", took)
	}
	first.answer(func(w dns.ResponseWriter, m *dns.Msg) { _ = w.WriteMsg(reply(m, "192.0.2.2")) })
	until(t, "the first is asked again", func() bool { return !u.down.Load() })
}

func TestAnUpstreamThatAnswersAgainIsFoundSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, "192.0.2.53")
		r := newRelay(t, a, silent)
		run(t, a)
		u := a.upstreams()[0]
		var slowest time.Duration
		const times = 100
		for range times {
			for range mostFailures {
				a.failed(u, os.ErrDeadlineExceeded)
			}
			time.Sleep(10*time.Second + rand.N(time.Second))
			r.answer(well)
			back := time.Now()
			for u.down.Load() && time.Since(back) < time.Minute {
				time.Sleep(10 * time.Millisecond)
			}
			slowest = max(slowest, time.Since(back))
			r.answer(silent)
		}
		t.Logf("an upstream that answers again is found %d times, the slowest after %v", times, slowest)
		if slowest > 5*time.Second {
			t.Errorf("it is found after %v", slowest)
		}
	})
}

func TestAnUpstreamThatIsSilentIsAskedLastThoughTheNextAnswersInItsPlace(t *testing.T) {
	silent, other := newServer(t), newServer(t)
	silent.dead()
	a := newAsker(t, silent.addr, other.addr)
	names := []string{"a.example.", "b.example.", "c.example."} // two to find out, and one that need not wait
	var took time.Duration
	for _, name := range names {
		start := time.Now()
		ask(t, a, of(name, dns.TypeA))
		took = time.Since(start)
	}
	if took >= patience || !a.upstreams()[0].down.Load() {
		t.Errorf("after %d questions one still takes %v", len(names)-1, took)
	}
}

func TestTheLastUpstreamIsAskedThoughItFails(t *testing.T) {
	s := newServer(t)
	a := newAsker(t, s.addr)
	a.upstreams()[0].down.Store(true)
	if m := ask(t, a, of("www.example.", dns.TypeA)); len(m.Answer) != 1 {
		t.Errorf("the answer is %v", m)
	}
}

func TestAnUpstreamThatAsksUsIsAskedNoMore(t *testing.T) {
	s := newServer(t)
	a := newAsker(t, s.addr)
	var hops atomic.Int32
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) { // sends the question back
		hops.Add(1)
		if a.Looped([]byte(wire(strings.ToLower(m.Question[0].Name)))) {
			_ = w.WriteMsg(new(dns.Msg).SetRcode(m, dns.RcodeRefused))
			return
		}
		_ = w.WriteMsg(reply(m, "192.0.2.1"))
	})
	run(t, a)
	until(t, "the loop is found", func() bool { return a.upstreams()[0].loops.Load() })
	t.Logf("a loop is found after %d hop, of a name of %d random bits", hops.Load(), 8*markerSize)
	if m := ask(t, a, of("www.example.", dns.TypeA)); m.Rcode != dns.RcodeServerFailure || s.queries.Load() > 0 || hops.Load() != 1 {
		t.Errorf("the upstream was asked %d times, and the answer is %v", s.queries.Load(), m)
	}
	if a.Looped([]byte(wire(strings.Repeat("0", 2*markerSize) + ".example."))) {
		t.Error("a name that somebody guesses counts as a loop")
	}
}

// relay is an upstream in a bubble of synctest: over pipes, so that its time is the
// bubble's. It may be changed while it is asked.
type relay struct {
	handle  atomic.Pointer[func(*dns.Msg) *dns.Msg]
	queries atomic.Int32 // but those of rollcall itself
	probes  sync.Map     // the names of these that are asked for once
}

func newRelay(t testing.TB, a *Asker, handle func(*dns.Msg) *dns.Msg) *relay {
	r := &relay{}
	r.answer(handle)
	a.upstreams()[0].open = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go r.serve(t, theirs)
		return ours, nil
	}
	return r
}

// answer makes it answer so; nil: it says nothing.
func (r *relay) answer(handle func(*dns.Msg) *dns.Msg) { r.handle.Store(&handle) }

func (r *relay) serve(t testing.TB, conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		m := new(dns.Msg)
		if err != nil || m.Unpack(buffer[:n]) != nil {
			return
		}
		switch name := m.Question[0].Name; m.Question[0].Qtype {
		case dns.TypeHINFO:
			if _, again := r.probes.LoadOrStore(name, true); again {
				t.Errorf("%s is asked for twice, and others may have kept that it does not exist", name)
			}
		case dns.TypeA:
			r.queries.Add(1)
		}
		if answer := (*r.handle.Load())(m); answer != nil {
			packed, _ := answer.Pack()
			_, _ = conn.Write(packed)
		}
	}
}

// back answers as an upstream does that asks us.
func back(t testing.TB, a *Asker) func(*dns.Msg) *dns.Msg {
	return func(m *dns.Msg) *dns.Msg {
		q := of(strings.ToLower(m.Question[0].Name), m.Question[0].Qtype)
		if a.Looped(q.Name) {
			return new(dns.Msg).SetRcode(m, dns.RcodeRefused)
		}
		f, stale := a.Ask(context.Background(), q)
		r := sent(t, q, f, stale)
		r.Id, r.Question = m.Id, m.Question
		return r
	}
}

func silent(*dns.Msg) *dns.Msg { return nil }

func well(m *dns.Msg) *dns.Msg { return reply(m, "192.0.2.1") }

// TestAnUpstreamThatAsksUsLaterIsAskedNoMore has an upstream come to ask us long
// after the start, and has it stop doing so.
func TestAnUpstreamThatAsksUsLaterIsAskedNoMore(t *testing.T) {
	for _, row := range []struct {
		name   string
		before func(*dns.Msg) *dns.Msg
		asked  bool // by clients meanwhile
		within time.Duration
	}{
		{"after it was silent", silent, true, 5 * time.Second},
		{"after it was silent, and nobody asked", silent, false, 2*loopInterval + loopTime},
		{"after it was well", well, true, 2*loopInterval + loopTime},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAsker(t, "192.0.2.53")
				r := newRelay(t, a, row.before)
				run(t, a)
				names := 0
				client := func() *dns.Msg {
					names++
					return ask(t, a, of(fmt.Sprintf("%d.example.", names), dns.TypeA))
				}
				for range 20 {
					if row.asked {
						client()
					}
					time.Sleep(5 * time.Second)
				}
				r.answer(back(t, a))
				began := time.Now()
				u := a.upstreams()[0]
				for !u.loops.Load() && time.Since(began) < 10*time.Minute {
					time.Sleep(10 * time.Millisecond)
				}
				took := time.Since(began)
				t.Logf("a loop that begins %s is found after %v", row.name, took)
				if took > row.within {
					t.Fatalf("the loop is found after %v", took)
				}
				asked := r.queries.Load()
				for range 60 {
					if m := client(); m.Rcode != dns.RcodeServerFailure {
						t.Errorf("the answer is %v", m)
					}
					time.Sleep(10 * time.Second)
				}
				t.Logf("and then it is asked %d questions in 10 minutes", r.queries.Load()-asked)
				if n := r.queries.Load() - asked; n > 0 {
					t.Errorf("it is asked %d questions more", n)
				}
				r.answer(well)
				began = time.Now()
				for client().Rcode != dns.RcodeSuccess && time.Since(began) < 10*time.Minute {
					time.Sleep(time.Second)
				}
				t.Logf("one that asks us no longer is asked again after %v", time.Since(began))
				if time.Since(began) > 2*loopInterval+loopTime || u.down.Load() {
					t.Errorf("it is asked again after %v, and is down: %v", time.Since(began), u.down.Load())
				}
			})
		})
	}
}

// TestAnUpstreamThatOnlyAnswersClientsAnswers has an upstream drop what rollcall asks
// for its own sake, as those may that serve a few names alone.
func TestAnUpstreamThatOnlyAnswersClientsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, "192.0.2.53")
		newRelay(t, a, func(m *dns.Msg) *dns.Msg {
			if m.Question[0].Qtype == dns.TypeA {
				return well(m)
			}
			return nil
		})
		run(t, a)
		for range mostFailures {
			a.failed(a.upstreams()[0], os.ErrDeadlineExceeded)
		}
		ask(t, a, of("www.example.", dns.TypeA))
		began := time.Now()
		for a.upstreams()[0].down.Load() && time.Since(began) < time.Minute {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it is believed to answer after %v", took)
		}
	})
}

// TestAnUpstreamThatAskedUsAndIsSilentIsAskedLast has the loop end in silence.
func TestAnUpstreamThatAskedUsAndIsSilentIsAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, "192.0.2.53")
		r := newRelay(t, a, back(t, a))
		run(t, a)
		time.Sleep(time.Second)
		u := a.upstreams()[0]
		if !u.loops.Load() {
			t.Fatal("the loop is not found")
		}
		r.answer(silent)
		time.Sleep(2*loopInterval + 2*loopTime)
		if u.loops.Load() || !u.down.Load() {
			t.Errorf("it is asked no more: %v, asked last: %v", u.loops.Load(), u.down.Load())
		}
		r.answer(well)
		time.Sleep(5 * time.Second)
		if u.down.Load() {
			t.Error("it is well for 5 s, and asked last")
		}
	})
}

func TestTheLongestDomainSaysWhomToAsk(t *testing.T) {
	everything, corp, lab := newServer(t), newServer(t), newServer(t)
	a := newAsker(t, everything.addr, "corp.example="+corp.addr, "Lab.Corp.Example.="+lab.addr)
	for name, s := range map[string]*server{
		"www.example.": everything, "notcorp.example.": everything, "corp.example.": corp, "a.b.corp.example.": corp, "x.lab.corp.example.": lab,
	} {
		before := s.queries.Load()
		if ask(t, a, of(name, dns.TypeA)); s.queries.Load() != before+1 {
			t.Errorf("another upstream was asked for %s", name)
		}
	}
}

func TestTheServersOfAFileAreFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("search example\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n")
	a := newAsker(t, path)
	run(t, a)
	names := func() (all string) {
		for _, u := range a.upstreams() {
			all += u.addr.String() + " "
		}
		return all
	}
	if got := names(); got != "192.0.2.1:53 [2001:db8::1]:53 " {
		t.Fatalf("the upstreams are %s", got)
	}
	write("nameserver 192.0.2.2\n")
	until(t, "the new server is asked", func() bool { return names() == "192.0.2.2:53 " })
	write("# nobody\n")
	a.follow(a.files[0])
	if got := names(); got != "192.0.2.2:53 " {
		t.Errorf("a file without servers makes the upstreams %s", got)
	}
}

func TestUpstreamsAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:53", "192.0.2.1:5353": "192.0.2.1:5353", "2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]:5353": "[2001:db8::1]:5353",
		"tls://192.0.2.1": "192.0.2.1:853", "tls://192.0.2.1:8853#dns.example": "192.0.2.1:8853", "tcp://192.0.2.1": "192.0.2.1:53",
		"corp.example=192.0.2.1": "192.0.2.1:53", "": "", "example": "", "192.0.2.1:0": "", "192.0.2.1:x": "", "=192.0.2.1": "", "a..b=192.0.2.1": "", "udp://192.0.2.1": "",
	} {
		r, err := ParseRoute(text)
		if (err == nil) != (want != "") {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if err != nil {
			continue
		}
		if addrs, err := r.Addresses(); err != nil || addrs[0].String() != want {
			t.Errorf("%q is %v, %v", text, addrs, err)
		}
	}
}
