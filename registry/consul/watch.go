package consul

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// A service that somebody asked for lately has a blocking query of its own, as
// long as the budget of connections lasts: its changes are here within
// milliseconds. The others are looked at when there is a reason to (look.go).

const (
	// lately is for how long a service is watched after it was asked for.
	lately = 10 * 60 // seconds

	// reserve is how many of the connections are not for single services: the
	// three wide questions, the refreshers, and some for writes and the pulse.
	reserve = 3 + refreshers + 5

	// collectEvery is how long it may take until it is noticed that a service is
	// asked for.
	collectEvery = 250 * time.Millisecond
)

// tracked is a service that is in Consul's list. Its fields belong to
// Registry.mu, asked apart.
type tracked struct {
	name   string // as Consul writes it
	key    string // in lower case
	pinned bool
	asked  atomic.Int64 // in seconds of Registry.clock; 0: never

	floor    floor
	listed   bool
	tags     string             // what the list said of it
	stop     context.CancelFunc // of its watch; nil: it has none
	enqueued bool               // to be looked at
	awaited  bool               // by the first sync
	round    bool               // to be looked at for no reason: what is found is drift
}

// collect takes notice of the services that somebody asked for since it was
// called last. Whoever uses an answer has noted that in the Stamp of its service.
func (r *Registry) collect() {
	for s := range r.View().Services() {
		if s.Stamp.Used() {
			r.interest(lower(s.Name))
		}
	}
}

// interest notes that somebody asked for a service, whose name is in lower case.
func (r *Registry) interest(name string) {
	t := (*r.tracked.Load())[name]
	if t == nil {
		return // never watch what is not in the list
	}
	now := r.clock.Load()
	if before := t.asked.Load(); before != now {
		t.asked.Store(now)
		if before == 0 || now-before > lately {
			signal(r.wanted)
		}
	}
}

// watch keeps one service fresh by a blocking query of its own.
func (r *Registry) watch(ctx context.Context, t *tracked) {
	r.metrics.watches.Inc()
	defer r.metrics.watches.Dec()
	r.watching.Add(1)
	defer r.watching.Add(-1)
	s := stream{path: servicePath(t.name), floor: &t.floor, every: time.Second, busy: paceChange}
	follow(ctx, r, s, func(entries *list[entry], a answer) (bool, error) { return r.applyEntries(t, entries, a) })
}

// schedule starts and stops watches until ctx ends, and then waits for them.
func (r *Registry) schedule(ctx context.Context) error {
	var watches sync.WaitGroup
	defer watches.Wait()
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	collections := time.NewTicker(collectEvery)
	defer collections.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticks.C:
			r.clock.Add(1)
			r.endAmnesty(now)
		case <-collections.C:
			r.collect()
			continue
		case <-r.wanted:
		}
		r.mu.Lock()
		start, stop := choose(*r.tracked.Load(), r.budget(), r.clock.Load())
		for _, t := range stop {
			t.stop()
			t.stop = nil
		}
		for _, t := range start {
			var each context.Context
			each, t.stop = context.WithCancel(ctx)
			watches.Go(func() { r.watch(each, t) })
		}
		r.mu.Unlock()
	}
}

// budget returns how many services may be watched: so many as the connections
// suffice for, less those that are lent to other datacenters.
func (r *Registry) budget() int {
	budget := r.config.Watches - reserve
	if r.elsewhere != nil {
		budget -= leastWatches * int(r.elsewhere.entered.Load())
	}
	return max(budget, 0)
}

// choose decides which services to begin to watch and which to stop watching.
// Those that are pinned come first, then those that were asked for in the last
// minute, and so on; within a minute the ones that are watched already stay.
func choose(all map[string]*tracked, budget int, now int64) (start, stop []*tracked) {
	type candidate struct {
		*tracked
		rank int64
	}
	var wanted []candidate
	for _, t := range all {
		asked := t.asked.Load()
		switch {
		case t.pinned:
			wanted = append(wanted, candidate{t, -1})
		case asked != 0 && now-asked <= lately:
			wanted = append(wanted, candidate{t, (now - asked) / 60})
		case t.stop != nil:
			stop = append(stop, t)
		}
	}
	if len(wanted) > budget {
		slices.SortFunc(wanted, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(a.rank, b.rank), watchedFirst(a.tracked, b.tracked), cmp.Compare(a.key, b.key))
		})
		for _, c := range wanted[budget:] {
			if c.stop != nil {
				stop = append(stop, c.tracked)
			}
		}
		wanted = wanted[:budget]
	}
	for _, c := range wanted {
		if c.stop == nil {
			start = append(start, c.tracked)
		}
	}
	return start, stop
}

func watchedFirst(a, b *tracked) int {
	switch {
	case a.stop != nil && b.stop == nil:
		return -1
	case a.stop == nil && b.stop != nil:
		return 1
	}
	return 0
}

// track begins to track the services in the list that are new, and returns all
// that are in it.
func (r *Registry) track(listed map[string]string) []*tracked {
	all := *r.tracked.Load()
	var next map[string]*tracked
	out := make([]*tracked, 0, len(listed))
	for key, tags := range listed {
		t := all[key]
		if t == nil {
			if next == nil {
				next = make(map[string]*tracked, len(listed))
				for k, v := range all {
					next[k] = v
				}
			}
			name, _, _ := strings.Cut(tags, "\x00")
			t = &tracked{name: name, key: key, pinned: r.pinned(key)}
			next[key] = t
		}
		out = append(out, t)
	}
	if next != nil {
		r.tracked.Store(&next)
		signal(r.wanted)
	}
	return out
}

// untrack forgets services that are no longer in the list.
func (r *Registry) untrack(c *change, gone []*tracked) {
	if len(gone) == 0 {
		return
	}
	next := make(map[string]*tracked)
	for k, v := range *r.tracked.Load() {
		next[k] = v
	}
	for _, t := range gone {
		t.listed = false
		if s := c.view().Service(t.key); s != nil {
			for _, i := range slices.Clone(s.Instances) {
				c.deleteInstance(i)
			}
		}
		r.arrived(t)
		if r.inAmnesty(c.now) {
			continue
		}
		if t.stop != nil {
			t.stop()
		}
		delete(next, t.key)
	}
	r.tracked.Store(&next)
}

// Discover implements registry.Registry.
func (r *Registry) Discover(ctx context.Context, q registry.Query) ([]registry.Endpoint, error) {
	key := lower(q.Service)
	if q.Fresh {
		if (*r.tracked.Load())[key] == nil {
			if _, _, err := exchange(ctx, r, question{path: allServices, consistent: true}, &r.services, r.applyServices); err != nil {
				return nil, refused("asking Consul for its services", err)
			}
		}
		if (*r.tracked.Load())[key] != nil {
			if err := r.freshen(ctx, key); err != nil {
				return nil, err
			}
		}
	}
	r.interest(key)
	return r.View().Discover(q)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
