package forward

import (
	"net/netip"
	"sync"
)

// budget bounds how many questions wait for upstreams: in all, and for one client,
// so that none of them takes the others' places.
type budget struct {
	most, mostEach int

	mu    sync.Mutex
	total int
	each  map[netip.Addr]int
}

// Enter takes a place for a question of a client, which Leave gives back; it is
// false where there is none.
func (a *Asker) Enter(client netip.Addr) bool {
	b := &a.budget
	client = client.Unmap()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.total == b.most || b.each[client] == b.mostEach {
		a.metrics.count(refused)
		return false
	}
	b.total++
	b.each[client]++
	a.asking.Add(1)
	return true
}

// Leave gives back the place that Enter has taken.
func (a *Asker) Leave(client netip.Addr) {
	defer a.asking.Done()
	b := &a.budget
	client = client.Unmap()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total--
	if b.each[client]--; b.each[client] == 0 {
		delete(b.each, client)
	}
}

// waiting returns how many questions wait.
func (b *budget) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}
