package embedded

import (
	"slices"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// deregister applies a deregistration: of a check, of an instance, or of a node.
func deregister(t *registry.Txn, d registry.Deregistration, own string) error {
	v := t.View()
	switch {
	case !d.CriticalSince.IsZero():
		c := v.Check(d.Node, d.CheckID)
		if c == nil || c.InstanceID != d.InstanceID || c.Status != registry.Critical || !c.Since.Equal(d.CriticalSince) {
			return registry.Errorf(registry.Conflict, "check %q has not been critical since %s", d.CheckID, d.CriticalSince.Format(time.RFC3339))
		}
		t.DeleteInstance(d.Node, d.InstanceID)
	case d.CheckID != "":
		c := v.Check(d.Node, d.CheckID)
		if c == nil || d.InstanceID != "" && c.InstanceID != d.InstanceID {
			return unknownCheck(d.CheckID)
		}
		replaceCheck(t, c, nil)
	case d.InstanceID != "":
		if !t.DeleteInstance(d.Node, d.InstanceID) {
			return registry.Errorf(registry.NotFound, "Unknown service ID %q. Ensure that the service ID is passed, not the service name.", d.InstanceID)
		}
	case strings.EqualFold(d.Node, own):
		return registry.Errorf(registry.Invalid, "Node %q is the registry's own and cannot be deregistered", d.Node)
	default:
		if !t.DeleteNode(d.Node) {
			return registry.Errorf(registry.NotFound, "no node %q is registered", d.Node)
		}
	}
	return nil
}

// setStatus applies the result of a check.
func setStatus(t *registry.Txn, u registry.StatusUpdate, now time.Time) error {
	c := t.View().Check(u.Node, u.CheckID)
	switch {
	case c == nil:
		return unknownCheck(u.CheckID)
	case u.Status < registry.Passing || u.Status > registry.Critical:
		return &registry.Error{Code: registry.Invalid, Field: "Status", Message: "Status is none of passing, warning and critical"}
	case u.Lease != nil && u.Lease != c.Lease:
		return registry.Errorf(registry.Conflict, "check %q was registered anew meanwhile", u.CheckID)
	case u.Lease != nil && !u.ExpiredBy.IsZero() && c.Lease.Renewed().After(u.ExpiredBy):
		return registry.Errorf(registry.Conflict, "check %q was renewed meanwhile", u.CheckID)
	}
	if u.Lease == nil {
		c.Lease.Renew(now)
	}
	if c.Status == u.Status && c.Output == u.Output {
		return nil
	}
	changed := *c
	changed.Output = u.Output
	if changed.Status != u.Status {
		changed.Status, changed.Since = u.Status, now
	}
	changed.ModifyIndex = t.View().Index()
	replaceCheck(t, c, &changed)
	return nil
}

func unknownCheck(id string) error {
	return registry.Errorf(registry.NotFound, "Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id)
}

// replaceCheck puts a check in the place of another, or takes it away.
func replaceCheck(t *registry.Txn, old, changed *registry.Check) {
	swap := func(checks []*registry.Check) []*registry.Check {
		at := slices.Index(checks, old)
		checks = slices.Clone(checks)
		if changed == nil {
			return slices.Delete(checks, at, at+1)
		}
		checks[at] = changed
		return checks
	}
	if old.InstanceID == "" {
		node := *t.View().Node(old.Node)
		node.Checks, node.ModifyIndex = swap(node.Checks), t.View().Index()
		t.PutNode(&node)
		return
	}
	instance := *t.View().Instance(old.Node, old.InstanceID)
	instance.Checks, instance.ModifyIndex = swap(instance.Checks), t.View().Index()
	t.PutInstance(&instance)
}
