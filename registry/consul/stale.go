package consul

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// freshness follows the questions that see the whole of Consul. The View is
// fresh while each of them was answered when it was asked last.
type freshness struct {
	log     *slog.Logger
	metrics *metrics
	status  atomic.Pointer[registry.Freshness]

	mu       sync.Mutex
	complete bool             // a first sync with Consul is done
	failing  map[string]error // by what was asked
	back     chan struct{}    // closed when the View is fresh again
}

func newFreshness(log *slog.Logger) *freshness {
	f := &freshness{log: log, failing: make(map[string]error), back: make(chan struct{})}
	f.status.Store(&registry.Freshness{Stale: true, Reason: "the first sync with Consul is not done yet"})
	return f
}

// age returns for how long the View has been stale.
func (f *freshness) age(now time.Time) time.Duration {
	s := f.status.Load()
	if !s.Stale || s.Since.IsZero() {
		return 0
	}
	return now.Sub(s.Since)
}

// loaded notes that a View was read from disk, where it was written at that time.
func (f *freshness) loaded(written time.Time) {
	f.status.Store(&registry.Freshness{Synced: true, Stale: true, Since: written, Reason: "the view is from disk, the first sync with Consul is not done yet"})
}

// succeeded notes a usable answer.
func (f *freshness) succeeded(what string) {
	f.metrics.lastSuccess.SetToCurrentTime()
	f.answered(what)
}

// answered notes an answer, usable or not, to a question that needs no more.
func (f *freshness) answered(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, failed := f.failing[what]; failed {
		delete(f.failing, what)
		f.settle()
	}
}

// failed notes that a question has no usable answer.
func (f *freshness) failed(what string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, again := f.failing[what]; !again {
		f.log.Warn("Consul does not answer, the last view is kept", "question", what, "err", err)
	}
	f.failing[what] = err
	f.settle()
}

// completed notes that the first sync with Consul is done.
func (f *freshness) completed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.complete = true
	f.settle()
}

// settle publishes the status; the caller holds mu.
func (f *freshness) settle() {
	before := f.status.Load()
	if len(f.failing) == 0 && f.complete {
		if before.Stale {
			f.log.Info("the view follows Consul")
			f.metrics.stale.Set(0)
			close(f.back)
			f.status.Store(&registry.Freshness{Synced: true})
		}
		return
	}
	after := *before
	if !before.Stale {
		after.Stale, after.Since = true, time.Now()
		f.metrics.stale.Set(1)
		f.back = make(chan struct{})
	}
	for _, err := range f.failing {
		after.Reason = err.Error()
	}
	f.status.Store(&after)
}

// wait blocks while the View is stale. It reports whether it had to, and fails
// with the context.
func (f *freshness) wait(ctx context.Context) (waited bool, err error) {
	f.mu.Lock()
	back := f.back
	f.mu.Unlock()
	select {
	case <-back:
		return false, nil
	default:
	}
	select {
	case <-back:
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
}
