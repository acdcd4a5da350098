package dnsserver

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// observed is a lab whose pipeline is observed.
func observed(t testing.TB, observers ...Observer) *lab {
	t.Helper()
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80, Address: "10.0.0.2"})
	l.pipeline.observers = observers
	return l
}

// TestAnObserverSeesWhatIsOnTheWire asks over both transports.
func TestAnObserverSeesWhatIsOnTheWire(t *testing.T) {
	var mu sync.Mutex
	var seen []Exchange
	l := observed(t, Observer{1, func(e *Exchange) {
		mu.Lock()
		defer mu.Unlock()
		kept := *e
		kept.Query, kept.Reply = slices.Clone(e.Query), slices.Clone(e.Reply)
		seen = append(seen, kept)
	}})
	addr := l.run(t)
	for n, network := range []string{"udp", "tcp"} {
		c, err := dns.Dial(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		question := new(dns.Msg).SetQuestion("web.service.test.", dns.TypeA)
		began := time.Now()
		answer, _, err := new(dns.Client).ExchangeWithConn(question, c)
		if err != nil {
			t.Fatal(err)
		}
		from := c.LocalAddr().String()
		c.Close()
		mu.Lock()
		if len(seen) != n+1 {
			t.Fatalf("%d were seen after %d", len(seen), n+1)
		}
		e := seen[n]
		mu.Unlock()
		query, reply := new(dns.Msg), new(dns.Msg)
		if query.Unpack(e.Query) != nil || query.String() != question.String() {
			t.Errorf("%s: the query is %v", network, query)
		}
		if reply.Unpack(e.Reply) != nil || reply.String() != answer.String() {
			t.Errorf("%s: the reply is %v, want %v", network, reply, answer)
		}
		if e.From.String() != from || e.Transport != network || e.Began.Before(began) || e.Ended.Before(e.Began) {
			t.Errorf("%s: %+v, from %s", network, e, from)
		}
	}
}

func TestAnObserverSeesOneInSoMany(t *testing.T) {
	var all, some int
	l := observed(t, Observer{1, func(*Exchange) { all++ }}, Observer{100, func(*Exchange) { some++ }})
	query, err := new(dns.Msg).SetQuestion("web.service.test.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	w := l.newWorker("udp")
	for range 1000 {
		w.serve(nil, query, client)
	}
	if all != 1000 || some != 10 {
		t.Errorf("one saw %d of 1000, the other, which wants one in 100, %d", all, some)
	}
}

// TestAnObserverCostsNothingWhereItDoesNotSee answers from the cache.
func TestAnObserverCostsNothingWhereItDoesNotSee(t *testing.T) {
	l := observed(t, Observer{1 << 30, func(*Exchange) { t.Error("seen") }})
	query, err := new(dns.Msg).SetQuestion("web.service.test.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	w, reply := l.newWorker("udp"), make([]byte, 0, 4096)
	l.cached(t, w, query)
	if n := testing.AllocsPerRun(1000, func() { w.serve(reply, query, client) }); n != 0 {
		t.Errorf("%v allocations a query", n)
	}
}
