package embedded

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

// countSyncs returns a function that tells how many transactions were committed.
func countSyncs(r *Registry) func() int {
	count, commit := 0, r.store.commit
	r.store.commit = func(tx *bbolt.Tx) error { count++; return commit(tx) }
	return func() int { return count }
}

// TestChangesThatComeOneByOneShareSyncs registers an instance every 1.7 ms, as clients do
// who know nothing of each other: a burst is written at once, and from then on several
// share a sync.
func TestChangesThatComeOneByOneShareSyncs(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, dir)
		time.Sleep(time.Second) // a rest
		syncs := countSyncs(r)
		const changes, gap = 1000, 1700 * time.Microsecond
		var clients sync.WaitGroup
		var mu sync.Mutex
		var longest time.Duration
		for n := range changes {
			clients.Go(func() {
				start := time.Now()
				enrol(t, r, web(fmt.Sprint("w", n)))
				mu.Lock()
				defer mu.Unlock()
				longest = max(longest, time.Since(start))
			})
			time.Sleep(gap)
		}
		clients.Wait()
		if most := paceBurst*2 + int(changes*gap/paceInterval); syncs() > most {
			t.Errorf("%d changes took %d syncs, want %d at most", changes, syncs(), most)
		}
		if longest > paceInterval {
			t.Errorf("one waited for %v", longest)
		}
		t.Logf("%d changes, %d syncs, the longest wait %v", changes, syncs(), longest)
	})
}

// TestAChangeNowAndThenWaitsForNoPace registers 200 instances a second: what one waits
// for then is its own sync, whose time is the disk's.
func TestAChangeNowAndThenWaitsForNoPace(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, dir)
		time.Sleep(time.Second) // a rest
		syncs := countSyncs(r)
		const changes, gap = 200, 5 * time.Millisecond
		var longest time.Duration
		for n := range changes {
			start := time.Now()
			enrol(t, r, web(fmt.Sprint("w", n)))
			longest = max(longest, time.Since(start))
			time.Sleep(gap)
		}
		t.Logf("%d changes a second: %d syncs, the longest wait %v", changes, syncs(), longest)
		if longest > 0 || syncs() > changes {
			t.Errorf("one of %d changes waited for %v, and there were %d syncs", changes, longest, syncs())
		}
	})
}

// TestClientsThatWaitForEachReplyAreNotHeldUp has some clients register one instance
// after the other, each as soon as the last one is answered.
func TestClientsThatWaitForEachReplyAreNotHeldUp(t *testing.T) {
	for _, clients := range []int{1, 8, 64} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			r := open(t, dir)
			start := time.Now()
			var group sync.WaitGroup
			for c := range clients {
				group.Go(func() {
					for n := range 200 {
						enrol(t, r, web(fmt.Sprint("w", c, "-", n)))
					}
				})
			}
			group.Wait()
			d := time.Since(start)
			t.Logf("%d clients in a row, 200 registrations of each: held up for %v", clients, d)
			if d > 20*paceInterval { // when clients come to be fewer, the last ones wait
				t.Errorf("%d clients: 200 registrations of each took %v", clients, d)
			}
		})
	}
}

// TestTheEndWaitsForNoPace closes a registry while an operation waits for its sync.
func TestTheEndWaitsForNoPace(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, dir)
		for n := range 2 * paceBurst {
			enrol(t, r, web(fmt.Sprint("w", n)))
		}
		time.Sleep(promptly)
		start := time.Now()
		var client sync.WaitGroup
		client.Go(func() { enrol(t, r, web("last")) })
		synctest.Wait()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		client.Wait()
		if d := time.Since(start); d != 0 {
			t.Errorf("it took %v", d)
		}
	})
}
