package consul

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// Answers come in at the same time over many connections, and none says when
// it was true. What orders them is Consul's index: for each thing that is asked
// for there is a floor, the index of the answer that was applied last, and an
// answer below it is older than what the View shows. It is dropped, unless the
// leader confirms that Consul's history itself began anew.
//
// Additions are always believed. What an answer lacks is deleted only if its
// server has a leader (ask sees to that), if the token has not lost sight of
// it, and if history did not begin anew a moment ago: after that, everybody has
// an amnesty in which to register again.

var (
	// errOlder: the answer is older than what the View shows.
	errOlder = errors.New("the answer is older than one before")

	// errFiltered: the answer lacks what the token has seen before.
	errFiltered = errors.New("the token no longer sees what it saw before; what is missing is kept")
)

// floor is what is known from the last answer that was applied.
type floor struct {
	index    uint64
	filtered bool // the token did not see all of it
}

// admit decides on an answer: whether it is of a history that began anew, or an
// errOlder.
func (f *floor) admit(a answer) (anew bool, err error) {
	if a.index >= f.index {
		return false, nil
	}
	if a.confirmed && a.index < a.floor {
		return true, nil
	}
	return false, errOlder
}

// lost tells whether the answer lacks things because the token sees less.
func (f *floor) lost(a answer) bool { return a.filtered && !f.filtered && f.index > 0 }

func (f *floor) take(a answer) { f.index, f.filtered = a.index, a.filtered }

// change collects what an answer changes. Nothing is published, and no Txn
// begun, where the content is what it was. The caller holds Registry.mu.
type change struct {
	r     *Registry
	index uint64 // Consul's
	anew  bool
	keep  bool // delete nothing
	now   time.Time
	heard time.Time // when its answer began to come; zero: it is from no answer
	txn   *registry.Txn
}

func (r *Registry) change(a answer, anew bool) *change {
	return &change{r: r, index: a.index, anew: anew, now: time.Now(), heard: a.heard}
}

func (c *change) view() *registry.View {
	if c.txn != nil {
		return c.txn.View()
	}
	return c.r.View()
}

func (c *change) begin() *registry.Txn {
	if c.txn == nil {
		v := c.r.View()
		c.txn = v.Txn(max(v.Index()+1, c.index))
	}
	return c.txn
}

// commit publishes what has changed, if anything has.
func (c *change) commit() (changed bool) {
	if c.txn == nil {
		return false
	}
	if err := c.r.reserved.cover(c.txn.View().Index()); err != nil {
		c.r.log.Error("the index of the view cannot be kept on disk, and may fall after a restart", "file", c.r.reserved.file, "err", err)
	}
	c.r.Publish(c.txn.Commit())
	c.r.unsaved.Store(true)
	if !c.heard.IsZero() {
		c.r.metrics.spread.Observe(time.Since(c.heard).Seconds())
	}
	return true
}

// node puts a node as it is in an answer. Without whole, only its checks are
// known to be as new as the answer.
func (c *change) node(got *registry.Node, whole bool) {
	if whole {
		delete(c.r.condemned.nodes, lower(got.Name))
	}
	have := c.view().Node(got.Name)
	if have == nil {
		next := *got
		next.Checks = c.adopt(nil, got.Checks)
		c.begin().PutNode(&next)
		return
	}
	next := *have
	if c.anew || got.ModifyIndex > have.ModifyIndex || whole && have.ModifyIndex <= c.index {
		next = *got
	}
	next.Checks = c.adopt(have.Checks, mergeChecks(have.Checks, got.Checks, c.index, c.anew))
	if !sameNode(have, &next) {
		c.begin().PutNode(&next)
	}
}

// instance puts an instance as it is in an answer about its service.
func (c *change) instance(got *registry.Instance) {
	delete(c.r.condemned.instances, instanceKey{lower(got.Node), got.ID})
	have := c.view().Instance(got.Node, got.ID)
	if have == nil {
		got.Checks = c.adopt(nil, got.Checks)
		c.begin().PutInstance(got)
		return
	}
	if have.ModifyIndex > got.ModifyIndex && lower(have.Service) != lower(got.Service) && !c.anew {
		return // it has moved on to another service since
	}
	got.Checks = c.adopt(have.Checks, got.Checks)
	if !sameInstance(have, got) {
		c.begin().PutInstance(got)
	}
}

// adopt gives checks what Consul does not keep: since when they have their
// status, and the Lease of the registration. A probe belongs to the rollcall in
// front of the agent that the check is registered with.
func (c *change) adopt(have, got []*registry.Check) []*registry.Check {
	for _, check := range got {
		if check.Lease != nil {
			continue // it is one of those in the View
		}
		if lower(check.Node) != lower(c.r.agent.Load().Node) {
			check.Definition = nil
		}
		check.Since = c.now
		at := slices.IndexFunc(have, func(h *registry.Check) bool { return h.ID == check.ID })
		if at < 0 {
			check.Lease = registry.NewLease(c.now)
			continue
		}
		before := have[at]
		if check.Lease = before.Lease; before.CreateIndex != check.CreateIndex || !before.Definition.Equal(check.Definition) {
			check.Lease = registry.NewLease(c.now)
		}
		if before.Status == check.Status {
			check.Since = before.Since
		}
	}
	return got
}

func (c *change) deleteInstance(i *registry.Instance) {
	switch {
	case c.keep:
	case c.r.inAmnesty(c.now):
		c.r.condemned.instances[instanceKey{lower(i.Node), i.ID}] = struct{}{}
	default:
		c.begin().DeleteInstance(i.Node, i.ID)
	}
}

func (c *change) deleteNode(n *registry.Node) {
	switch {
	case c.keep:
	case c.r.inAmnesty(c.now):
		c.r.condemned.nodes[lower(n.Name)] = struct{}{}
	default:
		c.begin().DeleteNode(n.Name)
	}
}

// condemned is what goes at the end of an amnesty unless it registers again.
type condemned struct {
	until     time.Time
	instances map[instanceKey]struct{}
	nodes     map[string]struct{}
}

type instanceKey struct{ node, id string }

func (r *Registry) inAmnesty(now time.Time) bool { return now.Before(r.condemned.until) }

// beginAnew forgets the indexes of a history that is over. The caller holds mu.
func (r *Registry) beginAnew(now time.Time) {
	r.services.index, r.nodes.index, r.checks.index = 0, 0, 0
	for _, t := range *r.tracked.Load() {
		t.floor.index = 0
		r.enqueue(t)
	}
	if !r.inAmnesty(now) {
		r.condemned = condemned{now.Add(r.amnesty), make(map[instanceKey]struct{}), make(map[string]struct{})}
		r.log.Warn("Consul's history began anew; what it lacks is kept for a while", "until", r.condemned.until)
	}
}

// endAmnesty deletes, once the amnesty is over, what did not register again.
func (r *Registry) endAmnesty(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.condemned.until.IsZero() || r.inAmnesty(now) {
		return
	}
	c := &change{r: r, now: now}
	for i := range r.condemned.instances {
		c.begin().DeleteInstance(i.node, i.id)
	}
	for name := range r.condemned.nodes {
		c.begin().DeleteNode(name)
	}
	r.condemned = condemned{}
	var gone []*tracked
	for _, t := range *r.tracked.Load() {
		if !t.listed {
			gone = append(gone, t)
		}
	}
	r.untrack(c, gone)
	c.commit()
}

// mergeChecks returns the checks of a node after an answer: the answer's, and
// those of the View that are newer than the answer.
func mergeChecks(have, got []*registry.Check, index uint64, anew bool) []*registry.Check {
	if anew {
		return got
	}
	merged := make([]*registry.Check, 0, len(got))
	for _, h := range have {
		if h.ModifyIndex > index {
			merged = append(merged, h)
		}
	}
	for _, g := range got {
		if !slices.ContainsFunc(merged, func(m *registry.Check) bool { return m.ID == g.ID }) {
			merged = append(merged, g)
		}
	}
	sortChecks(merged)
	return merged
}

func sortChecks(checks []*registry.Check) {
	slices.SortFunc(checks, func(a, b *registry.Check) int { return cmp.Compare(a.ID, b.ID) })
}

func sameNode(a, b *registry.Node) bool {
	return a.Name == b.Name && a.ID == b.ID && a.Address == b.Address &&
		a.CreateIndex == b.CreateIndex && a.ModifyIndex == b.ModifyIndex &&
		maps.Equal(a.TaggedAddresses, b.TaggedAddresses) && maps.Equal(a.Meta, b.Meta) &&
		slices.EqualFunc(a.Checks, b.Checks, sameCheck)
}

func sameInstance(a, b *registry.Instance) bool {
	return a.Node == b.Node && a.ID == b.ID && a.Service == b.Service && a.Address == b.Address && a.Port == b.Port &&
		a.Weights == b.Weights && a.EnableTagOverride == b.EnableTagOverride &&
		a.CreateIndex == b.CreateIndex && a.ModifyIndex == b.ModifyIndex &&
		slices.Equal(a.Tags, b.Tags) && slices.Equal(a.Ports, b.Ports) && maps.Equal(a.Meta, b.Meta) && maps.Equal(a.TaggedAddresses, b.TaggedAddresses) &&
		slices.EqualFunc(a.Checks, b.Checks, sameCheck)
}

func sameCheck(a, b *registry.Check) bool {
	return a == b || a.Node == b.Node && a.ID == b.ID && a.Name == b.Name && a.Notes == b.Notes && a.Type == b.Type &&
		a.InstanceID == b.InstanceID && a.Service == b.Service && a.Status == b.Status && a.Output == b.Output &&
		a.Lease == b.Lease && a.CreateIndex == b.CreateIndex && a.ModifyIndex == b.ModifyIndex
}

// lower is the key of a name that Consul and the View both know in any case.
func lower(name string) string { return strings.ToLower(name) }
