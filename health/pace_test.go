package health

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
)

// starts is when each check's probes began and ended.
type starts struct {
	sync.Mutex
	began      map[string][]time.Time
	running    map[string]bool
	atOnce     int
	overlapped int
	takes      time.Duration // each probe
}

func (s *starts) probe(d registry.Definition, _ *net.Dialer) prober {
	return func(context.Context) result {
		s.Lock()
		if s.running[d.TCP] {
			s.overlapped++
		}
		s.began[d.TCP] = append(s.began[d.TCP], time.Now())
		s.running[d.TCP] = true
		s.atOnce = max(s.atOnce, len(s.running))
		s.Unlock()
		time.Sleep(s.takes)
		s.Lock()
		delete(s.running, d.TCP)
		s.Unlock()
		return passing("fine")
	}
}

// peak returns the most starts in any second, however it is cut.
func (s *starts) peak() (most, all int) {
	var times []time.Time
	for _, began := range s.began {
		times = append(times, began...)
	}
	slices.SortFunc(times, time.Time.Compare)
	first := 0
	for n, at := range times {
		for at.Sub(times[first]) >= time.Second {
			first++
		}
		most = max(most, n-first+1)
	}
	return most, len(times)
}

// TestWhoFailsIsOutWithinThreeIntervals has 40 of 100 targets fail at once.
func TestWhoFailsIsOutWithinThreeIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		b := start(t, script{"well:1": well, "ill:1": func(context.Context) result {
			if down.Load() {
				return critical("down")
			}
			return passing("fine")
		}})
		for n := range 100 {
			b.register(tcp(fmt.Sprint(n), map[bool]string{true: "ill:1", false: "well:1"}[n < 40], func(d *registry.Definition) { d.FailuresBeforeCritical, d.SuccessBeforePassing = 0, 0 }))
		}
		count := func(status registry.Status) (n int) {
			for i := range b.View().Instances() {
				if b.View().StatusOf(i) == status {
					n++
				}
			}
			return n
		}
		b.after(30 * time.Second)
		down.Store(true)
		b.after(17 * time.Second)
		if n := count(registry.Critical); n != 0 {
			t.Errorf("%d have left before their third failure", n)
		}
		b.after(13 * time.Second)
		if n := count(registry.Passing); n != 60 {
			t.Errorf("three intervals after 40 of 100 have failed %d are passing", n)
		}
		t.Logf("of 100 40 fail, and three intervals later %d are passing", count(registry.Passing))
		down.Store(false)
		b.after(20 * time.Second)
		if n := count(registry.Passing); n != 100 {
			t.Errorf("two intervals after they are back %d are passing", n)
		}
	})
}

// TestTenThousandChecksAreSpread has 10,000 checks at an interval of 10 s, found at the
// start, registered at once, or at 1,000 a second.
func TestTenThousandChecksAreSpread(t *testing.T) {
	const checks, interval = 10_000, 10 * time.Second
	for _, row := range []struct {
		name     string
		before   bool
		apart    time.Duration
		takes    time.Duration
		perCheck int // probes of each in 30 s at least
	}{
		{"found at the start", true, 0, 10 * time.Millisecond, 2},
		{"registered at once", false, 0, 10 * time.Millisecond, 2},
		{"registered in 10 s", false, time.Millisecond, 10 * time.Millisecond, 1},
		{"slow ones", true, 0, 100 * time.Millisecond, 1}, // there are slots for 640 in a second
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg, err := embedded.Open(t.Context(), embedded.Config{Node: registry.Node{Name: "n1"}})
				if err != nil {
					t.Fatal(err)
				}
				register := func() {
					for n := range checks {
						r := tcp(fmt.Sprint(n), fmt.Sprintf("host:%d", n+1), func(d *registry.Definition) { d.Interval = interval })
						if err := reg.Register(t.Context(), r); err != nil {
							t.Fatal(err)
						}
						time.Sleep(row.apart)
					}
				}
				if row.before {
					register()
				}
				s := &starts{began: make(map[string][]time.Time), running: make(map[string]bool), takes: row.takes}
				b := startWith(t, Config{Registry: reg, probe: s.probe})
				if !row.before {
					register()
				}
				b.after(30 * time.Second)
				s.Lock()
				defer s.Unlock()
				peak, all := s.peak()
				least, shortest, longest := all, time.Hour, time.Duration(0)
				for _, began := range s.began {
					least = min(least, len(began))
					for n := range began[1:] {
						gap := began[n+1].Sub(began[n])
						shortest, longest = min(shortest, gap), max(longest, gap)
					}
				}
				t.Logf("%d probes, %d in the peak second, %d at once at most, %d overlapped; %v to %v from one to the next", all, peak, s.atOnce, s.overlapped, shortest, longest)
				if peak > 1300 || s.atOnce > 64 || s.overlapped > 0 || len(s.began) != checks || least < row.perCheck || shortest < interval*9/10 {
					t.Errorf("%d of %d checks have run, %d times at least", len(s.began), checks, least)
				}
			})
		})
	}
}
