package consul

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run starts a Registry in front of a fake, and stops it when the test ends.
func run(t *testing.T, f *fake, c Config) (r *Registry, stop func()) {
	t.Helper()
	c.network = f
	r, err := Open(t.Context(), c)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return r, start(t, r)
}

func start(t testing.TB, r *Registry) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		r.Close()
	}
	t.Cleanup(stop)
	return stop
}

// settled lets everything happen that takes less than d.
func settled(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// ports are the ports of a service that can be used now.
func ports(r *Registry, service string) []int {
	endpoints, _ := r.View().Discover(registry.Query{Service: service})
	out := []int{}
	for _, e := range endpoints {
		out = append(out, e.Port)
	}
	slices.Sort(out)
	return out
}

// observed returns how often something was measured.
func observed(t *testing.T, c prometheus.Collector) uint64 {
	t.Helper()
	alone := prometheus.NewPedanticRegistry()
	alone.MustRegister(c)
	found, err := alone.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return found[0].GetMetric()[0].GetHistogram().GetSampleCount()
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// bubble runs a test in fake time, with what it starts stopped inside.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func TestSync(t *testing.T) {
	bubble(t, "shows everything, and says when it does", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80, 81)
		r, err := Open(t.Context(), Config{network: f})
		if err != nil {
			t.Fatal(err)
		}
		if s := *r.Freshness(); s.Synced || !s.Stale {
			t.Errorf("before the sync the status is %+v", s)
		}
		start(t, r)
		settled(time.Second)
		expect(t, "status", *r.Freshness(), registry.Freshness{Synced: true})
		expect(t, "ports", ports(r, "web"), []int{80, 81})
		expect(t, "domain", r.Domain(), "consul.")
		expect(t, "datacenter", r.View().Datacenter(), "dc1")
		if r.View().Index() < 12 {
			t.Errorf("the view's index %d is below Consul's", r.View().Index())
		}
	})
	bubble(t, "a write that is made conditional is refused", func(t *testing.T) {
		r, _ := run(t, newFake(), Config{})
		settled(time.Second)
		never := func(*registry.View) error { t.Error("the condition was looked at, which proves nothing"); return nil }
		for _, err := range []error{
			r.Register(t.Context(), registry.Registration{Instance: &registry.Instance{Service: "web"}, If: never}),
			r.Deregister(t.Context(), registry.Deregistration{InstanceID: "web", If: never}),
		} {
			expect(t, "code", registry.CodeOf(err), registry.Invalid)
		}
	})
	bubble(t, "the time from an answer to the view is measured, and answers are counted", func(t *testing.T) {
		f := newFake()
		r, _ := run(t, f, Config{})
		settled(5 * time.Second)
		counted := func() float64 { return testutil.ToFloat64(r.metrics.answers.WithLabelValues("changed")) }
		before, answers := observed(t, r.metrics.spread), counted()
		f.put("web", "passing", 80)
		settled(5 * time.Second)
		if observed(t, r.metrics.spread) == before || counted() == answers {
			t.Errorf("a new service is measured %d times and %v answers changed something", observed(t, r.metrics.spread)-before, counted()-answers)
		}
		if got := testutil.ToFloat64(r.metrics.index.WithLabelValues(allServices)); got != float64(f.index) {
			t.Errorf("the index of the services is %v, want %d", got, f.index)
		}
		before = observed(t, r.metrics.spread)
		f.put("web", "passing", 80)
		settled(5 * time.Second)
		if observed(t, r.metrics.spread) == before {
			t.Error("a change is not measured")
		}
	})
	bubble(t, "a malformed instance is left out alone and counted", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80, 81, 99999)
		f.put("odd", "passing", 1)
		f.services["odd"].instances[0].Node.Address = "256.1.2.3"
		r, _ := run(t, f, Config{})
		settled(time.Second)
		expect(t, "ports", ports(r, "web"), []int{80, 81})
		expect(t, "status", *r.Freshness(), registry.Freshness{Synced: true})
		n := testutil.ToFloat64(r.metrics.rejected)
		t.Logf("2 bad instances are left out, and counted %v times, in each answer that has them", n)
		if n < 2 {
			t.Errorf("%v were counted as rejected, want 2 or more", n)
		}
	})
	bubble(t, "an answer with a field of another type loses only that instance", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		f.fault = func(path string, _ *http.Request) *http.Response {
			if path != servicePath("web") {
				return nil
			}
			return reply(200, 11, true, false, `[{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"a","Service":"web","Port":"eighty"}},
				{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"b","Service":"web","Port":81}}]`)
		}
		r, _ := run(t, f, Config{})
		settled(time.Second)
		expect(t, "ports", ports(r, "web"), []int{81})
	})
	bubble(t, "a new service, another tag and a service that goes are seen", func(t *testing.T) {
		f := newFake()
		r, _ := run(t, f, Config{})
		settled(5 * time.Second)
		f.put("web", "passing", 80)
		settled(time.Second)
		expect(t, "ports", ports(r, "web"), []int{80})
		settled(5 * time.Second)
		f.remove("web")
		settled(time.Second)
		if r.View().Service("web") != nil {
			t.Error("the service is still there")
		}
	})
	bubble(t, "an answer that changes nothing supersedes nothing", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		r, _ := run(t, f, Config{})
		settled(time.Second)
		stamp, index := r.View().Stamp(), r.View().Index()
		r.interest("web")
		f.set(func() { f.index++ })
		settled(20 * time.Minute)
		if !stamp.Current() || r.View().Index() != index {
			t.Error("a new View was published although nothing is different")
		}
	})
}

func TestWatch(t *testing.T) {
	bubble(t, "a service that was asked for is seen at once", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		r, _ := run(t, f, Config{})
		settled(5 * time.Second)
		r.View().Service("web").Stamp.Use()
		settled(time.Second)
		f.put("web", "critical", 80)
		synctest.Wait()
		expect(t, "ports", ports(r, "web"), []int{})
	})
	bubble(t, "one that nobody asked for is seen within 5 seconds", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		r, _ := run(t, f, Config{})
		settled(5 * time.Second)
		for _, status := range []string{"critical", "passing", "critical"} {
			f.put("web", status, 80)
		}
		settled(5 * time.Second)
		expect(t, "ports", ports(r, "web"), []int{})
	})
	bubble(t, "a name that is not in the list starts no watch", func(t *testing.T) {
		f := newFake()
		r, _ := run(t, f, Config{})
		settled(5 * time.Second)
		for n := range 1000 {
			r.interest(fmt.Sprint("random", n))
		}
		settled(5 * time.Second)
		expect(t, "watches", r.watching.Load(), int32(0))
	})
	bubble(t, "services can be pinned later, and no longer be", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		f.put("db", "passing", 80)
		r, _ := run(t, f, Config{Pinned: []string{"web"}})
		settled(5 * time.Second)
		watched := func() (names []string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for name, t := range *r.tracked.Load() {
				if t.stop != nil {
					names = append(names, name)
				}
			}
			slices.Sort(names)
			return names
		}
		expect(t, "watched", watched(), []string{"web"})
		r.SetPinned([]string{"DB", "consul"})
		settled(5 * time.Second)
		expect(t, "watched", watched(), []string{"consul", "db"})
	})
	bubble(t, "the budget is kept, and nobody is asked for in vain", func(t *testing.T) {
		f := newFake()
		for n := range 300 {
			f.put(fmt.Sprint("s", n), "passing", 80)
		}
		r, _ := run(t, f, Config{Pinned: []string{"S299"}})
		settled(5 * time.Second)
		for n := range 300 {
			r.interest(fmt.Sprint("s", n))
		}
		settled(2 * time.Second)
		expect(t, "watches", r.watching.Load(), int32(150-reserve))
		if (*r.tracked.Load())["s299"].stop == nil {
			t.Error("a pinned service is not watched")
		}
		for n := range 300 {
			f.put(fmt.Sprint("s", n), "passing", 81)
		}
		settled(5 * time.Second)
		for n := range 300 {
			expect(t, fmt.Sprint("s", n), ports(r, fmt.Sprint("s", n)), []int{81})
		}
		t.Logf("%d questions are open at once, at most, for 300 services", f.most)
		if f.most > 150 {
			t.Errorf("%d questions were open at once", f.most)
		}
	})
	bubble(t, "a watch ends when nobody asks any more", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		r, _ := run(t, f, Config{})
		settled(5 * time.Second)
		r.interest("web")
		settled(time.Second)
		expect(t, "watches", r.watching.Load(), int32(1))
		settled(11 * time.Minute)
		expect(t, "watches", r.watching.Load(), int32(0))
	})
	bubble(t, "drift is found by re-listing and counted", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		r, _ := run(t, f, Config{})
		settled(5 * time.Second)
		f.mu.Lock()
		f.services["web"].instances[0].Service.Port = 81 // and nobody is told
		f.mu.Unlock()
		settled(6 * time.Minute)
		expect(t, "ports", ports(r, "web"), []int{81})
		if n := testutil.ToFloat64(r.metrics.drift); n != 1 {
			t.Errorf("drift is %v, want 1", n)
		}
	})
}

func TestIndexes(t *testing.T) {
	bubble(t, "an index that falls and stays zero is no busy loop, and the next change is seen within a second", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		r, _ := run(t, f, Config{})
		settled(5 * time.Second)
		r.interest("web")
		settled(5 * time.Second)
		indexes := []uint64{100, 90, 0, 0, 0}
		body := `[{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"web-80","Service":"web","Port":80}}]`
		before := f.count(servicePath("web"))
		f.set(func() {
			f.fault = func(path string, _ *http.Request) *http.Response {
				if path != servicePath("web") {
					return nil
				}
				index := indexes[0]
				indexes = append(indexes[1:], 0)
				return reply(200, index, true, false, body)
			}
		})
		settled(10 * time.Second)
		n := f.count(servicePath("web")) - before
		t.Logf("%d questions in 10 s", n)
		if n > 16 {
			t.Errorf("%d questions in 10 s, want about one a second", n)
		}
		f.mu.Lock()
		body = `[{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"web-80","Service":"web","Port":81}}]`
		f.mu.Unlock()
		settled(time.Second)
		expect(t, "ports", ports(r, "web"), []int{81})
	})
	bubble(t, "100, 90, 0, 0, 0 in a row are fewer than ten questions in 10 s, and the next change is seen within a second", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		r, _ := run(t, f, Config{})
		settled(5 * time.Second)
		r.interest("web")
		settled(5 * time.Second)
		indexes := []uint64{100, 90, 0, 0, 0}
		before := f.count(servicePath("web"))
		f.set(func() {
			f.index, f.services["web"].index = 100, 100
			f.fault = func(path string, _ *http.Request) *http.Response {
				if path != servicePath("web") || len(indexes) == 0 {
					return nil
				}
				index := indexes[0]
				indexes = indexes[1:]
				return reply(200, index, true, false, f.services["web"].instances)
			}
		})
		settled(10 * time.Second)
		n := f.count(servicePath("web")) - before
		t.Logf("%d questions in 10 s", n)
		if n >= 10 || len(indexes) > 0 {
			t.Errorf("%d questions in 10 s, and %d indexes that were not asked for", n, len(indexes))
		}
		f.put("web", "passing", 80, 81) // what is gone would stay for a while: the history began anew
		settled(time.Second)
		expect(t, "ports", ports(r, "web"), []int{80, 81})
	})
	bubble(t, "an older answer of a server that lags is not applied", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		r, _ := run(t, f, Config{})
		settled(5 * time.Second)
		f.put("web", "passing", 81)
		settled(5 * time.Second)
		f.set(func() {
			f.fault = func(path string, q *http.Request) *http.Response {
				if path == servicePath("web") && q.URL.Query().Has("stale") {
					return reply(200, 3, true, false, `[{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"web-80","Service":"web","Port":80}}]`)
				}
				return nil
			}
		})
		r.interest("web")
		settled(time.Second)
		expect(t, "ports", ports(r, "web"), []int{81})
	})
	bubble(t, "wiped data is believed, and yet everybody has time to register again", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		f.put("old", "passing", 70)
		f.put("db", "passing", 5432, 5433)
		r, _ := run(t, f, Config{})
		r.interest("web")
		settled(5 * time.Second)
		f.wipe()
		f.put("web", "passing", 81)
		f.put("db", "passing", 5432)
		settled(5 * time.Second)
		expect(t, "web", ports(r, "web"), []int{80, 81})
		expect(t, "old", ports(r, "old"), []int{70})
		expect(t, "db", ports(r, "db"), []int{5432, 5433})
		f.put("web", "passing", 80, 81)
		settled(2 * time.Minute)
		expect(t, "web", ports(r, "web"), []int{80, 81})
		expect(t, "old", ports(r, "old"), []int{})
		expect(t, "db", ports(r, "db"), []int{5432})
		f.put("web", "passing", 90)
		settled(time.Second)
		expect(t, "web", ports(r, "web"), []int{90})
		f.remove("web")
		settled(time.Second)
		expect(t, "web", ports(r, "web"), []int{})
	})
}

func TestOutage(t *testing.T) {
	faults := []struct {
		name string
		kind string
		do   func(f *fake)
	}{
		{"Consul is away", kindNetwork, func(f *fake) { f.away = true }},
		{"an empty list without a leader is not believed", kindLeaderless, func(f *fake) {
			f.lead, f.services = false, map[string]*fakeService{}
			f.index++
		}},
		{"no leader", kindLeaderless, func(f *fake) {
			f.fault = func(string, *http.Request) *http.Response {
				return reply(500, 0, false, false, "rpc error making call: No cluster leader")
			}
		}},
		{"the token is gone", kindACL, func(f *fake) {
			f.fault = func(string, *http.Request) *http.Response { return reply(403, 0, true, false, "ACL not found") }
		}},
		{"the token sees nothing any more", kindACL, func(f *fake) {
			f.filtered, f.services = true, map[string]*fakeService{}
			f.index++
		}},
		{"everything is hidden and nothing says so", kindACL, func(f *fake) {
			f.services = map[string]*fakeService{}
			f.index++
		}},
		{"too many requests", kindLimit, func(f *fake) {
			f.fault = func(string, *http.Request) *http.Response {
				response := reply(429, 0, true, false, "slow down")
				response.Header.Set("Retry-After", "7")
				return response
			}
		}},
		{"no JSON", kindMalformed, func(f *fake) {
			f.fault = func(string, *http.Request) *http.Response { return reply(200, 99, true, false, "<html>") }
		}},
	}
	for _, fault := range faults {
		bubble(t, fault.name, func(t *testing.T) {
			f := newFake()
			f.put("web", "passing", 80)
			r, _ := run(t, f, Config{})
			r.interest("web")
			settled(5 * time.Second)
			whole := f.services
			began := len(f.asked)
			f.set(func() { fault.do(f) })
			settled(2 * time.Minute)
			expect(t, "ports", ports(r, "web"), []int{80})
			s := *r.Freshness()
			if !s.Synced || !s.Stale || s.Reason == "" || time.Since(s.Since) < 100*time.Second {
				t.Errorf("the status is %+v", s)
			}
			if testutil.ToFloat64(r.metrics.errors.WithLabelValues(fault.kind)) == 0 {
				t.Errorf("no error of kind %s is counted", fault.kind)
			}
			if n := len(f.asked) - began; n > 500 {
				t.Errorf("Consul was asked %d times in two minutes", n)
			}
			f.set(func() {
				f.away, f.fault, f.lead, f.filtered, f.services = false, nil, true, false, whole
			})
			f.put("web", "passing", 81)
			if fault.kind == kindLimit {
				settled(7 * time.Second)
			}
			settled(5 * time.Second)
			expect(t, "ports", ports(r, "web"), []int{81})
			expect(t, "status", *r.Freshness(), registry.Freshness{Synced: true})
		})
	}
	bubble(t, "a thousand watches come back spread over time, and none is lost", func(t *testing.T) {
		f := newFake()
		for n := range 1000 {
			f.put(fmt.Sprint("s", n), "passing", 80)
		}
		r, _ := run(t, f, Config{Watches: 1000 + reserve})
		settled(30 * time.Second)
		for n := range 1000 {
			r.interest(fmt.Sprint("s", n))
		}
		settled(10 * time.Second)
		expect(t, "watches", r.watching.Load(), int32(1000))
		f.set(func() { f.away = true })
		settled(2 * time.Minute)
		began, back := len(f.times), time.Now()
		f.set(func() { f.away = false })
		settled(30 * time.Second)
		f.mu.Lock()
		var connected []time.Time // of whoever asks first on a connection, and then has it held
		for n, q := range f.asked {
			if n >= began && q.index == 0 && f.times[n].After(back) {
				connected = append(connected, f.times[n])
			}
		}
		f.mu.Unlock()
		most := 0
		for n, first := range connected {
			within := slices.IndexFunc(connected[n:], func(t time.Time) bool { return t.Sub(first) >= time.Second })
			if within < 0 {
				within = len(connected) - n
			}
			most = max(most, within)
		}
		t.Logf("%d connections in any second at most, for 1,000 watches and all else", most)
		if most > 50 {
			t.Errorf("%d connections in one second", most)
		}
		for n := range 1000 {
			f.put(fmt.Sprint("s", n), "passing", 81)
		}
		settled(time.Second)
		for n := range 1000 {
			expect(t, fmt.Sprint("s", n), ports(r, fmt.Sprint("s", n)), []int{81})
		}
	})
}

func TestAConsulThatHearsAndSaysNothingIsAway(t *testing.T) {
	bubble(t, "the view is stale", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		r, _ := run(t, f, Config{})
		settled(time.Minute)
		expect(t, "stale before", r.Freshness().Stale, false)
		f.set(func() { f.frozen = true })
		silent := time.Now()
		for !r.Freshness().Stale && time.Since(silent) < time.Minute {
			settled(100 * time.Millisecond)
		}
		t.Logf("a Consul that says nothing is away after %v", time.Since(silent))
		if known := time.Since(silent); known > pulseEvery+answerWithin+time.Second {
			t.Errorf("it is away after %v", known)
		}
		expect(t, "the ports", ports(r, "web"), []int{80})
		f.set(func() { f.frozen = false })
		f.put("web", "passing", 81)
		back := time.Now()
		for (r.Freshness().Stale || ports(r, "web")[0] != 81) && time.Since(back) < time.Minute {
			settled(100 * time.Millisecond)
		}
		t.Logf("and the view is fresh %v after its return", time.Since(back))
		if fresh := time.Since(back); fresh > pulseEvery+time.Second {
			t.Errorf("it is fresh %v after its return", fresh)
		}
		expect(t, "the ports after its return", ports(r, "web"), []int{81})
	})
	bubble(t, "a write fails", func(t *testing.T) {
		f := newFake()
		r, _ := run(t, f, Config{})
		settled(time.Second)
		f.set(func() { f.frozen = true })
		for name, write := range map[string]func() error{
			"a registration": func() error {
				return r.Register(t.Context(), registry.Registration{Instance: &registry.Instance{Service: "web", Port: 80}})
			},
			"a deregistration": func() error {
				return r.Deregister(t.Context(), registry.Deregistration{InstanceID: "consul-8300"})
			},
			"a status": func() error {
				return r.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "service:consul-8300", Status: registry.Passing})
			},
		} {
			start := time.Now()
			err := write()
			took := time.Since(start)
			t.Logf("%s fails after %v", name, took)
			if registry.CodeOf(err) != registry.Unavailable || took > answerWithin {
				t.Errorf("%s: after %v: %v", name, took, err)
			}
		}
	})
}

func TestRestart(t *testing.T) {
	bubble(t, "with Consul away, the view is served from disk and its index goes on", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		f.put("db", "critical", 5432)
		c := Config{CacheDir: t.TempDir()}
		r, stop := run(t, f, c)
		settled(5 * time.Second)
		before := r.View()
		stop()
		f.set(func() { f.away = true })
		r, stop = run(t, f, c)
		expect(t, "web", ports(r, "web"), []int{80})
		expect(t, "db", ports(r, "db"), []int{})
		expect(t, "domain", r.Domain(), "consul.")
		if s := *r.Freshness(); !s.Synced || !s.Stale || s.Since.IsZero() {
			t.Errorf("the status is %+v", s)
		}
		if got := r.View().Index(); got <= before.Index() {
			t.Errorf("the index fell from %d to %d", before.Index(), got)
		}
		if was, is := before.Check("n1", "service:db-5432").Since, r.View().Check("n1", "service:db-5432").Since; !was.Equal(is) {
			t.Errorf("a check that was critical since %v is so since %v", was, is)
		}
		settled(time.Minute)
		stop()
		// And once more: what was not synced is not lost either.
		r, _ = run(t, f, c)
		expect(t, "web", ports(r, "web"), []int{80})
		f.set(func() { f.away = false })
		f.remove("db")
		f.put("web", "passing", 81)
		settled(5 * time.Second)
		expect(t, "web", ports(r, "web"), []int{81})
		if r.View().Service("db") != nil {
			t.Error("a service that went while we were away is still there")
		}
		expect(t, "status", *r.Freshness(), registry.Freshness{Synced: true})
	})
	bubble(t, "what was killed 3 seconds after its start has a view on disk", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		c := Config{CacheDir: t.TempDir()}
		run(t, f, c) // and never stopped, so that nothing is written at its end
		settled(3 * time.Second)
		f.set(func() { f.away = true })
		c.network = f
		r, err := Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		expect(t, "web", ports(r, "web"), []int{80})
	})
	bubble(t, "the index goes on, however often and soon it is killed", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		dir, last := t.TempDir(), uint64(0)
		for life := range 6 {
			r, _ := run(t, f, Config{CacheDir: dir}) // and never stopped
			if got := r.View().Index(); got <= last && life > 0 {
				t.Errorf("life %d begins at index %d, after %d", life, got, last)
			}
			settled([]time.Duration{100 * time.Millisecond, 3 * time.Second}[life%2]) // before it first writes the view, and after that
			if life == 3 {
				f.set(func() { f.index += 1_000_000 })
			}
			for port := range 3 {
				f.put("web", "passing", 100*life+port)
				settled(100 * time.Millisecond)
			}
			last = r.View().Index()
			next := t.TempDir() // with what is on disk when it is killed
			if err := os.CopyFS(next, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			dir = next
		}
	})
	bubble(t, "an agent that leaves the first question without an answer is asked again", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		r, err := Open(t.Context(), Config{network: &silentOnce{RoundTripper: f}})
		if err != nil {
			t.Fatal(err)
		}
		start(t, r)
		settled(time.Second)
		expect(t, "web", ports(r, "web"), []int{80})
	})
	bubble(t, "an ACL that was lost meanwhile deletes nothing", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		c := Config{CacheDir: t.TempDir()}
		_, stop := run(t, f, c)
		settled(5 * time.Second)
		stop()
		f.set(func() { f.filtered = true; f.services = map[string]*fakeService{}; f.index++ })
		r, _ := run(t, f, c)
		settled(time.Minute)
		expect(t, "web", ports(r, "web"), []int{80})
	})
	bubble(t, "data that was wiped meanwhile deletes nothing for a while", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		c := Config{CacheDir: t.TempDir()}
		_, stop := run(t, f, c)
		settled(5 * time.Second)
		stop()
		f.wipe()
		r, _ := run(t, f, c)
		settled(time.Minute)
		expect(t, "web", ports(r, "web"), []int{80})
		settled(time.Minute)
		expect(t, "web", ports(r, "web"), []int{})
	})
	t.Run("a reservation that is damaged is as good as none, and said", func(t *testing.T) {
		s := reserved{file: filepath.Join(t.TempDir(), "x.index")}
		if err := s.cover(7); err != nil {
			t.Fatal(err)
		}
		data := read(t, s.file)
		again := reserved{file: s.file}
		if err := again.read(); err != nil || again != s || s.upTo <= 7 {
			t.Fatalf("the whole file: %+v, %v", again, err)
		}
		for n := range data {
			flipped := slices.Clone(data)
			flipped[n] ^= 4
			for _, damaged := range [][]byte{data[:n], flipped} {
				if err := os.WriteFile(s.file, damaged, 0o600); err != nil {
					t.Fatal(err)
				}
				again := reserved{file: s.file}
				if err := again.read(); err == nil || again.upTo != 0 {
					t.Errorf("%q is taken for whole", damaged)
				}
			}
		}
	})
	t.Run("a file that is damaged is as good as none", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.view")
		k := &kept{Agent: agent{Datacenter: "dc1"}, Index: 7, view: registry.NewView("dc1")}
		if err := writeCache(path, k); err != nil {
			t.Fatal(err)
		}
		data := read(t, path)
		if got, err := parseCache(data, 0); err != nil || got.Index != 7 {
			t.Fatalf("the whole file: %v, %v", got, err)
		}
		for n := range data {
			if _, err := parseCache(data[:n], 0); err == nil {
				t.Errorf("a file cut off after %d octets is taken for whole", n)
			}
			flipped := slices.Clone(data)
			flipped[n] ^= 4
			if _, err := parseCache(flipped, 0); err == nil {
				t.Errorf("a file with octet %d flipped is taken for whole", n)
			}
		}
	})
}

// TestAnotherTokenIsShownFromTheNextQuestionOn and never in place of a caller's.
func TestAnotherTokenIsShownFromTheNextQuestionOn(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "of the environment")
	f := newFake()
	var shown []string
	f.fault = func(_ string, r *http.Request) *http.Response {
		shown = append(shown, r.Header.Get("X-Consul-Token"))
		return nil
	}
	r, err := Open(t.Context(), Config{Token: "first", network: f})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ask := func(ctx context.Context) string {
		_, _, err := r.client.Catalog().Services(r.asReader(ctx))
		if err != nil {
			t.Fatal(err)
		}
		return shown[len(shown)-1]
	}
	expect(t, "the token", ask(t.Context()), "first")
	r.SetToken("second")
	expect(t, "the next one", ask(t.Context()), "second")
	expect(t, "a caller's", ask(WithToken(t.Context(), "caller")), "caller")
	expect(t, "nobody's", ask(WithToken(t.Context(), "")), "anonymous")
	r.SetToken("")
	expect(t, "none", ask(t.Context()), "of the environment")
}
