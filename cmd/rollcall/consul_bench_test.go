package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// BenchmarkALargeConsul stands in front of 5,000 services of 4 instances behind
// one agent with Consul's own limits. An iteration takes minutes. It reports
// the time of the first sync, the connections at most, what following costs when
// nothing happens, how long a flip of a check takes to be in the answers for a
// service that is asked for, and how many flips of others are not in the answer
// to their first question, 5 seconds later.
func BenchmarkALargeConsul(b *testing.B) {
	const services, each, nodes = 5000, 4, 40
	agent := consultest.Start(b, "")
	registerFleet(b, agent, services, each, nodes)
	for b.Loop() {
		most, stop := peak(func() int { return connections(b, agent) })
		began := time.Now()
		s := runningInFront(b, agent, nil)
		b.ReportMetric(time.Since(began).Seconds(), "first-sync-s")
		if n := s.registry.View().InstancesLen(); n != services*each+1 {
			b.Fatalf("there are %d instances", n)
		}
		for n := range 200 { // more than may be watched
			question(b, s, fleetName(n), dns.TypeA)
		}
		time.Sleep(30 * time.Second) // what the first sync set off is over
		cpu := ownCPU()
		time.Sleep(20 * time.Second)
		b.ReportMetric(100*float64(ownCPU()-cpu)/float64(20*time.Second), "idle-%cpu")

		asked := flipAsked(b, s, agent, 200)
		b.ReportMetric(float64(asked[len(asked)/2].Microseconds())/1000, "asked-median-ms")
		b.ReportMetric(float64(asked[len(asked)*99/100].Microseconds())/1000, "asked-p99-ms")
		b.ReportMetric(float64(flipOthers(b, s, agent, 1000, 100)), "others-missed")
		stop()
		b.ReportMetric(float64(*most), "connections")
	}
}

func fleetName(n int) string { return fmt.Sprintf("s%04d.service.consul.", n) }

// registerFleet registers services with a check each on several nodes.
func registerFleet(b *testing.B, agent *consultest.Agent, services, each, nodes int) {
	b.Helper()
	var ops api.TxnOps
	commit := func() {
		ok, response, _, err := agent.API.Txn().Txn(ops, nil)
		if err != nil || !ok {
			b.Fatal(err, response)
		}
		ops = nil
	}
	for n := range nodes {
		node := api.Node{Node: fmt.Sprint("node", n), Address: fmt.Sprint("10.0.0.", n+1)}
		ops = append(ops, &api.TxnOp{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: node}})
	}
	commit()
	for s := range services {
		name := fmt.Sprintf("s%04d", s)
		for i := range each {
			node, id := fmt.Sprint("node", (s+i)%nodes), fmt.Sprint(name, "-", i)
			service := api.AgentService{ID: id, Service: name, Port: 8000 + i, Tags: []string{"v1"}, Weights: api.AgentWeights{Passing: 1, Warning: 1}}
			check := api.HealthCheck{Node: node, CheckID: "service:" + id, Name: "alive", Status: "passing", Output: "HTTP GET: 200 OK", ServiceID: id}
			ops = append(ops,
				&api.TxnOp{Service: &api.ServiceTxnOp{Verb: api.ServiceSet, Node: node, Service: service}},
				&api.TxnOp{Check: &api.CheckTxnOp{Verb: api.CheckSet, Check: check}})
		}
		if len(ops) > 48 || s == services-1 {
			commit()
		}
	}
}

// flip turns the first check of a service over, at Consul, and returns how many
// of its instances may be used then.
func flip(b *testing.B, s *server, agent *consultest.Agent, n int) (usable int) {
	b.Helper()
	service := s.registry.View().Service(fmt.Sprintf("s%04d", n))
	check, status := service.Instances[0].Checks[0], "critical"
	usable = len(service.Instances) - 1
	if check.Status == registry.Critical {
		status, usable = "passing", usable+1
	}
	op := api.HealthCheck{Node: check.Node, CheckID: check.ID, Name: check.Name, Status: status, ServiceID: check.InstanceID}
	if _, _, _, err := agent.API.Txn().Txn(api.TxnOps{{Check: &api.CheckTxnOp{Verb: api.CheckSet, Check: op}}}, nil); err != nil {
		b.Fatal(err)
	}
	return usable
}

// flipAsked flips services that are asked for, and returns how long each flip
// took to be in the answer, the quickest first.
func flipAsked(b *testing.B, s *server, agent *consultest.Agent, times int) (took []time.Duration) {
	for range times {
		n := rand.IntN(100)
		usable := flip(b, s, agent, n)
		began := time.Now()
		for len(question(b, s, fleetName(n), dns.TypeSRV).Answer) != usable {
			if time.Since(began) > 20*time.Second {
				b.Fatalf("a flip of %s is never seen", fleetName(n))
			}
		}
		took = append(took, time.Since(began))
		time.Sleep(rand.N(100 * time.Millisecond)) // flips do not come in step with anything
	}
	slices.Sort(took)
	return took
}

// flipOthers flips services that nobody has asked for, and returns how many of
// them answer as before to the first question, 5 seconds later.
func flipOthers(b *testing.B, s *server, agent *consultest.Agent, from, times int) (missed int) {
	usable := make([]int, times)
	for n := range usable {
		usable[n] = flip(b, s, agent, from+n)
	}
	time.Sleep(5 * time.Second)
	for n, want := range usable {
		if len(question(b, s, fleetName(from+n), dns.TypeSRV).Answer) != want {
			missed++
		}
	}
	return missed
}

// connections counts who is connected to the agent's HTTP API, this test too.
func connections(b *testing.B, agent *consultest.Agent) (n int) {
	_, port, _ := strings.Cut(strings.TrimPrefix(agent.Address(), "http://"), ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		b.Error(err)
	}
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		b.Error(err)
	}
	const established = "01"
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", number)) && fields[3] == established {
			n++
		}
	}
	return n
}

// peak samples a figure until stop is called.
func peak(figure func() int) (most *int, stop func()) {
	most = new(int)
	done := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(250 * time.Millisecond):
				*most = max(*most, figure())
			}
		}
	})
	return most, sync.OnceFunc(func() { close(done); sampling.Wait() })
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
