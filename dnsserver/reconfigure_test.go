package dnsserver

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
)

// TestNoQueryIsLostWhileTheServerIsReconfigured asks over UDP and over one TCP
// connection all the while, and wants the new TTL of each question that is asked
// after Reconfigure has returned.
func TestNoQueryIsLostWhileTheServerIsReconfigured(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80, Address: "10.0.0.2"})
	addr := l.run(t)
	var least, asked atomic.Uint32 // the TTL that is in force at least, or is about to be
	least.Store(5)
	var clients sync.WaitGroup
	done := make(chan struct{})
	for _, network := range []string{"udp", "udp", "tcp"} {
		c, err := dns.Dial(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				before := least.Load()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				if err := c.WriteMsg(new(dns.Msg).SetQuestion("web.service.test.", dns.TypeA)); err != nil {
					t.Error(err)
					return
				}
				answer, err := c.ReadMsg()
				if err != nil || len(answer.Answer) != 1 {
					t.Errorf("%s: %v, %v", network, answer, err)
					return
				}
				if ttl := answer.Answer[0].Header().Ttl; ttl < before {
					t.Errorf("%s: TTL %d after it was made %d", network, ttl, before)
				}
				asked.Add(1)
			}
		})
	}
	c := l.cache
	for ttl := uint32(6); ttl < 106; ttl++ {
		z, err := zones.New(zones.Config{
			Zones: []string{"test."}, Node: "n1", Service: "rollcall", TTL: time.Duration(ttl) * time.Second, NegativeTTL: 5 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		c = c.Successor(100)
		if err := l.server.Reconfigure(Config{Zones: z, Cache: c}); err != nil {
			t.Fatal(err)
		}
		least.Store(ttl)
		for goal := asked.Load() + 5; asked.Load() < goal && !t.Failed(); {
			time.Sleep(time.Millisecond) // waits for the sockets
		}
	}
	close(done)
	clients.Wait()
	t.Logf("%d queries", asked.Load())
}

func TestWhatIsCountedAgainstTheLimitStaysCounted(t *testing.T) {
	l := newLab(t)
	limit := RateLimit{PerSecond: 7}
	reconfigure := func(limit RateLimit) {
		t.Helper()
		if err := l.server.Reconfigure(Config{Zones: l.zones, Cache: l.cache.Successor(100), RateLimit: limit}); err != nil {
			t.Fatal(err)
		}
	}
	reconfigure(limit)
	first := l.server.newest.Load().limiter
	reconfigure(limit)
	if l.server.newest.Load().limiter != first {
		t.Error("the same limit began to count anew")
	}
	reconfigure(RateLimit{PerSecond: 8})
	if l.server.newest.Load().limiter.perSecond != 8 {
		t.Error("another limit is not in force")
	}
	reconfigure(RateLimit{})
	if l.server.newest.Load().limiter != nil {
		t.Error("a limit that was taken away is in force")
	}
}

// TestOtherObserversSeeFromThenOn replaces one, whose worker goes on.
func TestOtherObserversSeeFromThenOn(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80, Address: "10.0.0.2"})
	query, _ := question("web.service.test.", dns.TypeA, 1232).Pack()
	var before, after int
	w := l.newWorker("udp")
	reconfigure := func(observers ...Observer) {
		t.Helper()
		if err := l.server.Reconfigure(Config{Zones: l.zones, Cache: l.cache.Successor(100), Observers: observers}); err != nil {
			t.Fatal(err)
		}
	}
	reconfigure(Observer{1, func(*Exchange) { before++ }})
	w.serve(nil, query, client)
	reconfigure(Observer{1, func(*Exchange) { after++ }})
	w.serve(nil, query, client)
	reconfigure()
	w.serve(nil, query, client)
	if before != 1 || after != 1 {
		t.Errorf("the one before saw %d queries, and the one after %d", before, after)
	}
}
