package consul

import (
	"math/rand/v2"
	"sync"
	"time"
)

// What is decided here is arithmetic: when to ask again after an answer, after
// a failure and after an outage. Nothing in this file waits.

const (
	// blockFor is how long Consul may hold a blocking query when nothing
	// changes. It adds up to a sixteenth of its own.
	blockFor = 5 * time.Minute

	// answerWithin is how long an answer may take beyond that.
	answerWithin = 10 * time.Second

	// pulseEvery is how often Consul is asked whether it answers at all. The
	// questions that it holds would find out only when they are due.
	pulseEvery = 5 * time.Second

	retryBase    = 100 * time.Millisecond
	retryService = 10 * time.Second // between two tries of one of many watches
	retryWide    = 2 * time.Second  // between two tries of one of the three that see Consul return

	// reconnectEvery spreads the watches that come back after an outage: with what
	// else connects then, there are fifty connections a second at most.
	reconnectEvery = 22 * time.Millisecond
)

// backoff counts failures in a row. Its waits are fully jittered: those who
// failed together do not come back together.
type backoff struct {
	most     time.Duration
	failures int
}

// failed returns how long to wait after one more failure. What the server asked
// for comes first, so that of those who were told the same not all ask at once when
// it is over: the first of them finds out for all whether they may.
func (b *backoff) failed(retryAfter time.Duration) time.Duration {
	ceiling := b.most
	if b.failures < 16 {
		ceiling = min(b.most, retryBase<<b.failures)
	}
	b.failures++
	return retryAfter + rand.N(ceiling)
}

func (b *backoff) succeeded() { b.failures = 0 }

// hold returns how long Consul shall hold the next blocking query: not the same
// for any two, or all that began together would also end together.
func hold() time.Duration { return blockFor - rand.N(blockFor/10) }

// timeout returns when to give up on a query that Consul holds for so long.
func timeout(held time.Duration) time.Duration { return held + held/16 + answerWithin }

// queue lets the watches that an outage stopped reconnect one after the other.
type queue struct {
	mu   sync.Mutex
	next time.Time
}

// join returns how long to wait for one's turn.
func (q *queue) join(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.next.Before(now) {
		q.next = now
	}
	turn := q.next.Sub(now)
	q.next = q.next.Add(reconnectEvery)
	return turn
}

// pace is a token bucket of two that gains one every so often. It keeps a watch
// whose answers come at once, for whatever reason, from becoming a busy loop.
type pace struct {
	every  time.Duration
	owed   time.Duration // how long it takes until the bucket is full
	lately time.Time     // when owed was computed
}

const (
	paceIdle   = 1.0 // the cost of an answer that changed nothing
	paceChange = 0.1 // and of one that was worth having
)

// spend pays for an answer, and returns how long to wait before the next question.
func (p *pace) spend(now time.Time, cost float64) time.Duration {
	p.owed = max(0, p.owed-now.Sub(p.lately)) + time.Duration(cost*float64(p.every))
	p.lately = now
	return max(0, p.owed-2*p.every)
}

// cursor is the index of a blocking query.
type cursor uint64

// advance takes the index of an answer. An index that falls begins again from
// nothing, and one of zero counts as one, for with it Consul would not block.
func (c *cursor) advance(index uint64) {
	index = max(index, 1)
	if index < uint64(*c) {
		*c = 0
		return
	}
	*c = cursor(index)
}
