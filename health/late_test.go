package health

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// heartbeats are those of so many instances, ten of each service or one, that come every
// 30 s with a TTL of a minute, but for those that are silent.
type heartbeats struct {
	*bench
	all, silent int
}

func startHeartbeats(t *testing.T, all, perService int) *heartbeats {
	t.Helper()
	b := start(t, nil)
	for n := range all {
		r := ttl(fmt.Sprint(n), time.Minute)
		r.Instance.Service = fmt.Sprint("svc-", n/perService)
		b.register(r)
		b.after(time.Millisecond)
	}
	return &heartbeats{bench: b, all: all}
}

// critical lets time pass, and returns how many are critical then.
func (h *heartbeats) critical(after time.Duration) (critical int) {
	h.t.Helper()
	for end := time.Now().Add(after); time.Now().Before(end); h.after(min(30*time.Second, time.Until(end))) {
		for n := h.silent; n < h.all; n++ {
			if err := h.SetStatus(h.t.Context(), registry.StatusUpdate{CheckID: fmt.Sprint(n), Status: registry.Passing}); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	for i := range h.View().Instances() {
		if h.View().StatusOf(i) == registry.Critical {
			critical++
		}
	}
	return critical
}

func (h *heartbeats) wantsCritical(after time.Duration, want int) {
	h.t.Helper()
	if n := h.critical(after); n != want {
		h.t.Errorf("%d of %d are silent; %v later %d are critical, not %d", h.silent, h.all, after, n, want)
	}
}

func TestNoMoreHeartbeatsExpireWhereManyAreLateAtOnce(t *testing.T) {
	for _, row := range []struct{ all, perService, silent, soon, anHourLater int }{
		{100, 10, 15, 15, 15},
		{100, 10, 16, 16, 16}, // one of them a TTL later
		{100, 10, 60, 15, 60}, // of which an hour later it is believed
		{100, 10, 100, 15, 100},
		{300, 10, 300, 45, 300},
		{20, 10, 10, 10, 10}, // which is not many
		{100, 1, 60, 60, 60}, // each the only one of its service
	} {
		synctest.Test(t, func(t *testing.T) {
			h := startHeartbeats(t, row.all, row.perService)
			h.wantsCritical(time.Minute, 0)
			h.silent = row.silent
			h.wantsCritical(4*time.Minute, row.soon)
			h.wantsCritical(50*time.Minute, row.soon)
			t.Logf("%d of %d are silent, %d to a service: %d are critical for an hour, and %d then", row.silent, row.all, row.perService, row.soon, row.anHourLater)
			h.wantsCritical(10*time.Minute, row.anHourLater)
			h.silent = 0
			h.wantsCritical(time.Minute, 0)
		})
	}
}

// TestWhoIsLateMayLeaveAllTheSame says of instances whose heartbeats are late with others
// that they are critical, or to be deregistered.
func TestWhoIsLateMayLeaveAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHeartbeats(t, 100, 10)
		h.silent = 60
		h.wantsCritical(4*time.Minute, 15)
		for n := range 60 {
			id := fmt.Sprint(n)
			if c := h.View().Check("n1", id); c.Status == registry.Critical {
				continue
			}
			if err := h.SetStatus(t.Context(), registry.StatusUpdate{CheckID: id, Status: registry.Critical}); err != nil {
				t.Fatal(err)
			}
			h.wants(id, registry.Critical)
			if err := h.Deregister(t.Context(), registry.Deregistration{InstanceID: id}); err != nil {
				t.Fatal(err)
			}
		}
		if n := h.View().InstancesLen(); n != 55 {
			t.Errorf("%d instances are left, not 55", n)
		}
	})
}
