package registry

import (
	"maps"
	"slices"

	"github.com/tidwall/btree"
)

// The instances of a service are much alike, and there may be a million. What
// one has in common with its neighbour, its node and its key is kept in memory
// once. Nothing that anybody can read changes by it.

// keep makes an instance that is about to be put under a key use the memory of
// the key and of a neighbour in its service; nil: it has none. Of its checks,
// those that are in the View already stay as they are.
func (t *Txn) keep(i *Instance, key string, neighbour *Instance) {
	i.status = worstOf(i.Checks)
	i.ID = key[len(key)-len(i.ID):]
	if n := t.view.Node(i.Node); n != nil {
		same(&i.Node, n.Name)
	}
	if neighbour != nil {
		i.shareWith(neighbour)
	}
	for _, c := range i.Checks {
		key := instanceKey(c.Node, c.ID)
		if known, _ := t.view.checks.Get(key); known == c {
			continue
		}
		c.ID = key[len(key)-len(c.ID):]
		same(&c.Node, i.Node)
		same(&c.InstanceID, i.ID)
		same(&c.Service, i.Service)
		if neighbour != nil {
			c.shareWith(neighbour.Checks)
		}
	}
}

func (i *Instance) shareWith(o *Instance) {
	same(&i.Service, o.Service)
	same(&i.Address, o.Address)
	if len(i.Tags) > 0 && slices.Equal(i.Tags, o.Tags) {
		i.Tags = o.Tags
	}
	if len(i.Ports) > 0 && slices.Equal(i.Ports, o.Ports) {
		i.Ports = o.Ports
	}
	if len(i.Meta) > 0 && maps.Equal(i.Meta, o.Meta) {
		i.Meta = o.Meta
	}
	if len(i.TaggedAddresses) > 0 && maps.Equal(i.TaggedAddresses, o.TaggedAddresses) {
		i.TaggedAddresses = o.TaggedAddresses
	}
}

// shareWith makes a check use the memory of the first of a neighbour's checks
// that is of its type.
func (c *Check) shareWith(others []*Check) {
	at := slices.IndexFunc(others, func(o *Check) bool { return o.Type == c.Type })
	if at < 0 {
		return
	}
	o := others[at]
	same(&c.Type, o.Type)
	same(&c.Name, o.Name)
	same(&c.Notes, o.Notes)
	same(&c.Output, o.Output)
	if c.Definition.Equal(o.Definition) {
		c.Definition = o.Definition
	}
}

// same puts one of two equal strings in the other's place.
func same(s *string, other string) {
	if *s == other {
		*s = other
	}
}

// Settle returns a View of the same content, all of which has changed at an
// index, and whose trees have no room to grow. It is for a View that was made in
// many changes and begins its life at the last of them.
func (v *View) Settle(index uint64) *View {
	next := *v
	next.index, next.contentIndex, next.servicesIndex, next.nodesIndex = index, index, index, index
	next.services, next.nodes = compact(v.services), compact(v.nodes)
	next.instances, next.checks = compact(v.instances), compact(v.checks)
	next.words = v.words.compact()
	for s := range v.Services() {
		settled := *s
		settled.Index = index
		settled.Instances = slices.Clone(s.Instances)
		next.services.Set(lower(s.Name), &settled)
	}
	return &next
}

// compact copies a tree. A copied node has the room that it needs, while of two
// nodes that were one each holds on to the memory of both.
func compact[T any](m *btree.Map[string, T]) *btree.Map[string, T] {
	m = m.Copy()
	m.ScanMut(func(string, T) bool { return true })
	return m
}
