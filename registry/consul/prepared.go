package consul

import (
	"sync/atomic"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// prepared is a prepared query, and what it found when it was executed last. Only
// elsewhere.run executes it.
type prepared struct {
	name  string
	asked atomic.Int64                  // in seconds of Registry.clock; 0: never
	feed  atomic.Pointer[registry.Feed] // nil until it was executed
}

// executed is what Consul says that a prepared query found.
type executed struct {
	Datacenter string // where: it may look in others than its own
	Nodes      list[entry]
}

// apply publishes what was found, where it is something else than before.
func (p *prepared) apply(result *executed) {
	f := p.feed.Load()
	if f == nil || f.View().Datacenter() != result.Datacenter {
		p.forget() // whoever has an answer from another datacenter
		f = registry.NewFeed(registry.NewView(result.Datacenter))
	}
	v := f.View()
	txn := v.Txn(v.Index() + 1)
	changed := false
	present := make(map[instanceKey]bool)
	for k := range result.Nodes.items {
		n, i, err := result.Nodes.items[k].registered()
		if err != nil {
			continue // it is left out of the catalog's view, too
		}
		i.Service = p.name
		present[instanceKey{lower(i.Node), i.ID}] = true
		leaseAll(n.Checks)
		leaseAll(i.Checks)
		if have := v.Node(n.Name); have == nil || !sameFound(have.Checks, n.Checks) || have.ModifyIndex != n.ModifyIndex {
			txn.PutNode(n)
			changed = true
		}
		if have := v.Instance(i.Node, i.ID); have == nil || !sameFound(have.Checks, i.Checks) || have.ModifyIndex != i.ModifyIndex {
			txn.PutInstance(i)
			changed = true
		}
	}
	for i := range v.Instances() {
		if !present[instanceKey{lower(i.Node), i.ID}] {
			txn.DeleteInstance(i.Node, i.ID)
			changed = true
		}
	}
	if changed {
		f.Publish(txn.Commit())
	}
	p.feed.Store(f)
}

// leaseAll makes checks what they have to be in a View, where nobody runs them.
func leaseAll(checks []*registry.Check) {
	for _, c := range checks {
		c.Definition, c.Lease = nil, registry.NewLease(time.Now())
	}
}

// sameFound tells whether checks say the same.
func sameFound(a, b []*registry.Check) bool {
	if len(a) != len(b) {
		return false
	}
	for n := range a {
		if a[n].ID != b[n].ID || a[n].Status != b[n].Status {
			return false
		}
	}
	return true
}

// forget supersedes all that was made from what was found.
func (p *prepared) forget() {
	f := p.feed.Load()
	if f == nil {
		return
	}
	v := f.View()
	txn := v.Txn(v.Index() + 1)
	for i := range v.Instances() {
		txn.DeleteInstance(i.Node, i.ID)
	}
	f.Publish(txn.Commit())
}
