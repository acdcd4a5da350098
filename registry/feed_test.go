package registry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// watch collects what Watch tells, as lines, until stop is called.
func watch(f *Feed, after uint64) (told func() []string, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var lines []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Watch(ctx, after, func(e Event) error {
			line := fmt.Sprintf("%d %d", e.Index, e.Kind)
			if e.Instance != nil {
				line += " " + e.Instance.ID
			}
			lines = append(lines, line)
			return nil
		})
	}()
	return func() []string { synctest.Wait(); return lines }, func() { cancel(); <-done }
}

func put(f *Feed, id string) {
	f.Publish(commit(f.View(), f.View().Index()+1, func(tx *Txn) { tx.PutInstance(web("n1", id)) }))
}

func TestWatchTellsEveryChangeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFeed(NewView("dc1"))
		put(f, "a")
		told, stop := watch(f, 0)
		defer stop()
		told()
		put(f, "b")
		put(f, "c")
		f.Publish(commit(f.View(), 4, func(tx *Txn) { tx.DeleteInstance("n1", "b") }))
		want := []string{"1 0", "2 1 b", "3 1 c", "4 2 b"}
		if diff := cmp.Diff(want, told()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

func TestWatchGoesOnAfterAnIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFeed(NewView("dc1"))
		for _, id := range []string{"a", "b", "c"} {
			put(f, id)
		}
		told, stop := watch(f, 2)
		defer stop()
		if diff := cmp.Diff([]string{"3 1 c"}, told()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		ahead, stopAhead := watch(f, 99)
		defer stopAhead()
		if diff := cmp.Diff([]string{"3 0"}, ahead()); diff != "" {
			t.Errorf("told to one that is ahead (-want +got):\n%s", diff)
		}
	})
}

func TestWatchBeginsAnewWhereChangesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFeed(NewView("dc1"))
		for range feedMemory + 2 {
			put(f, "a")
		}
		told, stop := watch(f, 1)
		defer stop()
		if diff := cmp.Diff([]string{fmt.Sprintf("%d 0", feedMemory+2)}, told()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		kept, stopKept := watch(f, 2)
		defer stopKept()
		if got := len(kept()); got != feedMemory {
			t.Errorf("%d events told, want all %d that are remembered", got, feedMemory)
		}
	})
}

func TestWatchEndsWithTheCallbacksError(t *testing.T) {
	enough := errors.New("enough")
	if err := NewFeed(NewView("dc1")).Watch(t.Context(), 0, func(Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("Watch returned %v", err)
	}
}
