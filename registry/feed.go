package registry

import (
	"context"
	"sync"
	"sync/atomic"
)

// feedMemory is how many events a Feed remembers for watchers that are late.
const feedMemory = 8192

// Feed publishes Views and tells watchers of what changed. Implementations of
// Registry embed one; only their writer calls Publish.
type Feed struct {
	view atomic.Pointer[View]

	mu     sync.Mutex
	events []Event       // the last ones, a ring of feedMemory once it is full; without their View, which would keep old ones in memory
	start  uint64        // how many events came before events' oldest one
	floor  uint64        // every change after this index is in events
	more   chan struct{} // closed at the next Publish
}

// NewFeed returns a Feed whose first View is v.
func NewFeed(v *View) *Feed {
	f := &Feed{floor: v.index, more: make(chan struct{})}
	f.view.Store(v)
	return f
}

// View returns the View that was published last.
func (f *Feed) View() *View { return f.view.Load() }

// Publish supersedes the Stamps of what an Update changed, makes it the newest View,
// and wakes the watchers. The change takes effect at one moment for all readers: from
// then on none takes an old View or finds an old Stamp current. An Update without
// changes is ignored.
func (f *Feed) Publish(u *Update) {
	if len(u.Events) == 0 {
		return
	}
	Supersede(func() { f.view.Store(u.View) }, u.superseded...)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range u.Events {
		f.remember(e)
	}
	close(f.more)
	f.more = make(chan struct{})
}

func (f *Feed) remember(e Event) {
	if len(f.events) < feedMemory {
		f.events = append(f.events, e)
		return
	}
	oldest := &f.events[f.start%feedMemory]
	f.floor = oldest.Index
	*oldest = e
	f.start++
}

// Watch implements Registry.Watch.
func (f *Feed) Watch(ctx context.Context, after uint64, fn func(Event) error) error {
	next, known := f.position(after)
	told := after // every change up to here is known to fn
	for {
		if !known {
			var e Event
			e, next = f.resync()
			if err := fn(e); err != nil {
				return err
			}
			told = e.Index
		}
		batch, more, ok := f.since(next)
		if known = ok; !known {
			continue
		}
		for _, e := range batch {
			if err := ctx.Err(); err != nil {
				return err
			}
			if e.Index <= told {
				continue
			}
			e.View = f.View()
			if err := fn(e); err != nil {
				return err
			}
		}
		if next += uint64(len(batch)); len(batch) > 0 {
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// position returns the number of the first event after an index, and whether
// every change since is remembered.
func (f *Feed) position(after uint64) (next uint64, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := f.start + uint64(len(f.events))
	if after == 0 || after < f.floor || after > f.view.Load().index {
		return end, false
	}
	for next = end; next > f.start && f.events[(next-1)%feedMemory].Index > after; next-- {
	}
	return next, true
}

// resync returns a Resync event, and the number of the event to go on with. The
// View may be ahead of the events, never behind them.
func (f *Feed) resync() (Event, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.view.Load()
	return Event{Index: v.index, Kind: Resync, View: v}, f.start + uint64(len(f.events))
}

// since returns events from number next on, or a channel that is closed when
// there are some; ok is false when they are forgotten.
func (f *Feed) since(next uint64) (batch []Event, more <-chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if next < f.start {
		return nil, nil, false
	}
	const most = 256 // so that a late watcher does not hold all events twice
	for end := f.start + uint64(len(f.events)); next < end && len(batch) < most; next++ {
		batch = append(batch, f.events[next%feedMemory])
	}
	return batch, f.more, true
}
