package chaos

import (
	"fmt"
	"maps"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"
)

// foundAgainWithin is for how long an upstream that has come back may go unnoticed.
const foundAgainWithin = 4 * time.Second

// restart ends rollcall and starts it again, whatever else is broken.
func (w *consulWorld) restart() {
	w.ours.worsen()
	w.others.worsen()
	defer w.ours.improve()
	defer time.AfterFunc(foundAgainWithin, w.others.improve)
	how, end := "kill -9", w.program.kill
	if w.j.random.IntN(2) == 0 {
		how, end = "SIGTERM", w.program.terminate
	}
	began := time.Now()
	if err := end(); err != nil {
		w.j.wrong("wrong", "%v", err)
	}
	ended := time.Since(began)
	w.trusted.writing.Lock()
	defer w.trusted.writing.Unlock()
	if err := w.program.start(); err != nil {
		w.j.wrong("wrong", "%v", err)
		w.t.FailNow()
	}
	w.j.note("rollcall: %s, ended after %v, ready %v later", how, ended.Round(time.Millisecond), (time.Since(began) - ended).Round(time.Millisecond))
}

func (w *consulWorld) consulKilled() func() {
	w.j.note("Consul: kill -9")
	w.agent.Kill()
	return func() {
		began := time.Now()
		w.agent.Start()
		w.j.add("restarts of Consul", 1)
		w.j.note("Consul: has a leader, %v after its start", time.Since(began).Round(time.Millisecond))
	}
}

func (w *consulWorld) partition() func() {
	way := w.j.random.IntN(3)
	return w.between(conditions{cutUp: way != 1, cutDown: way != 0})
}

func (w *consulWorld) badNetwork() func() {
	r := w.j.random
	return w.between(conditions{loss: 0.01 + 0.29*r.Float64(), delay: w.j.between(0, 100*time.Millisecond), jitter: w.j.between(0, 200*time.Millisecond)})
}

func (w *consulWorld) between(c conditions) func() {
	w.j.note("network before Consul: %v", c)
	w.network.set(c)
	return func() {
		w.network.set(conditions{})
		w.j.note("network before Consul: well")
	}
}

// reset breaks the connections to Consul, which rollcall may make again at once.
func (w *consulWorld) reset() func() {
	w.j.note("network before Consul: connections reset")
	w.network.reset()
	return func() {}
}

func (w *consulWorld) upstreamKilled() func() {
	w.j.note("upstream: killed")
	w.others.worsen()
	w.upstream.kill()
	return func() {
		w.upstream.start()
		w.j.add("restarts of the upstream", 1)
		w.j.note("upstream: started")
		time.AfterFunc(foundAgainWithin, w.others.improve)
	}
}

func (w *consulWorld) upstreamHangs() func() {
	w.j.note("upstream: hangs")
	w.others.worsen()
	w.upstream.hanging.Store(true)
	return func() {
		w.upstream.hanging.Store(false)
		w.j.note("upstream: answers")
		time.AfterFunc(foundAgainWithin, w.others.improve)
	}
}

// agree waits until DNS shows what the catalog has, while nobody changes it.
func (w *consulWorld) agree() {
	w.changing.Lock()
	defer w.changing.Unlock()
	took, differs := w.ours.eventually(agreeWithin, w.compare)
	if differs != "" {
		w.j.wrong("wrong", "%v after the faults: %s", took.Round(time.Millisecond), differs)
		return
	}
	u := w.j.bounded(w.program)
	w.j.add("views compared", 1)
	w.j.note("the view is the catalog, after %v; %d goroutines, %d files, %d MiB", took.Round(time.Millisecond), u.goroutines, u.files, u.memory>>20)
	w.knot.agrees(w.program.dns, &w.ours)
}

// compare tells where DNS does not show what the catalog has, and who has not heard
// of it.
func (w *consulWorld) compare() (differs string) {
	a := &asker{j: w.j, network: "udp", addr: w.program.dns, weather: &w.ours}
	defer a.hangUp()
	there := make(map[string]found)
	for n := range steady + moving {
		name := fmt.Sprint("steady-", n)
		if n >= steady {
			name = fmt.Sprint("moving-", n-steady)
		}
		entries, _, err := w.agent.API.Health().Service(name, "", false, &api.QueryOptions{RequireConsistent: true})
		if err != nil {
			return fmt.Sprintf("Consul: %v", err)
		}
		want := make(map[string]int)
		for _, e := range entries {
			there[name] = found{port: hidden, present: true}
			if address := e.Service.Address; e.Checks.AggregatedStatus() != api.HealthCritical {
				if address == "" {
					address = e.Node.Address
				}
				want[address] = e.Service.Port
				there[name] = found{port: e.Service.Port, present: true}
			}
		}
		reply, _, _ := a.ask(name+consulZone, dns.TypeSRV)
		if reply == nil {
			return fmt.Sprintf("%s: no answer", name)
		}
		if shown, err := read(reply); err != nil || !maps.Equal(shown, want) {
			return fmt.Sprintf("%s: %v, want %v; %v", name, shown, want, err)
		}
	}
	if err := w.unknown(there); err != nil {
		return err.Error()
	}
	return ""
}

// unknown tells who has not heard of what is there. Before there are clients nobody has.
func (w *consulWorld) unknown(there map[string]found) error {
	if w.hangUp == nil {
		return nil
	}
	for _, each := range w.watchers {
		of := make(map[string]found)
		if f, is := there[each.service]; is {
			of[each.service] = f
		}
		if err := each.knows(of); err != nil {
			return err
		}
	}
	return w.mirror.knows(there)
}
