package consul

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestLargeConsul measures a fleet of 5,000 services of 4 instances behind one
// agent with Consul's default limits, and prints what it measured.
func TestLargeConsul(t *testing.T) {
	if os.Getenv("ROLLCALL_LONG") == "" {
		t.Skip("takes a minute: set ROLLCALL_LONG=1")
	}
	const services, each, nodes = 5000, 4, 40
	c := startReal(t, "")
	c.fleet(services, each, nodes)

	r, err := Open(t.Context(), Config{Address: c.Address(), CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	most, stopWatching := peak(func() float64 { return testutil.ToFloat64(r.metrics.connections) })
	began, cpu := time.Now(), ownCPU()
	start(t, r)
	eventually(t, time.Minute, "the first sync is done", func() bool { return r.Freshness().Synced })
	took := time.Since(began)
	t.Logf("first sync: %v, of which %v our own CPU", took.Round(time.Millisecond), (ownCPU() - cpu).Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("the first sync took %v", took)
	}
	expect(t, "instances", r.View().InstancesLen(), services*each+1)

	for n := range services {
		r.interest(fmt.Sprintf("s%04d", n))
	}
	eventually(t, 10*time.Second, "the budget is used", func() bool { return int(r.watching.Load()) == 150-reserve })
	var watched, unwatched []string
	r.mu.Lock()
	for key, tracked := range *r.tracked.Load() {
		if tracked.stop != nil {
			watched = append(watched, key)
		} else {
			unwatched = append(unwatched, key)
		}
	}
	r.mu.Unlock()

	time.Sleep(30 * time.Second) // what the first sync set off is over
	cpu = ownCPU()
	time.Sleep(20 * time.Second)
	idle := float64(ownCPU()-cpu) / float64(20*time.Second)
	t.Logf("idle with %d watches: %.2f %% of a core", len(watched), 100*idle)
	if idle > 0.05 {
		t.Errorf("idle costs %.1f %% of a core", 100*idle)
	}

	quick, lag := c.flips(r, watched, 200), c.flips(r, unwatched, 10)
	t.Logf("a flip of a watched service: median %v, 99th percentile %v", quick[len(quick)/2], quick[len(quick)*99/100])
	t.Logf("a flip of another: median %v, slowest %v", lag[len(lag)/2], lag[len(lag)-1])
	if quick[len(quick)/2] > 100*time.Millisecond || quick[len(quick)*99/100] > time.Second || lag[len(lag)-1] > 5*time.Second {
		t.Error("flips are seen too late")
	}
	stopWatching()
	t.Logf("connections: at most %v", *most)
	if *most > 150 {
		t.Errorf("%v connections were open", *most)
	}
	saving := time.Now()
	r.unsaved.Store(true)
	must(t, r.saveCache())
	t.Logf("writing the view to disk: %v", time.Since(saving).Round(time.Millisecond))
	data := read(t, r.cache)
	loading := time.Now()
	if _, err := parseCache(data); err != nil {
		t.Error(err)
	}
	t.Logf("reading %d kB of it: %v", len(data)>>10, time.Since(loading).Round(time.Millisecond))
}

// fleet registers services with a check each on several nodes.
func (c *realConsul) fleet(services, each, nodes int) {
	c.t.Helper()
	commit := func(ops api.TxnOps) {
		ok, response, _, err := c.API.Txn().Txn(ops, nil)
		if err != nil || !ok {
			c.t.Fatal(err, response)
		}
	}
	var ops api.TxnOps
	for n := range nodes {
		ops = append(ops, &api.TxnOp{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{Node: fmt.Sprint("node", n), Address: fmt.Sprint("10.0.0.", n+1)}}})
	}
	commit(ops)
	ops = nil
	for s := range services {
		name := fmt.Sprintf("s%04d", s)
		for i := range each {
			node, id := fmt.Sprint("node", (s+i)%nodes), fmt.Sprint(name, "-", i)
			ops = append(ops,
				&api.TxnOp{Service: &api.ServiceTxnOp{Verb: api.ServiceSet, Node: node, Service: api.AgentService{
					ID: id, Service: name, Port: 8000 + i, Tags: []string{"v1"}, Weights: api.AgentWeights{Passing: 1, Warning: 1}}}},
				&api.TxnOp{Check: &api.CheckTxnOp{Verb: api.CheckSet, Check: api.HealthCheck{
					Node: node, CheckID: "service:" + id, Name: "alive", Status: "passing", Output: "HTTP GET: 200 OK", ServiceID: id}}})
		}
		if len(ops) > 48 || s == services-1 {
			commit(ops)
			ops = nil
		}
	}
}

// flips turns one instance of services over, and returns how long it took the
// View to show it, quickest first.
func (c *realConsul) flips(r *Registry, services []string, times int) (took []time.Duration) {
	c.t.Helper()
	for n := range times {
		s := r.View().Service(services[rand.N(len(services))])
		check := s.Instances[0].Checks[0]
		status := "critical"
		if check.Status.String() == status {
			status = "passing"
		}
		op := api.HealthCheck{Node: check.Node, CheckID: check.ID, Name: check.Name, Status: status, ServiceID: check.InstanceID}
		if _, _, _, err := c.API.Txn().Txn(api.TxnOps{{Check: &api.CheckTxnOp{Verb: api.CheckSet, Check: op}}}, nil); err != nil {
			c.t.Fatal(err)
		}
		began := time.Now()
		eventually(c.t, 20*time.Second, fmt.Sprint("flip ", n), func() bool {
			return r.View().Check(check.Node, check.ID).Status.String() == status
		})
		took = append(took, time.Since(began).Round(10*time.Microsecond))
		time.Sleep(rand.N(200 * time.Millisecond)) // flips do not come in step with anything
	}
	slices.Sort(took)
	return took
}

// peak samples a figure until stop is called.
func peak(figure func() float64) (most *float64, stop func()) {
	most = new(float64)
	done := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				*most = max(*most, figure())
			}
		}
	})
	return most, sync.OnceFunc(func() { close(done); sampling.Wait() })
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
