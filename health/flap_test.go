package health

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestACheckThatChangesTooOftenIsHeldCritical(t *testing.T) {
	var f flap
	now := time.Unix(1_700_000_000, 0)
	well := true
	change := func() (registry.Status, bool) {
		well = !well
		now = now.Add(5 * time.Second)
		if well {
			return f.judge(registry.Passing, now)
		}
		return f.judge(registry.Critical, now)
	}
	f.judge(registry.Passing, now)
	for n := range mostChanges {
		if status, began := change(); began || (status == registry.Passing) != well {
			t.Fatalf("after %d changes it is %v", n+1, status)
		}
	}
	for _, hold := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute} {
		for began := false; !began; {
			_, began = change()
		}
		if f.hold != hold {
			t.Fatalf("it is held for %v, and should be for %v", f.hold, hold)
		}
		t.Logf("more than %d changes in %v: held for %v", mostChanges, flapTime, f.hold)
		if status, _ := f.judge(registry.Passing, now.Add(hold-time.Second)); status != registry.Critical {
			t.Errorf("a second before the end of %v it is %v", hold, status)
		}
		if now = now.Add(hold); !well {
			change()
		}
		if status, _ := f.judge(registry.Passing, now); status != registry.Passing {
			t.Errorf("after %v it is %v", hold, status)
		}
	}
	now = now.Add(longestHold + time.Minute)
	for began := false; !began; {
		_, began = change()
	}
	if f.hold != firstHold {
		t.Errorf("after a long calm it is held for %v", f.hold)
	}
}

func TestSlowChangesAreNotHeld(t *testing.T) {
	var f flap
	now, statuses := time.Unix(1_700_000_000, 0), []registry.Status{registry.Passing, registry.Critical}
	for n := range 100 {
		now = now.Add(12 * time.Second)
		if status, _ := f.judge(statuses[n%2], now); status != statuses[n%2] {
			t.Fatalf("at the change %d it is held", n)
		}
	}
}

func TestAFlappingProbeIsHeldAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		b := start(t, script{"flaky:1": func(context.Context) result {
			if n++; n%2 == 0 {
				return critical("refused")
			}
			return passing("fine")
		}})
		b.register(tcp("a", "flaky:1", func(d *registry.Definition) { d.Interval = 5 * time.Second }))
		b.after(50 * time.Second)
		c := b.View().Check("n1", "a")
		if c.Status != registry.Critical || !strings.HasPrefix(c.Output, "held critical for 1m0s, as it changed more than 5 times in 1m0s: ") {
			t.Errorf("it is %v: %s", c.Status, c.Output)
		}
		for range 10 {
			b.after(5 * time.Second)
			b.wants("a", registry.Critical)
		}
	})
}
