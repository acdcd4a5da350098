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
// A nil Stamp is always current.
type Stamp struct {
	superseded atomic.Bool
	mu         sync.Mutex
	done       chan struct{} // made when somebody first waits
}

// Current tells whether nothing has changed since. It may be called from any
// goroutine.
func (s *Stamp) Current() bool { return s == nil || !s.superseded.Load() }

// Done returns a channel that is closed when the Stamp is superseded; nil for a
// nil Stamp.
func (s *Stamp) Done() <-chan struct{} {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.superseded.Load() {
			close(s.done)
		}
	}
	return s.done
}

func (s *Stamp) supersede() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.superseded.Swap(true) {
		return
	}
	if s.done != nil {
		close(s.done)
	}
}
