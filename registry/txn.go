package registry

import (
	"cmp"
	"maps"
	"slices"
)

// Txn makes the next View out of one. It belongs to one goroutine; the View
// that it began with stays as it was, and is all there is until Update.View of
// Commit is published.
type Txn struct {
	view       *View // the next one, unpublished
	events     []Event
	superseded []*Stamp
	services   map[string]*Service // those that are new in this Txn and may be written to
	tagsMoved  bool
	nodesMoved bool
}

// Update is what a Txn has made: publish it with Feed.Publish.
type Update struct {
	View       *View
	Events     []Event // in the order of the changes, without a View; empty: nothing has changed
	superseded []*Stamp
}

// Txn begins the next View; changes bear the given index until SetIndex.
func (v *View) Txn(index uint64) *Txn {
	next := *v
	next.services, next.nodes = v.services.Copy(), v.nodes.Copy()
	next.instances, next.checks = v.instances.Copy(), v.checks.Copy()
	next.words = v.words.copy()
	next.stamp = new(Stamp)
	next.index = max(index, v.index)
	return &Txn{view: &next, superseded: []*Stamp{v.stamp}, services: make(map[string]*Service)}
}

// SetIndex sets the index of the changes that follow.
func (t *Txn) SetIndex(index uint64) { t.view.index = max(index, t.view.index) }

// View returns the View as the Txn has made it so far. It may be read between
// two changes, and is not to be kept.
func (t *Txn) View() *View { return t.view }

// Len returns how many changes the Txn has made.
func (t *Txn) Len() int { return len(t.events) }

// PutNode adds a node, or replaces the one of its name. The node and its checks
// must not be modified afterwards.
func (t *Txn) PutNode(n *Node) {
	key := lower(n.Name)
	before, _ := t.view.nodes.Set(key, n)
	t.view.words.addNode(before, -1)
	t.view.words.addNode(n, 1)
	if before != nil {
		t.deleteChecks(before.Name, before.Checks)
	}
	t.putChecks(n.Checks)
	t.nodesMoved = true
	if before == nil || !sameForDiscovery(before, n) {
		t.view.contentIndex = t.view.index
	}
	// Whatever runs on the node is found at its address and shares its status.
	for i := range t.view.InstancesOn(n.Name) {
		t.touch(i.Service)
	}
	t.tell(Event{Kind: NodePut, Node: n})
}

// DeleteNode removes a node and all that is on it. It reports whether it was there.
func (t *Txn) DeleteNode(name string) bool {
	n := t.view.Node(name)
	if n == nil {
		return false
	}
	for _, i := range slices.Collect(t.view.InstancesOn(name)) {
		t.DeleteInstance(i.Node, i.ID)
	}
	t.view.nodes.Delete(lower(name))
	t.view.words.addNode(n, -1)
	t.deleteChecks(n.Name, n.Checks)
	t.nodesMoved = true
	t.view.contentIndex = t.view.index
	t.tell(Event{Kind: NodeDeleted, Node: n})
	return true
}

// PutInstance adds an instance, or replaces the one of its ID on its node. The
// instance and its checks must not be modified afterwards.
func (t *Txn) PutInstance(i *Instance) {
	key := instanceKey(i.Node, i.ID)
	s := t.touch(i.Service)
	at, found := slices.BinarySearchFunc(s.Instances, i, compareInstances)
	var neighbour *Instance
	if len(s.Instances) > 0 {
		neighbour = s.Instances[max(min(at, len(s.Instances))-1, 0)]
	}
	t.keep(i, key, neighbour)
	before, _ := t.view.instances.Set(key, i)
	t.view.words.addInstance(before, -1)
	t.view.words.addInstance(i, 1)
	if before != nil {
		t.deleteChecks(before.Node, before.Checks)
		if lower(before.Service) != lower(i.Service) {
			t.leave(before)
		}
	}
	t.putChecks(i.Checks)
	if found {
		s.Instances[at] = i
	} else {
		s.Instances = slices.Insert(s.Instances, at, i)
	}
	if before == nil || !slices.Equal(before.Tags, i.Tags) {
		t.tagsMoved = true
	}
	if before == nil || !sameEndpoint(before, i) {
		t.view.contentIndex = t.view.index
	}
	t.tell(Event{Kind: InstancePut, Instance: i, Before: before})
}

// DeleteInstance removes an instance. It reports whether it was there.
func (t *Txn) DeleteInstance(node, id string) bool {
	i, ok := t.view.instances.Delete(instanceKey(node, id))
	if !ok {
		return false
	}
	t.view.words.addInstance(i, -1)
	t.deleteChecks(i.Node, i.Checks)
	t.leave(i)
	t.view.contentIndex = t.view.index
	t.tell(Event{Kind: InstanceDeleted, Instance: i})
	return true
}

// Commit ends the Txn.
func (t *Txn) Commit() *Update {
	v := t.view
	if t.tagsMoved {
		t.superseded = append(t.superseded, v.servicesStamp)
		v.servicesStamp, v.servicesIndex = new(Stamp), v.index
	}
	if t.nodesMoved {
		t.superseded = append(t.superseded, v.nodesStamp)
		v.nodesStamp, v.nodesIndex = new(Stamp), v.index
	}
	return &Update{View: v, Events: t.events, superseded: t.superseded}
}

// touch returns a service that this Txn may write to, stamped anew.
func (t *Txn) touch(name string) *Service {
	key := lower(name)
	if s := t.services[key]; s != nil {
		s.Index = t.view.index
		return s
	}
	s := &Service{Name: name, Index: t.view.index, Stamp: new(Stamp)}
	if old, ok := t.view.services.Get(key); ok {
		s.Name = old.Name
		s.Instances = append(make([]*Instance, 0, len(old.Instances)+1), old.Instances...)
		t.superseded = append(t.superseded, old.Stamp)
	} else {
		t.tagsMoved = true
	}
	t.view.services.Set(key, s)
	t.services[key] = s
	return s
}

// leave takes an instance out of its service, and the service away with the last.
func (t *Txn) leave(i *Instance) {
	s := t.touch(i.Service)
	if at, found := slices.BinarySearchFunc(s.Instances, i, compareInstances); found {
		s.Instances = slices.Delete(s.Instances, at, at+1)
	}
	t.tagsMoved = true
	if len(s.Instances) == 0 {
		key := lower(i.Service)
		t.view.services.Delete(key)
		delete(t.services, key)
	}
}

func (t *Txn) putChecks(checks []*Check) {
	for _, c := range checks {
		if c.Definition == nil {
			c.Definition = noDefinition
		}
		t.view.checks.Set(instanceKey(c.Node, c.ID), c)
	}
}

func (t *Txn) deleteChecks(node string, checks []*Check) {
	for _, c := range checks {
		t.view.checks.Delete(instanceKey(node, c.ID))
	}
}

func (t *Txn) tell(e Event) {
	e.Index = t.view.index
	if n := len(t.events); n > 0 {
		t.events[n-1].More = t.events[n-1].Index == e.Index
	}
	t.events = append(t.events, e)
}

func compareInstances(a, b *Instance) int {
	return cmp.Or(cmp.Compare(lower(a.Node), lower(b.Node)), cmp.Compare(a.ID, b.ID))
}

// sameEndpoint tells whether discovery cannot tell two instances of one ID apart.
func sameEndpoint(a, b *Instance) bool {
	return a.Service == b.Service && a.Address == b.Address && a.Port == b.Port && a.Weights == b.Weights &&
		a.status == b.status && slices.Equal(a.Tags, b.Tags) && slices.Equal(a.Ports, b.Ports) &&
		maps.Equal(a.Meta, b.Meta) && maps.Equal(a.TaggedAddresses, b.TaggedAddresses)
}

// sameForDiscovery tells whether discovery cannot tell two nodes of one name apart.
func sameForDiscovery(a, b *Node) bool {
	return a.Name == b.Name && a.Address == b.Address && a.Status() == b.Status() &&
		maps.Equal(a.Meta, b.Meta) && maps.Equal(a.TaggedAddresses, b.TaggedAddresses)
}
