package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// TestWhoSeesAViewFindsNothingOlderTrue has a reader look, the moment that it sees a new
// View, at the Stamps of all that the View has changed. Were one current, who asks after
// this reader could be answered with what this reader found changed.
func TestWhoSeesAViewFindsNothingOlderTrue(t *testing.T) {
	const services = 2000
	node := &Node{Name: "n1", Address: "10.0.0.1"}
	f := NewFeed(commit(NewView("dc1"), 1, func(tx *Txn) {
		tx.PutNode(node)
		for n := range services {
			name := fmt.Sprint("s", n)
			tx.PutInstance(&Instance{ID: name, Node: "n1", Service: name})
		}
	}).View)
	for round := range 100 {
		old := f.View()
		stamps := []*Stamp{old.Stamp(), old.NodesStamp()}
		for s := range old.Services() {
			stamps = append(stamps, s.Stamp)
		}
		current := make(chan int)
		go func() {
			for f.View() == old {
			}
			n := 0
			for _, s := range slices.Backward(stamps) {
				if s.Current() {
					n++
				}
			}
			current <- n
		}()
		f.Publish(commit(old, old.Index()+1, func(tx *Txn) {
			tx.PutNode(&Node{Name: "n1", Address: fmt.Sprint("10.0.1.", round)})
		}))
		if n := <-current; n > 0 {
			t.Fatalf("%d of %d Stamps are current to who sees the View that superseded them", n, len(stamps))
		}
	}
}

func TestWatchEndsWithTheCallbacksError(t *testing.T) {
	enough := errors.New("enough")
	if err := NewFeed(NewView("dc1")).Watch(t.Context(), 0, func(Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("Watch returned %v", err)
	}
}
