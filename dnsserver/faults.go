package dnsserver

import (
	"fmt"
	"sync"
	"time"
)

// Queries that end in a panic are answered by SERVFAIL, and so are all others. Where
// there are many there is something wrong that a restart may mend, or another
// server does not have: clients should go there.
const (
	manyFaults = 10
	faultTime  = time.Minute
)

// faults remembers when the last of them were. Its methods may be called from any
// goroutine.
type faults struct {
	mu   sync.Mutex
	at   [manyFaults]time.Time
	next int
}

func (f *faults) add(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at[f.next] = now
	f.next = (f.next + 1) % manyFaults
}

// many tells whether there were many in the last faultTime.
func (f *faults) many(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	oldest := f.at[f.next]
	return !oldest.IsZero() && now.Sub(oldest) < faultTime
}

// Ready tells why clients should ask another server, or nil.
func (s *Server) Ready() error {
	if s.faults.many(time.Now()) {
		return fmt.Errorf("%d queries ended in a panic within %v", manyFaults, faultTime)
	}
	return nil
}
