package forward

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	back := time.Now()
	until(t, "the first is asked again", func() bool { return !u.down.Load() })
	t.Logf("an upstream that answers again is found after %v", time.Since(back))
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
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) { // sends the question back
		if a.Looped([]byte(wire(strings.ToLower(m.Question[0].Name)))) {
			_ = w.WriteMsg(new(dns.Msg).SetRcode(m, dns.RcodeRefused))
			return
		}
		_ = w.WriteMsg(reply(m, "192.0.2.1"))
	})
	run(t, a)
	until(t, "the loop is found", func() bool { return a.upstreams()[0].loops.Load() })
	if m := ask(t, a, of("www.example.", dns.TypeA)); m.Rcode != dns.RcodeServerFailure || s.queries.Load() > 0 {
		t.Errorf("the upstream was asked %d times, and the answer is %v", s.queries.Load(), m)
	}
	if a.Looped([]byte(wire(strings.Repeat("0", 2*markerSize) + ".example."))) {
		t.Error("a name that somebody guesses counts as a loop")
	}
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
