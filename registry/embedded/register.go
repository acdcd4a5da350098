package embedded

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// register applies a registration with the semantics of Consul's agent and
// catalog: what it names is replaced, a check that stays keeps its status, and
// one that says nothing new changes nothing.
func register(t *registry.Txn, r *registry.Registration, now time.Time) error {
	node, nodeIsNew, err := registeredNode(t, r)
	if err != nil {
		return err
	}
	instances, nodeChecks, err := sortChecks(t, r, node.Name)
	if err != nil {
		return err
	}
	merged := mergeChecks(node.Checks, nodeChecks, false, t.View(), now)
	if nodeIsNew || !sameChecks(node.Checks, merged) || !sameNode(t.View().Node(node.Name), &node) {
		node.Checks = merged
		node.ModifyIndex = t.View().Index()
		stampChecks(node.Checks, t.View())
		t.PutNode(&node)
	}
	for _, change := range instances {
		putInstance(t, change, now)
	}
	return nil
}

// owned returns a registration that shares no memory with the caller's, who may
// use that for the next one.
func owned(r registry.Registration) registry.Registration {
	r.Node.TaggedAddresses, r.Node.Meta = maps.Clone(r.Node.TaggedAddresses), maps.Clone(r.Node.Meta)
	if r.Instance != nil {
		i := *r.Instance
		i.Ports = slices.Clone(i.Ports)
		i.Tags, i.Meta, i.TaggedAddresses = slices.Clone(i.Tags), maps.Clone(i.Meta), maps.Clone(i.TaggedAddresses)
		r.Instance = &i
	}
	r.Checks = slices.Clone(r.Checks)
	for n := range r.Checks {
		r.Checks[n].Definition = r.Checks[n].Definition.Clone()
	}
	return r
}

// instanceChange is an instance to put, and the checks to put with it.
type instanceChange struct {
	instance registry.Instance
	checks   []registry.Check
	replace  bool
}

// registeredNode returns the node as the registration would have it.
func registeredNode(t *registry.Txn, r *registry.Registration) (node registry.Node, isNew bool, err error) {
	old := t.View().Node(r.Node.Name)
	if old == nil {
		if r.Node.Address == "" {
			return node, false, &registry.Error{Code: registry.Invalid, Field: "Address", Message: fmt.Sprintf("Address of the new node %q is missing", r.Node.Name)}
		}
		node = r.Node
		node.Checks = nil
		node.CreateIndex = t.View().Index()
		return node, true, nil
	}
	node = *old
	if r.Node.Address != "" {
		node.Address = r.Node.Address
		node.ID = cmp.Or(r.Node.ID, old.ID)
		node.TaggedAddresses, node.Meta = r.Node.TaggedAddresses, r.Node.Meta
	}
	return node, false, nil
}

// sortChecks tells the node's checks from those of its instances, and returns
// every instance that changes.
func sortChecks(t *registry.Txn, r *registry.Registration, node string) (instances []*instanceChange, nodeChecks []registry.Check, err error) {
	byID := make(map[string]*instanceChange)
	if r.Instance != nil {
		own := &instanceChange{instance: *r.Instance, replace: r.ReplaceChecks}
		own.instance.Node = node
		own.instance.ID = cmp.Or(own.instance.ID, own.instance.Service)
		instances = append(instances, own)
		byID[own.instance.ID] = own
	}
	unnamed := 0 // checks of the instance that say nothing of whom they are about
	for i := range r.Checks {
		if r.Instance != nil && r.Checks[i].InstanceID == "" {
			unnamed++
		}
	}
	number := 0
	for _, c := range r.Checks {
		c.Node = node
		if r.Instance != nil && c.InstanceID == "" {
			c.InstanceID = instances[0].instance.ID
			number++
			if c.ID == "" {
				c.ID = "service:" + c.InstanceID
				if unnamed > 1 {
					c.ID = fmt.Sprintf("%s:%d", c.ID, number)
				}
			}
			if c.Name == "" {
				c.Name = fmt.Sprintf("Service '%s' check", instances[0].instance.Service)
			}
		}
		c.ID = cmp.Or(c.ID, c.Name)
		c.Name = cmp.Or(c.Name, c.ID)
		if c.ID == "" {
			return nil, nil, &registry.Error{Code: registry.Invalid, Field: "Name", Message: "Name of the check is missing"}
		}
		if c.InstanceID == "" {
			nodeChecks = append(nodeChecks, c)
			continue
		}
		change := byID[c.InstanceID]
		if change == nil {
			old := t.View().Instance(node, c.InstanceID)
			if old == nil {
				return nil, nil, registry.Errorf(registry.NotFound, "Unknown service ID %q for check ID %q", c.InstanceID, c.ID)
			}
			change = &instanceChange{instance: *old}
			byID[c.InstanceID] = change
			instances = append(instances, change)
		}
		change.checks = append(change.checks, c)
	}
	return instances, nodeChecks, checkOwners(t, instances, nodeChecks, node)
}

// checkOwners refuses a check whose ID is that of another instance's check.
func checkOwners(t *registry.Txn, instances []*instanceChange, nodeChecks []registry.Check, node string) error {
	all := slices.Clone(nodeChecks)
	for _, change := range instances {
		all = append(all, change.checks...)
	}
	owners := make(map[string]string, len(all))
	for _, c := range all {
		owner, known := owners[c.ID]
		if old := t.View().Check(node, c.ID); old != nil && !known {
			owner, known = old.InstanceID, true
		}
		if known && owner != c.InstanceID {
			return registry.Errorf(registry.Conflict, "check ID %q belongs to the instance %q already", c.ID, owner)
		}
		owners[c.ID] = c.InstanceID
	}
	return nil
}

func putInstance(t *registry.Txn, change *instanceChange, now time.Time) {
	i := &change.instance
	if i.Weights == (registry.Weights{}) {
		i.Weights = registry.Weights{Passing: 1, Warning: 1}
	}
	old := t.View().Instance(i.Node, i.ID)
	var oldChecks []*registry.Check
	i.CreateIndex = t.View().Index()
	if old != nil {
		oldChecks, i.CreateIndex = old.Checks, old.CreateIndex
	}
	for n := range change.checks {
		change.checks[n].Service = i.Service
		if change.checks[n].Type == "" {
			change.checks[n].Type = change.checks[n].Definition.Kind()
		}
	}
	i.Checks = mergeChecks(oldChecks, change.checks, change.replace, t.View(), now)
	for n, c := range i.Checks { // the service may have another name now
		if c.Service != i.Service {
			renamed := *c
			renamed.Service = i.Service
			i.Checks[n] = &renamed
		}
	}
	if old != nil && sameInstance(old, i) && sameChecks(old.Checks, i.Checks) {
		return
	}
	i.ModifyIndex = t.View().Index()
	stampChecks(i.Checks, t.View())
	t.PutInstance(i)
}

// mergeChecks returns the checks in order of their IDs: the old ones, unless
// they are to go, and the new ones in place of those of their ID.
func mergeChecks(old []*registry.Check, put []registry.Check, replace bool, v *registry.View, now time.Time) []*registry.Check {
	var merged []*registry.Check
	for _, c := range old {
		if !replace || strings.HasPrefix(c.ID, registry.ServiceMaintenancePrefix) {
			merged = append(merged, c)
		}
	}
	for _, c := range put {
		before := v.Check(c.Node, c.ID)
		c.CreateIndex, c.ModifyIndex = 0, 0
		c.Type = cmp.Or(c.Type, c.Definition.Kind())
		switch {
		case before == nil:
			c.Status = cmp.Or(c.Status, registry.Critical)
			c.Since, c.Lease = now, registry.NewLease(now)
		default:
			keepState(&c, before, now)
		}
		merged = slices.DeleteFunc(merged, func(m *registry.Check) bool { return m.ID == c.ID })
		merged = append(merged, &c)
	}
	slices.SortFunc(merged, func(a, b *registry.Check) int { return cmp.Compare(a.ID, b.ID) })
	return merged
}

// keepState gives a check that is registered again what it had.
func keepState(c, before *registry.Check, now time.Time) {
	c.CreateIndex, c.ModifyIndex = before.CreateIndex, before.ModifyIndex
	c.Since = before.Since
	if c.Status == 0 || c.Status == before.Status {
		c.Status = before.Status
		c.Output = cmp.Or(c.Output, before.Output)
	} else {
		c.Since = now
	}
	if c.Definition.Equal(before.Definition) && c.Until.Equal(before.Until) {
		c.Lease = before.Lease
		c.Lease.Renew(now)
	} else {
		c.Lease = registry.NewLease(now)
	}
}

// stampChecks gives the index of this change to the checks that are new in it.
func stampChecks(checks []*registry.Check, v *registry.View) {
	for _, c := range checks {
		if old := v.Check(c.Node, c.ID); old == c {
			continue
		} else if old != nil && sameCheck(old, c) {
			continue
		}
		c.ModifyIndex = v.Index()
		if c.CreateIndex == 0 {
			c.CreateIndex = v.Index()
		}
	}
}

func sameNode(a, b *registry.Node) bool {
	return a != nil && a.Name == b.Name && a.ID == b.ID && a.Address == b.Address &&
		maps.Equal(a.Meta, b.Meta) && maps.Equal(a.TaggedAddresses, b.TaggedAddresses)
}

func sameInstance(a, b *registry.Instance) bool {
	return a.Service == b.Service && a.Address == b.Address && a.Port == b.Port && a.Weights == b.Weights &&
		a.EnableTagOverride == b.EnableTagOverride && slices.Equal(a.Tags, b.Tags) && slices.Equal(a.Ports, b.Ports) &&
		maps.Equal(a.Meta, b.Meta) && maps.Equal(a.TaggedAddresses, b.TaggedAddresses)
}

func sameChecks(a, b []*registry.Check) bool { return slices.EqualFunc(a, b, sameCheck) }

// sameCheck tells whether two checks are alike, the same Lease included.
func sameCheck(a, b *registry.Check) bool {
	x, y := *a, *b
	x.ModifyIndex, x.CreateIndex, y.ModifyIndex, y.CreateIndex = 0, 0, 0, 0
	if x.Lease != y.Lease || !x.Since.Equal(y.Since) || !x.Until.Equal(y.Until) || !x.Definition.Equal(y.Definition) {
		return false
	}
	x.Since, y.Since, x.Until, y.Until = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	x.Definition, y.Definition = nil, nil
	return reflect.DeepEqual(x, y)
}
