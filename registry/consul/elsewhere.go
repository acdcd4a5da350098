package consul

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rollcall-dns/rollcall/registry"
)

// What lies beyond the datacenter is asked for when somebody asks us for it, and
// kept fresh from then on: another datacenter by a Registry of its own, that of
// the agent with a few connections, and a prepared query by executing it again
// and again. What there is to ask for is in two lists that are read now and then,
// so that a name that somebody makes up leads to no question to Consul.
const (
	listEvery    = 5 * time.Second // the lists are read
	executeEvery = 2 * time.Second // a prepared query is executed, as long as somebody asks for it
	mostEntered  = 3               // datacenters that are followed at a time
	mostExecuted = 64              // prepared queries that are
)

// elsewhere implements registry.Elsewhere.
type elsewhere struct {
	r           *Registry
	datacenters sync.Map // lower-case name to *datacenter
	queries     sync.Map // lower-case name to *prepared
	wanted      chan struct{}
	entered     atomic.Int32 // datacenters that are followed
}

// datacenter is another one that there is.
type datacenter struct {
	name     string
	wanted   atomic.Bool
	registry atomic.Pointer[Registry] // nil until somebody asks
}

func newElsewhere(r *Registry) *elsewhere {
	return &elsewhere{r: r, wanted: make(chan struct{}, 1)}
}

// Datacenter implements registry.Elsewhere.
func (e *elsewhere) Datacenter(name string) (*registry.View, bool) {
	known, ok := e.datacenters.Load(name)
	if !ok {
		return nil, false
	}
	d := known.(*datacenter)
	if r := d.registry.Load(); r != nil {
		if r.Freshness().Synced {
			return r.View(), true
		}
	} else if !d.wanted.Swap(true) {
		signal(e.wanted)
	}
	return nil, true
}

// Query implements registry.Elsewhere.
func (e *elsewhere) Query(name string) (*registry.View, bool) {
	known, ok := e.queries.Load(name)
	if !ok {
		return nil, false
	}
	p := known.(*prepared)
	p.asked.Store(e.r.clock.Load())
	if f := p.feed.Load(); f != nil {
		return f.View(), true
	}
	signal(e.wanted)
	return nil, true
}

// HasQueryBelow implements registry.Elsewhere.
func (e *elsewhere) HasQueryBelow(suffix string) (found bool) {
	e.queries.Range(func(name, _ any) bool {
		found = strings.HasSuffix(name.(string), "."+suffix)
		return !found
	})
	return found
}

// run keeps the lists, and what is asked for, fresh until ctx ends.
func (e *elsewhere) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		lists := time.NewTicker(listEvery)
		defer lists.Stop()
		for {
			e.list(ctx)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-lists.C:
			}
		}
	})
	executions := time.NewTicker(executeEvery)
	defer executions.Stop()
	for {
		e.enter(ctx, group)
		e.execute(ctx)
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), group.Wait())
		case <-executions.C:
		case <-e.wanted:
		}
	}
}

// list reads which datacenters and prepared queries there are. Those that are no
// longer there are forgotten; a list that cannot be read changes nothing.
func (e *elsewhere) list(ctx context.Context) {
	var names []string
	if e.get(ctx, "/v1/catalog/datacenters", &names) == nil {
		listed := make(map[string]bool, len(names))
		for _, name := range names {
			if key := lower(name); key != lower(e.r.Datacenter()) {
				listed[key] = true
				e.datacenters.LoadOrStore(key, &datacenter{name: name})
			}
		}
		e.datacenters.Range(func(key, d any) bool {
			if !listed[key.(string)] && d.(*datacenter).registry.Load() == nil {
				e.datacenters.Delete(key) // one that is followed has its own way to be away
			}
			return true
		})
	}
	var queries []struct {
		Name     string
		Template struct{ Type string }
	}
	if e.get(ctx, "/v1/query", &queries) != nil {
		return
	}
	listed := make(map[string]bool, len(queries))
	for _, q := range queries {
		if q.Name != "" && q.Template.Type == "" && len(listed) < mostExecuted {
			listed[lower(q.Name)] = true
			e.queries.LoadOrStore(lower(q.Name), &prepared{name: q.Name})
		}
	}
	e.queries.Range(func(key, p any) bool {
		if !listed[key.(string)] {
			e.queries.Delete(key)
			p.(*prepared).forget()
		}
		return true
	})
}

// get asks for what Consul gives no index with.
func (e *elsewhere) get(ctx context.Context, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	options := e.r.asReader(ctx)
	options.Datacenter = e.r.config.Datacenter
	_, err := e.r.client.Raw().Query(path, out, options)
	if err != nil && ctx.Err() == nil {
		e.r.log.Debug("a question to Consul failed", "question", path, "err", err)
	}
	return err
}

// enter begins to follow the datacenters that somebody has asked for.
func (e *elsewhere) enter(ctx context.Context, group *errgroup.Group) {
	e.datacenters.Range(func(_, value any) bool {
		d := value.(*datacenter)
		if !d.wanted.Load() || d.registry.Load() != nil || e.entered.Load() >= mostEntered {
			return true
		}
		config := e.r.config
		config.alone, config.Datacenter, config.Watches = true, d.name, leastWatches
		config.Pinned, config.Metrics, config.Logger = nil, nil, e.r.log.With("datacenter", d.name)
		opening, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		r, err := Open(opening, config)
		if err != nil {
			e.r.log.Warn("a datacenter cannot be followed", "datacenter", d.name, "err", err)
			return true
		}
		e.entered.Add(1)
		d.registry.Store(r)
		group.Go(func() error { return errors.Join(r.Run(ctx), r.Close()) })
		return true
	})
}

// execute executes the prepared queries that are asked for, and those that nobody
// has asked for yet, once.
func (e *elsewhere) execute(ctx context.Context) {
	now := e.r.clock.Load()
	e.queries.Range(func(_, value any) bool {
		p := value.(*prepared)
		if asked := p.asked.Load(); p.feed.Load() != nil && (asked == 0 || now-asked > lately) {
			return true
		}
		var result executed
		if e.get(ctx, "/v1/query/"+p.name+"/execute", &result) == nil {
			p.apply(&result)
		}
		return ctx.Err() == nil
	})
}
