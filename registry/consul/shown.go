package consul

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// An agent answers before the catalog knows: a write is done here only when the
// View shows it, so that whoever was answered reads the own write.

// shownWithin is how long a write waits to be seen. What an agent has accepted
// it will tell the servers in its own time, if they are away.
const shownWithin = 2 * time.Second

// shows tells whether a View shows what was registered.
func shows(v *registry.View, node string, reg *registry.Registration) bool {
	if i := reg.Instance; i != nil {
		now := v.Instance(node, i.ID)
		if now == nil || now.Service != i.Service || now.Port != i.Port || now.Address != i.Address || !maps.Equal(now.Meta, i.Meta) {
			return false
		}
		if !i.EnableTagOverride && !slices.Equal(now.Tags, i.Tags) {
			return false
		}
		if i.Weights != (registry.Weights{}) && now.Weights != i.Weights {
			return false
		}
	} else if v.Node(node) == nil {
		return false
	}
	own, others := ownChecks(reg)
	for _, c := range append(own, others...) {
		if c.ID != "" && v.Check(node, c.ID) == nil {
			return false
		}
	}
	return true
}

// serviceOf returns the service that a check alone is registered for, in lower
// case; empty for a node's.
func (r *Registry) serviceOf(node string, c *registry.Check) string {
	id := c.InstanceID
	if maintained, ok := strings.CutPrefix(c.ID, registry.ServiceMaintenancePrefix); ok {
		id = maintained
	}
	if i := r.View().Instance(node, id); i != nil {
		return lower(i.Service)
	}
	return lower(c.Service)
}

// awaitShown brings the View up to date until it shows a write: by asking for
// the service, and for the three wide questions where that is not enough.
func (r *Registry) awaitShown(ctx context.Context, key string, wide bool, shown func(*registry.View) bool) {
	ctx, cancel := context.WithTimeout(ctx, shownWithin)
	defer cancel()
	for pause := 2 * time.Millisecond; !shown(r.View()); pause = min(2*pause, 100*time.Millisecond) {
		if key != "" {
			r.freshen(ctx, key)
		}
		if wide && !shown(r.View()) {
			exchange(ctx, r, question{path: allServices, consistent: true}, &r.services, r.applyServices)
			exchange(ctx, r, question{path: allNodes, consistent: true}, &r.nodes, r.applyNodes)
			if key == "" {
				exchange(ctx, r, question{path: allChecks, consistent: true}, &r.checks, r.applyChecks)
			}
		}
		if shown(r.View()) {
			return
		}
		if sleep(ctx, pause) != nil {
			r.log.Warn("Consul has accepted a write that its catalog does not show yet", "service", key)
			return
		}
	}
}

// freshen asks the leader for a service now.
func (r *Registry) freshen(ctx context.Context, key string) error {
	r.mu.Lock()
	t := (*r.tracked.Load())[key]
	if t == nil {
		t = r.track(map[string]string{key: key + "\x00"})[0]
	}
	r.mu.Unlock()
	_, _, err := exchange(ctx, r, question{path: servicePath(t.name), consistent: true}, &t.floor,
		func(entries *list[entry], a answer) (bool, error) { return r.applyEntries(t, entries, a) })
	if err != nil {
		return refused("asking Consul for a service", err)
	}
	return nil
}
