package health

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
)

func TestMain(m *testing.M) {
	if os.Getenv("ROLLCALL_TEST_TARGET") != "" {
		serveTarget()
	}
	goleak.VerifyTestMain(m)
}

// bench is a registry with a Runner, in a synctest bubble.
type bench struct {
	*embedded.Registry
	t      *testing.T
	runner *Runner
}

// script is what the probes of a test do, by the address of their TCP check.
type script map[string]prober

// start runs a Runner until the test ends. What before registers is there first.
func start(t *testing.T, probes script, before ...registry.Registration) *bench {
	t.Helper()
	reg, err := embedded.Open(t.Context(), embedded.Config{Node: registry.Node{Name: "n1"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range before {
		if err := reg.Register(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	return startOn(t, reg, probes)
}

// startOn runs a Runner on a registry, which it closes when the test ends.
func startOn(t *testing.T, reg *embedded.Registry, probes script) *bench {
	t.Helper()
	return startWith(t, Config{Registry: reg, Concurrency: 4, probe: func(d registry.Definition, _ *net.Dialer) prober { return probes[d.TCP] }})
}

// startWith runs a Runner, whose registry it closes when the test ends.
func startWith(t *testing.T, config Config) *bench {
	t.Helper()
	reg := config.Registry.(*embedded.Registry)
	b := &bench{Registry: reg, t: t}
	b.runner = New(config)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.runner.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return b
}

func (b *bench) register(r registry.Registration) {
	b.t.Helper()
	if err := b.Register(b.t.Context(), r); err != nil {
		b.t.Fatal(err)
	}
}

// after lets time pass, and everybody do what is then to be done.
func (b *bench) after(d time.Duration) {
	time.Sleep(d) // in a bubble: no time at all
	synctest.Wait()
}

func (b *bench) wants(id string, want registry.Status) {
	b.t.Helper()
	if c := b.View().Check("n1", id); c == nil || c.Status != want {
		b.t.Errorf("check %s is %+v, want %v", id, c, want)
	}
}

func tcp(id, address string, edit ...func(*registry.Definition)) registry.Registration {
	d := registry.Definition{TCP: address, Interval: 10 * time.Second, Timeout: time.Second, SuccessBeforePassing: 1, FailuresBeforeCritical: 1}
	for _, e := range edit {
		e(&d)
	}
	return registry.Registration{Instance: &registry.Instance{Service: "web", ID: id}, Checks: []registry.Check{{ID: id, Definition: &d}}}
}

func ttl(id string, d time.Duration) registry.Registration {
	return registry.Registration{
		Instance: &registry.Instance{Service: "web", ID: id},
		Checks:   []registry.Check{{ID: id, Status: registry.Passing, Definition: &registry.Definition{TTL: d}}},
	}
}

func well(context.Context) result { return passing("fine") }

func hang(ctx context.Context) result {
	<-ctx.Done()
	return critical("%v", ctx.Err())
}

func TestNewCheckIsProbedWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, script{"a:1": well})
		b.register(tcp("a", "a:1"))
		b.wants("a", registry.Critical)
		b.after(time.Second)
		b.wants("a", registry.Passing)
	})
}

func TestChecksFoundAtTheStartAreSpreadOverTheirInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var starts []time.Duration
		var begun time.Time
		probes, before := script{}, []registry.Registration(nil)
		for n := range 200 {
			address := fmt.Sprintf("host:%d", n+1)
			before = append(before, tcp(fmt.Sprint(n), address))
			probes[address] = func(context.Context) result {
				mu.Lock()
				defer mu.Unlock()
				starts = append(starts, time.Since(begun))
				return passing("fine")
			}
		}
		begun = time.Now()
		b := start(t, probes, before...)
		b.after(9 * time.Second)
		early := 0
		for _, s := range starts {
			if s < time.Second {
				early++
			}
		}
		if len(starts) < 150 || early > 60 {
			t.Errorf("%d of 200 ran in 9 s, %d of them in the first second", len(starts), early)
		}
	})
}

func TestHungTargetTimesOutAndIsCritical(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, script{"a:1": hang})
		r := tcp("a", "a:1")
		r.Checks[0].Status = registry.Passing
		b.register(r)
		b.after(2 * time.Second)
		b.wants("a", registry.Critical)
		if got := b.View().Check("n1", "a").Output; got != "timed out after 1s" {
			t.Errorf("the output is %q", got)
		}
	})
}

func TestHungTargetsDoNotStarveOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, script{"well:1": well, "hung:1": hang})
		for n := range 40 {
			b.register(tcp(fmt.Sprint("hung", n), "hung:1"))
		}
		b.after(time.Minute) // every one has hung by now, and there are slots for 4
		b.register(tcp("well", "well:1"))
		b.after(2 * time.Second)
		b.wants("well", registry.Passing)
	})
}

// TestAnotherLimitHoldsFromTheNextProbeOn raises and lowers it while probes run.
func TestAnotherLimitHoldsFromTheNextProbeOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most int
		var mu sync.Mutex
		count := func(by int) {
			mu.Lock()
			defer mu.Unlock()
			running += by
			most = max(most, running)
		}
		b := start(t, script{"a:1": func(context.Context) result {
			count(1)
			defer count(-1)
			time.Sleep(500 * time.Millisecond)
			return passing("fine")
		}})
		for n := range 40 {
			b.register(tcp(fmt.Sprint("a", n), "a:1", func(d *registry.Definition) { d.Interval = time.Second }))
		}
		for _, limit := range []int{4, 12, 2} {
			b.runner.Limit(limit)
			b.after(time.Second) // those that ran before have ended
			mu.Lock()
			most = 0
			mu.Unlock()
			b.after(10 * time.Second)
			mu.Lock()
			if most != limit {
				t.Errorf("%d ran at once, and %d may", most, limit)
			}
			mu.Unlock()
		}
	})
}

func TestCheckNeverOverlapsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, most, runs := 0, 0, 0
		b := start(t, script{"a:1": func(ctx context.Context) result {
			running++
			runs++
			most = max(most, running)
			time.Sleep(900 * time.Millisecond)
			running--
			return passing("fine")
		}})
		b.register(tcp("a", "a:1", func(d *registry.Definition) { d.Interval = time.Second }))
		b.after(20 * time.Second)
		if most != 1 || runs < 5 {
			t.Errorf("%d runs, %d at once", runs, most)
		}
	})
}

func TestCheckRemovedWhileItRunsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		b := start(t, script{"a:1": func(ctx context.Context) result {
			<-ctx.Done()
			ended = true
			return passing("too late")
		}})
		b.register(tcp("a", "a:1"))
		b.after(time.Second)
		if err := b.Deregister(t.Context(), registry.Deregistration{InstanceID: "a"}); err != nil {
			t.Fatal(err)
		}
		b.register(registry.Registration{
			Instance: &registry.Instance{Service: "web", ID: "a"}, Checks: []registry.Check{{ID: "a"}},
		})
		synctest.Wait()
		if !ended {
			t.Error("the probe went on")
		}
		b.wants("a", registry.Critical)
	})
}

func TestHeartbeatsLapseAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		b.register(ttl("a", 10*time.Second))
		beat := func() {
			if err := b.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "a", Status: registry.Passing}); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			b.after(9 * time.Second)
			beat()
		}
		b.after(9 * time.Second)
		b.wants("a", registry.Passing)
		b.after(time.Second)
		b.wants("a", registry.Critical)
		b.after(35 * time.Second)
		beat()
		b.wants("a", registry.Passing)
		b.after(9 * time.Second)
		b.wants("a", registry.Passing)
		b.after(2 * time.Second)
		b.wants("a", registry.Critical)
	})
}

func TestALapsedHeartbeatTellsWhatTheLastOneSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		b.register(ttl("a", 10*time.Second))
		for said, want := range map[string]string{
			"":           "TTL expired: no heartbeat in 10s",
			"3 in queue": "TTL expired: no heartbeat in 10s. The last one said: 3 in queue",
		} {
			if err := b.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "a", Status: registry.Passing, Output: said}); err != nil {
				t.Fatal(err)
			}
			b.after(11 * time.Second)
			if got := b.View().Check("n1", "a").Output; got != want {
				t.Errorf("after %q it is %q", said, got)
			}
		}
	})
}

func TestCriticalInstanceIsDeregisteredAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, script{"a:1": func(context.Context) result { return critical("down") }})
		b.register(tcp("a", "a:1", func(d *registry.Definition) { d.DeregisterCriticalServiceAfter = time.Minute }))
		b.after(55 * time.Second)
		b.wants("a", registry.Critical)
		b.after(20 * time.Second)
		if b.View().Instance("n1", "a") != nil {
			t.Error("the instance is still there")
		}
	})
}

func TestOutputAloneIsToldSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		b := start(t, script{"a:1": func(context.Context) result { n++; return passing("run %d", n) }})
		b.register(tcp("a", "a:1"))
		b.after(time.Second)
		index := b.View().Index()
		b.after(4 * time.Minute)
		if got := b.View().Index(); got != index {
			t.Errorf("%d changes in 4 minutes of the same status", got-index)
		}
		b.after(3 * time.Minute)
		if got := b.View().Index(); got != index+1 {
			t.Errorf("%d changes in 7 minutes, want 1", got-index)
		}
	})
}

func TestStatusSetFromOutsideIsOverruledByTheNextProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, script{"a:1": well})
		b.register(tcp("a", "a:1"))
		b.after(time.Second)
		if err := b.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "a", Status: registry.Critical}); err != nil {
			t.Fatal(err)
		}
		b.wants("a", registry.Critical)
		b.after(12 * time.Second)
		b.wants("a", registry.Passing)
	})
}

func TestThresholdsAreConsuls(t *testing.T) {
	const p, w, c = registry.Passing, registry.Warning, registry.Critical
	for _, row := range []struct {
		name       string
		definition registry.Definition
		results    []registry.Status
		want       []registry.Status
	}{
		{"one", registry.Definition{SuccessBeforePassing: 1, FailuresBeforeCritical: 1}, []registry.Status{p, c, w, p}, []registry.Status{p, c, w, p}},
		{"success before passing", registry.Definition{SuccessBeforePassing: 3}, []registry.Status{p, p, p, c, p}, []registry.Status{c, c, p, p, p}},
		{"failures before critical", registry.Definition{FailuresBeforeCritical: 3}, []registry.Status{p, c, c, c, p, p}, []registry.Status{p, p, p, c, c, p}},
		{"failures before warning", registry.Definition{FailuresBeforeWarning: 2, FailuresBeforeCritical: 3}, []registry.Status{p, c, c, c}, []registry.Status{p, p, w, c}},
		{"a success between", registry.Definition{FailuresBeforeCritical: 2}, []registry.Status{p, c, p, c, p}, []registry.Status{p, p, p, p, p}},
		{"none", registry.Definition{}, []registry.Status{p, c, c, p, c, c, c, p, c, p, p}, []registry.Status{p, p, p, p, p, p, c, c, c, c, p}},
		{"warning alone", registry.Definition{FailuresBeforeWarning: 4}, []registry.Status{p, c, c, c, c}, []registry.Status{p, p, p, p, c}},
	} {
		counter, got := newCounter(row.definition, c, true), []registry.Status(nil)
		for _, r := range row.results {
			got = append(got, counter.count(r))
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %v becomes %v, want %v", row.name, row.results, got, row.want)
		}
	}
}

// TestACheckLeavesAfterThreeFailuresAndComesBackAfterTwoSuccesses has a target fail for
// so many probes in a row, of a check that says nothing of how many it takes.
func TestACheckLeavesAfterThreeFailuresAndComesBackAfterTwoSuccesses(t *testing.T) {
	const p, c = registry.Passing, registry.Critical
	var got []registry.Status
	synctest.Test(t, func(t *testing.T) {
		results := []registry.Status{c, p, c, c, p, c, c, c, p, c, p, p, c}
		var n atomic.Int32
		b := start(t, script{"a:1": func(context.Context) result {
			return result{status: results[min(int(n.Add(1)), len(results))-1]}
		}})
		b.register(tcp("a", "a:1", func(d *registry.Definition) { d.SuccessBeforePassing, d.FailuresBeforeCritical = 0, 0 }))
		for seen := 0; seen < len(results); b.after(time.Second) {
			if now := int(n.Load()); now > seen {
				seen = now
				got = append(got, b.View().Check("n1", "a").Status)
			}
		}
	})
	if want := []registry.Status{c, p, p, p, p, p, p, c, c, c, c, p, p}; !slices.Equal(got, want) {
		t.Errorf("it is %v, want %v", got, want)
	}
	t.Logf("after each of its results it is %v", got)
}

func TestDelaysStayInTheirBounds(t *testing.T) {
	for _, random := range []float64{0, 0.5, 0.999} {
		if d := firstDelay(10*time.Second, false, random); d < 0 || d >= time.Second {
			t.Errorf("a new check waits %v", d)
		}
		if d := firstDelay(10*time.Second, true, random); d != time.Duration(random*float64(10*time.Second)) {
			t.Errorf("a check found at the start waits %v", d)
		}
		if d := nextDelay(10*time.Second, random); d < 9*time.Second || d >= 11*time.Second {
			t.Errorf("a check waits %v for its next run", d)
		}
	}
}
