package health

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
)

// maintenance is that of an instance, or with an empty ID that of the node.
func maintenance(id string, lasts time.Duration) registry.Registration {
	c := registry.Check{ID: registry.NodeMaintenance, Name: "Maintenance", Type: "maintenance", Status: registry.Critical}
	if id != "" {
		c.ID, c.InstanceID = registry.ServiceMaintenancePrefix+id, id
	}
	if lasts > 0 {
		c.Until = time.Now().Add(lasts).UTC()
	}
	return registry.Registration{Checks: []registry.Check{c}}
}

// in tells whether an instance is in maintenance, by itself or with its node.
func (b *bench) in(id string) bool { return b.View().InMaintenance(b.View().Instance("n1", id)) }

func TestAMaintenanceEndsWhenItsTimeIsOver(t *testing.T) {
	for _, id := range []string{"web", ""} {
		synctest.Test(t, func(t *testing.T) {
			b := start(t, nil)
			b.register(ttl("web", 24*time.Hour))
			b.register(maintenance(id, 2*time.Hour))
			if b.after(2*time.Hour - time.Second); !b.in("web") {
				t.Errorf("%q: it ends before its time", id)
			}
			if b.after(2 * time.Second); b.in("web") {
				t.Errorf("%q: it goes on", id)
			}
			if n := len(b.runner.tasks); n != 1 {
				t.Errorf("%q: %d tasks are left, and 1 check", id, n)
			}
		})
	}
}

func TestAMaintenanceThatIsBegunAnewEndsWhenItIsSaidTo(t *testing.T) {
	for name, row := range map[string]struct{ again, ends time.Duration }{
		"later": {3 * time.Hour, 3 * time.Hour}, "sooner": {time.Minute, time.Minute}, "never": {0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := start(t, nil)
			b.register(ttl("web", 1000*time.Hour))
			b.register(maintenance("web", time.Hour))
			b.register(maintenance("web", row.again))
			if row.ends == 0 {
				if b.after(100 * time.Hour); !b.in("web") {
					t.Errorf("%s: it ends", name)
				}
				return
			}
			if b.after(row.ends - time.Second); !b.in("web") {
				t.Errorf("%s: it ends before its time", name)
			}
			if b.after(2 * time.Second); b.in("web") {
				t.Errorf("%s: it goes on", name)
			}
		})
	}
}

// TestAMaintenanceEndsAlthoughRollcallWasAway opens the registry at another time than it
// was closed at: before the end, or after it. The clock of each bubble begins at the same
// time, so that the second one's is also a wall clock that was set.
func TestAMaintenanceEndsAlthoughRollcallWasAway(t *testing.T) {
	for name, row := range map[string]struct{ away, ends time.Duration }{
		"before its end":     {time.Hour, time.Hour},
		"after its end":      {3 * time.Hour, 0},
		"a clock set back":   {-time.Hour, 3 * time.Hour},
		"a year of the past": {365 * 24 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			const begun = 2 * time.Hour // after the bubble's clock began
			config := embedded.Config{Node: registry.Node{Name: "n1"}, Dir: t.TempDir()}
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(begun)
				reg, err := embedded.Open(context.Background(), config)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range []registry.Registration{ttl("web", 1000*time.Hour), maintenance("web", 2*time.Hour)} {
					if err := reg.Register(context.Background(), r); err != nil {
						t.Fatal(err)
					}
				}
				if err := reg.Close(); err != nil {
					t.Fatal(err)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(begun + row.away)
				reg, err := embedded.Open(context.Background(), config)
				if err != nil {
					t.Fatal(err)
				}
				if c := reg.View().Check("n1", registry.ServiceMaintenancePrefix+"web"); c == nil || c.Until.IsZero() {
					t.Fatalf("what was registered is %+v", c)
				}
				b := startOn(t, reg, nil)
				if row.ends > 0 {
					if b.after(row.ends - time.Second); !b.in("web") {
						t.Error("it ends before its time")
					}
					b.after(time.Second)
				}
				if b.after(time.Second); b.in("web") {
					t.Error("it goes on")
				}
			})
		})
	}
}

// TestAClockThatIsSetIsNoticedInAMinute cannot set one, but sees what is looked at and
// how often.
func TestAClockThatIsSetIsNoticedInAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		b.register(ttl("web", 24*time.Hour))
		b.register(maintenance("web", 2*time.Hour))
		synctest.Wait()
		if next := b.runner.startDue(t.Context(), nil); next > time.Minute {
			t.Errorf("the ends are looked for in %v", next)
		}
		b.runner.mu.Lock()
		defer b.runner.mu.Unlock()
		if len(b.runner.ends) != 1 || strings.Contains(b.runner.ends[0].due.String(), " m=") {
			t.Errorf("they are not by the wall clock: %v", b.runner.ends)
		}
	})
}
