package consul

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/registry"
)

// Three questions see the whole of Consul, and one connection each keeps up
// with them: which services there are, which nodes, and how all checks are.
// They tell which services have to be looked at; whatever is watched by itself
// (watch.go) does not depend on them.

// The paths of those questions, which also name them in logs.
const (
	allServices = "/v1/catalog/services"
	allNodes    = "/v1/catalog/nodes"
	allChecks   = "/v1/health/state/any"
)

// stream is a question that is put again and again as a blocking query.
type stream struct {
	path  string
	floor *floor        // of what is asked for
	every time.Duration // how often at most it is asked where that changes nothing
	busy  float64       // the cost of an answer that changes something
	wide  bool          // one of the three
}

// exchange puts a question and applies the answer. Where that is older than what
// is known, the leader is asked, and its word holds.
func exchange[T any](ctx context.Context, r *Registry, q question, f *floor, apply func(*T, answer) (bool, error)) (a answer, changed bool, err error) {
	for {
		var out T
		before := r.known(f)
		if a, err = r.ask(ctx, q, &out); err != nil {
			return a, false, err
		}
		if q.consistent {
			a.confirmed, a.floor = true, before
		}
		if changed, err = apply(&out, a); err == nil {
			r.metrics.answered(changed)
		}
		if !errors.Is(err, errOlder) || q.consistent {
			return a, changed, err
		}
		q = question{path: q.path, consistent: true}
	}
}

func (r *Registry) known(f *floor) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f.index
}

// follow keeps a stream going until ctx ends.
func follow[T any](ctx context.Context, r *Registry, s stream, apply func(*T, answer) (bool, error)) error {
	var at cursor
	retry, paced := backoff{most: retryService}, pace{every: s.every}
	if s.wide {
		retry.most = retryWide
	}
	for {
		q := question{path: s.path, index: uint64(at), consistent: s.wide && at == 0}
		if at > 0 {
			q.held = hold()
		}
		a, changed, err := exchange(ctx, r, q, s.floor, apply)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			at = 0
			if err := sleep(ctx, retry.failed(r.failed(s, err))); err != nil {
				return err
			}
			if s.wide {
				continue
			}
			// While none of the three gets through, neither would this one.
			waited, err := r.fresh.wait(ctx)
			if err != nil {
				return err
			}
			if waited {
				if err := sleep(ctx, r.returning.join(time.Now())); err != nil {
					return err
				}
			}
			continue
		}
		retry.succeeded()
		if s.wide {
			r.fresh.succeeded(s.path)
			r.metrics.index.WithLabelValues(s.path).Set(float64(a.index))
		}
		at.advance(a.index)
		cost := paceIdle
		if changed {
			cost = s.busy
		}
		if err := sleep(ctx, paced.spend(time.Now(), cost)); err != nil {
			return err
		}
	}
}

// failed counts a failure, and returns how long Consul wants not to be asked.
func (r *Registry) failed(s stream, err error) (after time.Duration) {
	kind, after := kindOf(err)
	r.metrics.errors.WithLabelValues(kind).Inc()
	if s.wide {
		r.fresh.failed(s.path, err)
	} else {
		r.log.Debug("a question to Consul failed", "question", s.path, "err", err)
	}
	return after
}

func (r *Registry) followServices(ctx context.Context) error {
	s := stream{path: allServices, floor: &r.services, every: time.Second, busy: paceIdle / 2, wide: true}
	return follow(ctx, r, s, r.applyServices)
}

func (r *Registry) followNodes(ctx context.Context) error {
	s := stream{path: allNodes, floor: &r.nodes, every: time.Second, busy: paceIdle / 2, wide: true}
	return follow(ctx, r, s, r.applyNodes)
}

// followChecks is the one that can be large: a check more or less is all of
// them again. It is therefore asked only every few seconds while things move.
func (r *Registry) followChecks(ctx context.Context) error {
	s := stream{path: allChecks, floor: &r.checks, every: 3 * time.Second, busy: paceIdle, wide: true}
	return follow(ctx, r, s, r.applyChecks)
}

// whoLeads is what every Consul tells everybody, at once and in a few octets.
const whoLeads = "/v1/status/leader"

// pulse asks again and again whether Consul answers at all. One that is frozen
// keeps its connections, and says nothing on them for as long as nothing changes.
func (r *Registry) pulse(ctx context.Context) error {
	for {
		if err := sleep(ctx, pulseEvery); err != nil {
			return err
		}
		err := r.feel(ctx)
		kind, _ := kindOf(err)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil || kind != kindTimeout && kind != kindNetwork:
			r.fresh.answered(whoLeads) // whatever it was
		case kind == kindTimeout:
			r.metrics.errors.WithLabelValues(kind).Inc()
			r.fresh.failed(whoLeads, err)
		}
	}
}

// feel takes the pulse once. Of what goes wrong there but for the time the wide
// questions learn, too.
func (r *Registry) feel(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var leader string
	options := &api.QueryOptions{Datacenter: r.config.Datacenter}
	if _, err := r.client.Raw().Query(whoLeads, &leader, options.WithContext(ctx)); err != nil {
		return fmt.Errorf("asking Consul for %s: %w", whoLeads, err)
	}
	return nil
}

// applyServices takes the list of services with their tags: it begins to track
// new ones, forgets those that are gone, and looks at those with other tags.
func (r *Registry) applyServices(names *map[string][]string, a answer) (changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := *r.tracked.Load()
	anew, err := r.services.admit(a)
	if err != nil {
		return false, err
	}
	listed := make(map[string]string, len(*names))
	for _, name := range slices.Sorted(maps.Keys(*names)) {
		tags := slices.Sorted(slices.Values((*names)[name]))
		listed[lower(name)] += name + "\x00" + strings.Join(tags, "\x00") + "\x00"
	}
	var gone []*tracked
	for key, t := range known {
		if _, ok := listed[key]; !ok && (anew || t.floor.index <= a.index) {
			gone = append(gone, t)
		}
	}
	// Every Consul has at least itself in the list.
	blind := len(listed) == 0 && len(known) > 0 && !(a.filtered && r.services.filtered)
	if blind || r.services.lost(a) && len(gone) > 0 {
		return false, errFiltered
	}
	if anew {
		r.beginAnew(time.Now())
	}
	c := r.change(a, anew)
	first, moved := !r.settled[allServices], a.index != r.services.index
	r.services.take(a)
	for _, t := range r.track(listed) {
		t.listed = true
		if tags := listed[t.key]; first || t.tags != tags {
			t.tags = tags
			changed = true
			r.enqueue(t)
		}
	}
	if first {
		r.awaitAll()
	}
	r.untrack(c, gone)
	if moved && !first {
		signal(r.round)
	}
	r.settle(allServices)
	return c.commit() || changed, nil
}

// applyNodes takes the list of nodes.
func (r *Registry) applyNodes(nodes *list[node], a answer) (changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	anew, err := r.nodes.admit(a)
	if err != nil {
		return false, err
	}
	if anew {
		r.beginAnew(time.Now())
	}
	c := r.change(a, anew)
	present := make(map[string]struct{}, len(nodes.items))
	rejected := nodes.rejected
	for k := range nodes.items {
		n, err := nodes.items[k].registered()
		if err != nil {
			rejected++
			continue
		}
		present[lower(n.Name)] = struct{}{}
		n.Checks = r.nodeChecks[lower(n.Name)]
		if have := c.view().Node(n.Name); have != nil {
			n.Checks = have.Checks
		}
		c.node(n, true)
	}
	r.metrics.rejected.Add(float64(rejected))
	var gone []*registry.Node
	for n := range r.View().Nodes() {
		if _, ok := present[lower(n.Name)]; !ok && (anew || n.ModifyIndex <= a.index) {
			gone = append(gone, n)
		}
	}
	c.keep = len(gone) > 0 && (r.nodes.lost(a) || len(present) == 0 && !(a.filtered && r.nodes.filtered))
	for _, n := range gone {
		c.deleteNode(n)
	}
	changed = c.commit()
	if c.keep {
		return changed, errFiltered
	}
	r.nodes.take(a)
	r.settle(allNodes)
	return changed, nil
}

// applyChecks takes all checks there are: the nodes' are put into the View, and
// the services whose checks are not those of the View are looked at.
func (r *Registry) applyChecks(checks *list[check], a answer) (changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	anew, err := r.checks.admit(a)
	if err != nil {
		return false, err
	}
	named := slices.DeleteFunc(checks.items, func(c check) bool { return c.Node == "" || c.CheckID == "" })
	r.metrics.rejected.Add(float64(checks.rejected + len(checks.items) - len(named)))
	checks.items = named
	if r.checks.lost(a) || len(checks.items) == 0 && r.checks.index > 0 && !(a.filtered && r.checks.filtered) {
		return false, errFiltered
	}
	if anew {
		r.beginAnew(time.Now())
	}
	known := *r.tracked.Load()
	view := r.View()
	byNode := make(map[string][]*registry.Check)
	seen := make(map[*registry.Check]struct{}, len(checks.items))
	for k := range checks.items {
		got := &checks.items[k]
		if got.ServiceID == "" {
			byNode[lower(got.Node)] = append(byNode[lower(got.Node)], got.registered())
			continue
		}
		have := view.Check(got.Node, got.CheckID)
		if have != nil {
			seen[have] = struct{}{}
		}
		if have == nil || have.ModifyIndex != got.ModifyIndex {
			if t := known[lower(got.ServiceName)]; t != nil && (anew || t.floor.index < got.ModifyIndex) {
				r.enqueueUnwatched(t)
			}
		}
	}
	for i := range view.Instances() {
		for _, have := range i.Checks {
			if _, ok := seen[have]; !ok && have.ModifyIndex <= a.index {
				r.enqueueUnwatched(known[lower(i.Service)])
			}
		}
	}
	r.nodeChecks = byNode
	c := r.change(a, anew)
	for n := range view.Nodes() {
		next := *n
		next.Checks = byNode[lower(n.Name)]
		sortChecks(next.Checks)
		c.node(&next, false)
	}
	r.checks.take(a)
	r.settle(allChecks)
	return c.commit(), nil
}

// sleep waits, and fails when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
