package registry

import (
	"iter"
	"net/netip"
	"strings"

	"github.com/tidwall/btree"
)

// View is all that is registered at one index: an immutable snapshot, safe for
// any number of readers. Views share whatever did not change between them.
//
// Names are compared without regard to ASCII case.
type View struct {
	datacenter   string
	index        uint64
	contentIndex uint64

	services  *btree.Map[string, *Service]  // by lower-case name
	nodes     *btree.Map[string, *Node]     // by lower-case name
	instances *btree.Map[string, *Instance] // by instanceKey
	checks    *btree.Map[string, *Check]    // by instanceKey of node and check ID
	words     words                         // what can be found by something else than its name

	servicesIndex, nodesIndex        uint64
	stamp, servicesStamp, nodesStamp *Stamp

	elsewhere Elsewhere // nil: there is nothing beyond
}

// Service is a service at one index: its instances, and the Stamp of whatever
// was made from them.
type Service struct {
	Name      string      // in the case of its first registration
	Instances []*Instance // by node and ID
	Index     uint64      // of the last change to an instance, or to a node that one runs on
	Stamp     *Stamp
}

// NewView returns an empty View at index 0.
func NewView(datacenter string) *View {
	return &View{
		datacenter:    datacenter,
		services:      new(btree.Map[string, *Service]),
		nodes:         new(btree.Map[string, *Node]),
		instances:     new(btree.Map[string, *Instance]),
		checks:        new(btree.Map[string, *Check]),
		words:         newWords(),
		stamp:         new(Stamp),
		servicesStamp: new(Stamp),
		nodesStamp:    new(Stamp),
	}
}

// Index returns the index of the last change in the View. It never falls.
func (v *View) Index() uint64 { return v.index }

// ContentIndex returns the index of the last change that discovery can see:
// one that moves instances, addresses or statuses, and not only the output of
// a check.
func (v *View) ContentIndex() uint64 { return v.contentIndex }

// Datacenter returns the name of the datacenter that the View is of.
func (v *View) Datacenter() string { return v.datacenter }

// Service returns the service of a name, or nil. A name in lower case is looked
// up without an allocation.
func (v *View) Service(name string) *Service {
	s, _ := v.services.Get(lower(name))
	return s
}

// Services yields the services in the order of their names.
func (v *View) Services() iter.Seq[*Service] { return values(v.services) }

// ServicesLen returns the number of services.
func (v *View) ServicesLen() int { return v.services.Len() }

// Node returns the node of a name, or nil.
func (v *View) Node(name string) *Node {
	n, _ := v.nodes.Get(lower(name))
	return n
}

// Nodes yields the nodes in the order of their names.
func (v *View) Nodes() iter.Seq[*Node] { return values(v.nodes) }

// Instances yields the instances in the order of their nodes and IDs.
func (v *View) Instances() iter.Seq[*Instance] { return values(v.instances) }

// InstancesLen returns the number of instances.
func (v *View) InstancesLen() int { return v.instances.Len() }

// InstancesOn yields the instances on a node in the order of their IDs.
func (v *View) InstancesOn(node string) iter.Seq[*Instance] {
	prefix := instanceKey(node, "")
	return func(yield func(*Instance) bool) {
		v.instances.Ascend(prefix, func(key string, i *Instance) bool {
			return strings.HasPrefix(key, prefix) && yield(i)
		})
	}
}

// Instance returns the instance of an ID on a node, or nil.
func (v *View) Instance(node, id string) *Instance {
	i, _ := v.instances.Get(instanceKey(node, id))
	return i
}

// Check returns the check of an ID on a node, or nil.
func (v *View) Check(node, id string) *Check {
	c, _ := v.checks.Get(instanceKey(node, id))
	return c
}

// StatusOf returns the worst of the instance's own checks and its node's, or
// Passing without any.
func (v *View) StatusOf(i *Instance) Status {
	return Worst(i.status, v.Node(i.Node).Status())
}

// Endpoints returns the instances of a service that may be used, in its order:
// all but the critical ones, and with onlyPassing none that warn.
func (v *View) Endpoints(s *Service, onlyPassing bool) []Endpoint {
	endpoints := make([]Endpoint, 0, len(s.Instances))
	var node *Node
	for _, i := range s.Instances {
		if node == nil || node.Name != i.Node {
			node = v.Node(i.Node)
		}
		status := Worst(i.status, node.Status())
		if status == Critical || onlyPassing && status != Passing {
			continue
		}
		e := Endpoint{Instance: i, Node: node, Address: i.Address, Port: i.Port, Status: status, Weight: i.Weights.At(status)}
		if e.Address == "" && node != nil {
			e.Address = node.Address
		}
		endpoints = append(endpoints, e)
	}
	return endpoints
}

// InMaintenance tells whether an operator took out an instance, or its node.
func (v *View) InMaintenance(i *Instance) bool {
	return i.InMaintenance() || v.Node(i.Node).InMaintenance()
}

// AllEndpoints returns the service's endpoints of whatever status, but for those in
// maintenance. A critical one has the weight that it would have if it passed.
func (v *View) AllEndpoints(s *Service) []Endpoint {
	endpoints := make([]Endpoint, 0, len(s.Instances))
	for _, i := range s.Instances {
		node := v.Node(i.Node)
		if i.InMaintenance() || node.InMaintenance() {
			continue
		}
		e := Endpoint{Instance: i, Node: node, Address: i.Address, Port: i.Port, Status: Worst(i.status, node.Status())}
		if e.Weight = i.Weights.At(e.Status); e.Status == Critical {
			e.Weight = i.Weights.Passing
		}
		if e.Address == "" && node != nil {
			e.Address = node.Address
		}
		endpoints = append(endpoints, e)
	}
	return endpoints
}

// Discover returns the endpoints that a query asks for, or a NotFound error
// where no service of its name is registered. Query.Fresh is of no concern here.
func (v *View) Discover(q Query) ([]Endpoint, error) {
	s := v.Service(q.Service)
	if s == nil {
		return nil, Errorf(NotFound, "no service %q is registered", q.Service)
	}
	endpoints := v.Endpoints(s, q.OnlyPassing)
	if q.Tag == "" {
		return endpoints, nil
	}
	tagged := endpoints[:0]
	for _, e := range endpoints {
		if e.Instance.HasTag(q.Tag) {
			tagged = append(tagged, e)
		}
	}
	return tagged, nil
}

// NamesAt returns the names of the nodes that have an address, and of the
// services with an instance that was registered with it, in lower case.
func (v *View) NamesAt(a netip.Addr) (nodes, services []string) {
	key := addressWord(a)
	for name := range v.words.nodesAt.below(key) {
		nodes = append(nodes, name)
	}
	for name := range v.words.servicesAt.below(key) {
		services = append(services, name)
	}
	return nodes, services
}

// HasAddressIn tells whether a node or an instance has an address in a network.
func (v *View) HasAddressIn(network netip.Prefix) bool {
	first := addressWord(network.Masked().Addr())
	return v.words.nodesAt.hasIn(network, first) || v.words.servicesAt.hasIn(network, first)
}

// HasPort tells whether any instance has a port of that name.
func (v *View) HasPort(name string) bool { return v.words.ports.has(lower(name)) }

// HasPorts tells whether any instance has a port with a name.
func (v *View) HasPorts() bool { return v.words.ports.counts.Len() > 0 }

// HasTag tells whether any instance bears the tag.
func (v *View) HasTag(tag string) bool { return v.words.tags.has(lower(tag)) }

// HasServiceBelow tells whether some service's name ends in a dot and suffix.
func (v *View) HasServiceBelow(suffix string) bool { return v.words.serviceSuffixes.has(lower(suffix)) }

// HasNodeBelow tells whether some node's name ends in a dot and suffix.
func (v *View) HasNodeBelow(suffix string) bool { return v.words.nodeSuffixes.has(lower(suffix)) }

// Stamp is superseded by any change.
func (v *View) Stamp() *Stamp { return v.stamp }

// ServicesStamp is superseded when a service appears, disappears, or has other
// tags than before.
func (v *View) ServicesStamp() *Stamp { return v.servicesStamp }

// ServicesIndex returns the index of the last such change.
func (v *View) ServicesIndex() uint64 { return v.servicesIndex }

// NodesStamp is superseded when a node or a check of one changes.
func (v *View) NodesStamp() *Stamp { return v.nodesStamp }

// NodesIndex returns the index of the last such change.
func (v *View) NodesIndex() uint64 { return v.nodesIndex }

// instanceKey orders what is on nodes by node and ID. No name holds a NUL.
func instanceKey(node, id string) string { return lower(node) + "\x00" + id }

func values[T any](m *btree.Map[string, T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		m.Scan(func(_ string, value T) bool { return yield(value) })
	}
}

// lower returns s with ASCII letters in lower case, and s itself where it has
// no others. strings.ToLower would also fold letters that DNS keeps apart.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			return lowered(s, i)
		}
	}
	return s
}

func lowered(s string, from int) string {
	b := []byte(s)
	for i := from; i < len(b); i++ {
		if 'A' <= b[i] && b[i] <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}
