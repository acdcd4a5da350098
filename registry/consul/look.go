package consul

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// A service without a watch of its own is looked at when one of the three wide
// questions (sync.go) says that something about it has changed, and in rounds: soon
// after a change that does not say what it was, and every few minutes in case that
// something was missed.

const (
	// refreshers is how many services are looked at at once.
	refreshers = 8

	// relist is how often everything is looked at, needed or not.
	relist = 5 * time.Minute

	// A round takes at least roundTime, and looks at no more than one service in
	// roundPace.
	roundTime = 5 * time.Second
	roundPace = 5 * time.Millisecond

	// maxTries is how often in a row a service is looked at that Consul refuses
	// to show.
	maxTries = 3
)

// refresh looks at the services that are enqueued, some at a time.
func (r *Registry) refresh(ctx context.Context) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	for range refreshers {
		workers.Go(func() {
			for {
				t, round := r.dequeue(ctx)
				if t == nil {
					return
				}
				r.look(ctx, t, round)
			}
		})
	}
	<-ctx.Done()
	return ctx.Err()
}

// dequeue returns the next service to be looked at, or nil when ctx ends.
func (r *Registry) dequeue(ctx context.Context) (t *tracked, round bool) {
	for {
		r.mu.Lock()
		if len(r.queue) > 0 {
			t, r.queue = r.queue[0], r.queue[1:]
			round, t.round, t.enqueued = t.round, false, false
			if len(r.queue) > 0 {
				signal(r.queued)
			}
			r.mu.Unlock()
			return t, round
		}
		r.mu.Unlock()
		select {
		case <-r.queued:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// look asks for a service until it gets an answer, or has tried often enough.
func (r *Registry) look(ctx context.Context, t *tracked, round bool) {
	s := stream{path: servicePath(t.name), floor: &t.floor}
	retry := backoff{most: retryWide}
	for try := 1; ; try++ {
		_, changed, err := exchange(ctx, r, question{path: s.path}, s.floor,
			func(entries *list[entry], a answer) (bool, error) { return r.applyEntries(t, entries, a) })
		if err == nil {
			if changed && round {
				r.metrics.drift.Inc()
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		wait := retry.failed(r.failed(s, err))
		switch kind, _ := kindOf(err); kind {
		case kindNetwork, kindTimeout, kindLeaderless, kindLimit:
		default:
			if try < maxTries && !errors.Is(err, errOlder) {
				break
			}
			r.mu.Lock()
			r.arrived(t)
			r.mu.Unlock()
			return
		}
		if sleep(ctx, wait) != nil {
			return
		}
	}
}

func servicePath(name string) string { return "/v1/health/service/" + name }

// applyEntries takes what Consul says of one service. An answer without an
// instance of it, or without a good one, changes nothing: whether a service is gone is
// for the list to say.
func (r *Registry) applyEntries(t *tracked, entries *list[entry], a answer) (changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (*r.tracked.Load())[t.key] != t {
		return false, nil
	}
	anew, err := t.floor.admit(a)
	if err != nil {
		return false, err
	}
	defer r.arrived(t)
	good, rejected := r.instancesOf(t, entries)
	r.metrics.rejected.Add(float64(rejected))
	if len(good) == 0 {
		return false, nil
	}
	if anew {
		r.beginAnew(time.Now())
	}
	c := r.change(a, anew)
	present := make(map[instanceKey]struct{}, len(good))
	for _, g := range good {
		present[instanceKey{lower(g.instance.Node), g.instance.ID}] = struct{}{}
		c.node(g.node, false)
		c.instance(g.instance)
	}
	c.keep = t.floor.lost(a)
	if s := r.View().Service(t.key); s != nil {
		for _, i := range s.Instances {
			if _, ok := present[instanceKey{lower(i.Node), i.ID}]; !ok {
				c.deleteInstance(i)
			}
		}
	}
	if !c.keep {
		t.floor.take(a)
	}
	return c.commit(), nil
}

// placed is an instance and the node that it is on.
type placed struct {
	node     *registry.Node
	instance *registry.Instance
}

// instancesOf returns the entries that are instances of a service, and how many are not.
func (r *Registry) instancesOf(t *tracked, entries *list[entry]) (good []placed, rejected int) {
	rejected = entries.rejected
	for k := range entries.items {
		n, i, err := entries.items[k].registered()
		if err == nil && lower(i.Service) != t.key {
			err = fmt.Errorf("it is an instance of %q", i.Service)
		}
		if err != nil {
			r.log.Debug("an instance is malformed and left out", "service", t.name, "err", err)
			rejected++
			continue
		}
		good = append(good, placed{n, i})
	}
	return good, rejected
}

// rounds looks at all services now and then, slowly.
func (r *Registry) rounds(ctx context.Context) error {
	next := time.NewTimer(relist)
	defer next.Stop()
	for {
		full := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next.C:
			full = true
			next.Reset(relist - rand.N(relist/10))
		case <-r.round:
		}
		all := *r.tracked.Load()
		pause := max(roundPace, roundTime/time.Duration(max(len(all), 1)))
		for _, t := range all {
			r.mu.Lock()
			if full {
				t.round = !t.enqueued
				r.enqueue(t)
			} else {
				r.enqueueUnwatched(t)
			}
			r.mu.Unlock()
			if err := sleep(ctx, pause); err != nil {
				return err
			}
		}
	}
}

// enqueue has a service looked at soon. The caller holds mu, as with the next.
func (r *Registry) enqueue(t *tracked) {
	if t != nil && !t.enqueued {
		t.enqueued = true
		r.queue = append(r.queue, t)
		signal(r.queued)
	}
}

func (r *Registry) enqueueUnwatched(t *tracked) {
	if t != nil && t.stop == nil {
		r.enqueue(t)
	}
}
