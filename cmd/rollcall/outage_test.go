package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// TestConsulIsAway breaks Consul in every way while clients go on asking, and
// wants each of their questions answered with an instance. ROLLCALL_LONG=1 keeps
// it stopped for ten minutes, and without its data for two.
func TestConsulIsAway(t *testing.T) {
	stopped, wiped := 4*time.Second, 2*time.Second
	if os.Getenv("ROLLCALL_LONG") != "" {
		stopped, wiped = 10*time.Minute, 2*time.Minute
	}
	t.Run("it is stopped", func(t *testing.T) {
		agent := consultest.Start(t, "")
		lab := newOutage(t, agent, agent)
		agent.Kill()
		lab.awaitStale()
		time.Sleep(stopped)
		agent.Start()
		lab.awaitFresh("after it was started")
	})
	t.Run("its data is wiped", func(t *testing.T) {
		agent := consultest.Start(t, "")
		for n := range 50 { // so that the new history is younger, as it is where more than a test happens
			agent.Service("busy", 1000+n, "passing")
		}
		lab := newOutage(t, agent, agent)
		agent.Kill()
		agent.Wipe()
		time.Sleep(wiped)
		agent.Start()
		lab.awaitFresh("after it was started with no data")
		if got := question(t, lab.server, "web.service.consul.", dns.TypeA); len(got.Answer) != 1 {
			t.Errorf("nobody had the time to register again, and it is gone:\n%v", got)
		}
	})
	t.Run("its leader is killed", func(t *testing.T) {
		agents := consultest.Cluster(t, 3, "")
		n := slices.IndexFunc(agents, (*consultest.Agent).IsLeader)
		leader, follower := agents[n], agents[(n+1)%3]
		lab := newOutage(t, follower, follower)
		leader.Kill()
		consultest.Eventually(t, 30*time.Second, "another leads", func() bool {
			return slices.ContainsFunc(agents, func(a *consultest.Agent) bool { return a != leader && a.IsLeader() })
		})
		lab.awaitFresh("after another led")
	})
	t.Run("it is away when rollcall starts again", func(t *testing.T) {
		agent := consultest.Start(t, "")
		agent.Service("web", 80, "passing")
		dir := t.TempDir()
		keep := func(s *settings) { s.dataDir = dir }
		t.Run("before", func(t *testing.T) {
			s := runningInFront(t, agent, keep)
			consultest.Eventually(t, 10*time.Second, "web is found", func() bool {
				return len(question(t, s, "web.service.consul.", dns.TypeA).Answer) == 1
			})
		})
		agent.Kill()
		began := time.Now()
		s := runningInFront(t, agent, keep)
		reply := question(t, s, "web.service.consul.", dns.TypeA)
		t.Logf("answered %v after the start", time.Since(began).Round(time.Millisecond))
		if len(reply.Answer) != 1 || time.Since(began) > time.Second {
			t.Errorf("after %v:\n%v", time.Since(began), reply)
		}
		if !s.registry.freshness().Stale {
			t.Error("nobody is told that the view is stale")
		}
	})
}

// outage is a server in front of a Consul, and clients that ask it all the time.
type outage struct {
	t      *testing.T
	server *server
	agent  *consultest.Agent // to register with when it is back
	seen   int
}

// newOutage registers a service, and starts the clients: they fail the test if
// a question for it is not answered.
func newOutage(t *testing.T, front, agent *consultest.Agent) *outage {
	t.Helper()
	agent.Service("web", 80, "critical")
	agent.Set("web", "passing") // of which an agent that starts again knows, and of what was registered it does not
	o := &outage{t: t, server: runningInFront(t, front, nil), agent: agent}
	consultest.Eventually(t, 10*time.Second, "web is found", func() bool {
		return len(question(t, o.server, "web.service.consul.", dns.TypeA).Answer) == 1
	})
	var clients sync.WaitGroup
	stop := make(chan struct{})
	var mu sync.Mutex
	asked, unanswered := 0, 0
	for range 4 {
		clients.Go(func() {
			client := dns.Client{Timeout: 2 * time.Second}
			conn, err := client.Dial(o.server.dns.Addrs()[0].String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				reply, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion("web.service.consul.", dns.TypeA), conn)
				mu.Lock()
				asked++
				if err != nil || len(reply.Answer) != 1 {
					unanswered++
				}
				mu.Unlock()
				time.Sleep(200 * time.Microsecond)
			}
		})
	}
	t.Cleanup(func() {
		close(stop)
		clients.Wait()
		t.Logf("%d questions, %d without an instance", asked, unanswered)
		if unanswered > 0 || asked == 0 {
			t.Errorf("%d of %d questions were not answered with the instance", unanswered, asked)
		}
	})
	return o
}

func (o *outage) awaitStale() {
	o.t.Helper()
	consultest.Eventually(o.t, 10*time.Second, "the view is stale", func() bool { return o.server.registry.freshness().Stale })
}

// awaitFresh registers something new, which has to be found within 5 seconds.
func (o *outage) awaitFresh(when string) {
	o.t.Helper()
	back := time.Now()
	o.seen++
	name := fmt.Sprint("new-", o.seen)
	consultest.Eventually(o.t, 10*time.Second, "the agent takes registrations", func() bool {
		services, err := o.agent.API.Agent().Services()
		return err == nil && services != nil
	})
	o.agent.Service(name, 81, "passing")
	consultest.Eventually(o.t, 10*time.Second, "the view is fresh "+when, func() bool {
		return !o.server.registry.freshness().Stale && len(question(o.t, o.server, name+".service.consul.", dns.TypeA).Answer) == 1
	})
	took := time.Since(back)
	o.t.Logf("fresh %v %s", took.Round(time.Millisecond), when)
	if took > 5*time.Second {
		o.t.Errorf("it took %v", took)
	}
}

// question asks a server over UDP.
func question(t testing.TB, s *server, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.SetEdns0(1232, false)
	reply, _, err := (&dns.Client{Timeout: 2 * time.Second}).Exchange(m, s.dns.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	return reply
}
