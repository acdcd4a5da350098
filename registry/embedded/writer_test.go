package embedded

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/bbolt"

	"github.com/rollcall-dns/rollcall/registry"
)

// together has operations carried out as one group, in their order, and returns
// their errors: the writer is kept busy until all of them wait.
func together(t *testing.T, r *Registry, ops ...func(context.Context) error) []error {
	t.Helper()
	commit, started, release := r.store.commit, make(chan struct{}), make(chan struct{})
	r.store.commit = func(tx *bbolt.Tx) error {
		r.store.commit = commit
		close(started)
		<-release
		return commit(tx)
	}
	var clients sync.WaitGroup
	clients.Go(func() { enrol(t, r, web("keeps-the-writer-busy")) })
	<-started
	errs := make([]error, len(ops))
	for n, op := range ops {
		clients.Go(func() { errs[n] = op(t.Context()) })
		for len(r.ops) <= n {
			runtime.Gosched()
		}
	}
	close(release)
	clients.Wait()
	return errs
}

// TestOnlyChangesAreMeasured counts how many operations have a time until answers
// show them.
func TestOnlyChangesAreMeasured(t *testing.T) {
	r := open(t, t.TempDir())
	measured := func() uint64 {
		alone := prometheus.NewPedanticRegistry()
		alone.MustRegister(r.metrics.spread)
		found, err := alone.Gather()
		if err != nil {
			t.Fatal(err)
		}
		return found[0].GetMetric()[0].GetHistogram().GetSampleCount()
	}
	before := measured()
	enrol(t, r, web("a"))
	if got := measured() - before; got != 1 {
		t.Errorf("a registration is measured %d times", got)
	}
	enrol(t, r, web("a"))
	_ = r.Deregister(t.Context(), registry.Deregistration{InstanceID: "nothing"})
	if got := measured() - before; got != 1 {
		t.Errorf("what changes nothing is measured: %d", got-1)
	}
}

func codes(errs []error) (codes []registry.Code) {
	for _, err := range errs {
		if err == nil {
			codes = append(codes, ok)
			continue
		}
		codes = append(codes, registry.CodeOf(err))
	}
	return codes
}

const ok = registry.Code(255)

func registers(r *Registry, id string) func(context.Context) error {
	return func(ctx context.Context) error { return r.Register(ctx, web(id)) }
}

func deregisters(r *Registry, id string) func(context.Context) error {
	return func(ctx context.Context) error {
		return r.Deregister(ctx, registry.Deregistration{InstanceID: id})
	}
}

func beats(r *Registry, id string) func(context.Context) error {
	return func(ctx context.Context) error {
		return r.SetStatus(ctx, registry.StatusUpdate{CheckID: "service:" + id, Status: registry.Passing})
	}
}

func TestOperationThatFailsHarmsNoneOfItsGroup(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	got := codes(together(t, r, registers(r, "a"), deregisters(r, "x"), beats(r, "x"), registers(r, "b"), deregisters(r, "a"), beats(r, "b")))
	if want := []registry.Code{ok, registry.NotFound, registry.NotFound, ok, ok, ok}; !slices.Equal(got, want) {
		t.Errorf("the codes are %v, want %v", got, want)
	}
	closed(t, r)
	r = open(t, dir)
	if r.View().Instance("n1", "a") != nil || r.View().Instance("n1", "b") == nil {
		t.Error("a is there, or b is not")
	}
}

// What says nothing new is well on a full disk, too, and nobody is told of a
// change beside it that is not there.
func TestRefusedGroupLeavesTheOthersOfItAlone(t *testing.T) {
	r := open(t, t.TempDir())
	enrol(t, r, web("here"))
	commit, full := r.store.commit, false // all but what keeps the writer busy
	r.store.commit = func(tx *bbolt.Tx) error {
		if full {
			return noRoom
		}
		full = true
		return commit(tx)
	}
	got := together(t, r, registers(r, "new"), beats(r, "here"), beats(r, "new"), deregisters(r, "here"), beats(r, "here"), registers(r, "new"))
	want := []registry.Code{registry.Full, ok, registry.NotFound, registry.Full, ok, registry.Full}
	if !slices.Equal(codes(got), want) {
		t.Errorf("the codes are %v, want %v: %v", codes(got), want, errors.Join(got...))
	}
	if r.View().Instance("n1", "new") != nil || r.View().Instance("n1", "here") == nil {
		t.Error("something has changed")
	}
}

func TestClosedRegistryTakesNothingAndShowsItsView(t *testing.T) {
	r := open(t, "")
	enrol(t, r, web("a"))
	closed(t, r)
	closed(t, r)
	if err := r.Register(t.Context(), web("b")); registry.CodeOf(err) != registry.Unavailable {
		t.Errorf("the error is %v", err)
	}
	if r.View().Instance("n1", "a") == nil {
		t.Error("the View is gone")
	}
}

func TestClosingAnswersAllThatWait(t *testing.T) {
	for range 50 {
		r := open(t, "")
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				for r.Register(t.Context(), web("a")) == nil {
				}
			})
		}
		closed(t, r)
		clients.Wait()
	}
}

// TestAConditionSeesWhatCameBeforeInItsGroup has two operations that want there to be
// none of an instance carried out together.
func TestAConditionSeesWhatCameBeforeInItsGroup(t *testing.T) {
	r := open(t, t.TempDir())
	first := func(ctx context.Context) error {
		registration := web("a")
		registration.If = func(v *registry.View) error {
			if v.Instance("n1", "a") != nil {
				return registry.Errorf(registry.Conflict, "it is there")
			}
			return nil
		}
		return r.Register(ctx, registration)
	}
	if got := codes(together(t, r, first, first, deregisters(r, "a"), first)); !slices.Equal(got, []registry.Code{ok, registry.Conflict, ok, ok}) {
		t.Errorf("the outcomes are %v", got)
	}
}
