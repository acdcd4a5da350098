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

// TestAWallClockThatJumpsExpiresNothingAndExtendsNothing registers at one time and goes
// on at another: what is on disk was written by a clock that was wrong, or is now.
func TestAWallClockThatJumpsExpiresNothingAndExtendsNothing(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, jump := range map[string]struct{ written, read time.Duration }{
		"an hour ahead": {0, time.Hour}, "an hour back": {time.Hour, 0}, "a year ahead": {0, year}, "a year back": {year, 0},
	} {
		t.Run(name, func(t *testing.T) {
			config := embedded.Config{Node: registry.Node{Name: "n1"}, Dir: t.TempDir()}
			synctest.Test(t, func(t *testing.T) { // its clock begins where the next one's does
				time.Sleep(jump.written)
				reg, err := embedded.Open(context.Background(), config)
				if err != nil {
					t.Fatal(err)
				}
				for id, status := range map[string]registry.Status{"well": registry.Passing, "ill": registry.Critical} {
					r := ttl(id, 30*time.Second)
					r.Checks[0].Status, r.Checks[0].Definition.DeregisterCriticalServiceAfter = status, 2*time.Minute
					if err := reg.Register(context.Background(), r); err != nil {
						t.Fatal(err)
					}
				}
				if err := reg.Close(); err != nil {
					t.Fatal(err)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(jump.read)
				reg, err := embedded.Open(context.Background(), config)
				if err != nil {
					t.Fatal(err)
				}
				b := startOn(t, reg, nil)
				b.after(29 * time.Second)
				b.wants("well", registry.Passing)
				b.after(2 * time.Second)
				b.wants("well", registry.Critical)
				b.wants("ill", registry.Critical)
				b.after(80 * time.Second)
				if b.View().Instance("n1", "ill") == nil {
					t.Error("it is deregistered before its time")
				}
				b.after(70 * time.Second)
				if b.View().Instance("n1", "ill") != nil {
					t.Error("it is not deregistered in time")
				}
				t.Log("a TTL of 30 s ends after 30 s, and 2 minutes until a deregistration are those")
			})
		})
	}
}

// TestARestartBeginsWithWhatWasAndGivesEachHeartbeatItsTime opens a registry, is slow to
// start on it, and looks at heartbeats that do not come and at targets that are gone.
func TestARestartBeginsWithWhatWasAndGivesEachHeartbeatItsTime(t *testing.T) {
	config := embedded.Config{Node: registry.Node{Name: "n1"}, Dir: t.TempDir()}
	want := map[string]registry.Status{
		"beat-passing": registry.Passing, "beat-warning": registry.Warning, "beat-critical": registry.Critical,
		"probe-passing": registry.Passing, "probe-warning": registry.Warning, "probe-critical": registry.Critical,
	}
	gone := func(d *registry.Definition) { d.FailuresBeforeCritical = 0 }
	synctest.Test(t, func(t *testing.T) {
		reg, err := embedded.Open(context.Background(), config)
		if err != nil {
			t.Fatal(err)
		}
		for id, status := range want {
			r := ttl(id, 10*time.Second)
			if strings.HasPrefix(id, "probe") {
				r = tcp(id, "gone:1", gone)
			}
			r.Checks[0].Status = status
			if err := reg.Register(context.Background(), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := reg.Close(); err != nil {
			t.Fatal(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		reg, err := embedded.Open(context.Background(), config)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // whatever else takes its time at the start
		b := startOn(t, reg, script{"gone:1": func(context.Context) result { return critical("refused") }})
		b.after(10*time.Second - time.Millisecond)
		for id, status := range want {
			b.wants(id, status)
		}
		t.Logf("a minute and a TTL after the start %d of %d are as before", len(want), len(want))
		b.after(30 * time.Second)
		for id := range want {
			b.wants(id, registry.Critical)
		}
	})
}
