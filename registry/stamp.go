package registry

import (
	"sync"
	"sync/atomic"
)

// Stamp tells whether something made from a View is still true. Each Service
// has one, and it is superseded when the service changes, so that keeping the
// Stamp with what was made from the Service is enough to know when to make it
// anew. Asking costs an atomic load; an update touches only what it changes.
//
// A Stamp also knows whether what was made from it is asked for, so that a
// registry that cannot keep everything equally fresh knows what to begin with.
//
// A nil Stamp is always current.
type Stamp struct {
	superseded atomic.Bool
	used       atomic.Bool
	mu         sync.Mutex
	told       bool          // those who wait
	done       chan struct{} // made when somebody first waits
}

// Current tells whether nothing has changed since. It may be called from any
// goroutine.
func (s *Stamp) Current() bool { return s == nil || !s.superseded.Load() }

// Use notes that something made from it was asked for. It is made for the path
// of a query: where that was noted before, it costs an atomic load.
func (s *Stamp) Use() {
	if s != nil && !s.used.Load() {
		s.used.Store(true)
	}
}

// Used tells whether Use was called since Used was asked last.
func (s *Stamp) Used() bool { return s != nil && s.used.Load() && s.used.Swap(false) }

// Done returns a channel that is closed when the Stamp is superseded, and what is true
// instead can be seen; nil for a nil Stamp.
func (s *Stamp) Done() <-chan struct{} {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.told {
			close(s.done)
		}
	}
	return s.done
}

// Supersede makes a change with show, which lets everybody see it at once, and says that
// whatever was made from the Stamps is no longer true. Nobody who could see the change
// finds one of them current, or an answer to one query could be older than the answer to
// a query before it; and whoever waits for one sees the change.
func Supersede(show func(), stamps ...*Stamp) {
	for _, s := range stamps {
		s.superseded.Store(true)
	}
	show()
	for _, s := range stamps {
		s.tell()
	}
}

// tell wakes those who wait.
func (s *Stamp) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil && !s.told {
		close(s.done)
	}
	s.told = true
}
