package admin

import (
	"cmp"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// The replies below have Consul's field names. Lists and maps are never null:
// not every client knows that it means an empty one. The names are also those
// that filter expressions select by.

// Node is a node of the catalog.
type Node struct {
	ID, Node, Address, Datacenter string
	TaggedAddresses               map[string]string
	Meta                          map[string]string
	CreateIndex, ModifyIndex      uint64
}

// AgentService is an instance as the agent shows it.
type AgentService struct {
	Kind                     string `json:",omitempty"` // always a typical one, which has none; for filters
	ID, Service              string
	Tags                     []string
	Meta                     map[string]string
	Port                     int
	Ports                    []registry.Port `json:",omitempty"`
	Address                  string
	TaggedAddresses          map[string]registry.TaggedAddress
	Weights                  registry.Weights
	EnableTagOverride        bool
	Datacenter               string
	ContentHash              string `json:",omitempty"`
	CreateIndex, ModifyIndex uint64
}

// HealthCheck is a check.
type HealthCheck struct {
	Node, CheckID, Name      string
	Status                   string
	Notes, Output            string
	ServiceID, ServiceName   string
	ServiceTags              []string
	Type                     string
	Until                    time.Time `json:",omitzero"` // when a maintenance ends by itself
	Definition               definition
	CreateIndex, ModifyIndex uint64
}

// ServiceEntry is an instance with its node and all checks that count for it.
type ServiceEntry struct {
	Node    *Node
	Service *AgentService
	Checks  []*HealthCheck
}

// CatalogService is an instance as the catalog shows it.
type CatalogService struct {
	ID, Node, Address, Datacenter string
	TaggedAddresses, NodeMeta     map[string]string
	ServiceID, ServiceName        string
	ServiceKind                   string // always empty: a typical one
	ServiceAddress                string
	ServiceTaggedAddresses        map[string]registry.TaggedAddress
	ServiceTags                   []string
	ServiceMeta                   map[string]string
	ServicePort                   int
	ServicePorts                  []registry.Port `json:",omitempty"`
	ServiceWeights                registry.Weights
	ServiceEnableTagOverride      bool
	Checks                        []*HealthCheck
	CreateIndex, ModifyIndex      uint64
}

func newNode(v *registry.View, n *registry.Node) *Node {
	if n == nil {
		n = new(registry.Node)
	}
	tagged := orEmpty(n.TaggedAddresses)
	if n.Address != "" && tagged["lan"] == "" {
		tagged = map[string]string{"lan": n.Address, "wan": n.Address}
		for tag, address := range n.TaggedAddresses {
			tagged[tag] = address
		}
	}
	return &Node{
		ID: n.ID, Node: n.Name, Address: n.Address, Datacenter: v.Datacenter(), TaggedAddresses: tagged,
		Meta: orEmpty(n.Meta), CreateIndex: n.CreateIndex, ModifyIndex: n.ModifyIndex,
	}
}

func newAgentService(v *registry.View, i *registry.Instance) *AgentService {
	return &AgentService{
		ID: i.ID, Service: i.Service, Tags: orNone(i.Tags), Meta: orEmpty(i.Meta), Port: i.Port, Ports: i.Ports, Address: i.Address,
		TaggedAddresses: orEmpty(i.TaggedAddresses), Weights: i.Weights, EnableTagOverride: i.EnableTagOverride,
		Datacenter: v.Datacenter(), CreateIndex: i.CreateIndex, ModifyIndex: i.ModifyIndex,
	}
}

func newHealthCheck(v *registry.View, c *registry.Check) *HealthCheck {
	check := &HealthCheck{
		Node: c.Node, CheckID: c.ID, Name: c.Name, Status: c.Status.String(), Notes: c.Notes, Output: c.Output,
		ServiceID: c.InstanceID, ServiceName: c.Service, ServiceTags: []string{}, Type: c.Type, Until: c.Until,
		Definition: newDefinition(c.Definition), CreateIndex: c.CreateIndex, ModifyIndex: c.ModifyIndex,
	}
	if !c.Until.IsZero() && c.Output == "" {
		check.Output = c.Reason()
	}
	if c.InstanceID != "" {
		if i := v.Instance(c.Node, c.InstanceID); i != nil {
			check.ServiceTags = orNone(i.Tags)
		}
	}
	return check
}

// checksOf returns the checks that count for an instance: its node's and its own.
func checksOf(v *registry.View, i *registry.Instance) []*HealthCheck {
	checks := []*HealthCheck{}
	if n := v.Node(i.Node); n != nil {
		for _, c := range n.Checks {
			checks = append(checks, newHealthCheck(v, c))
		}
	}
	for _, c := range i.Checks {
		checks = append(checks, newHealthCheck(v, c))
	}
	return checks
}

func newServiceEntry(v *registry.View, i *registry.Instance) *ServiceEntry {
	return &ServiceEntry{Node: newNode(v, v.Node(i.Node)), Service: newAgentService(v, i), Checks: checksOf(v, i)}
}

func newCatalogService(v *registry.View, i *registry.Instance) *CatalogService {
	n := newNode(v, v.Node(i.Node))
	return &CatalogService{
		ID: n.ID, Node: cmp.Or(n.Node, i.Node), Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta,
		ServiceID: i.ID, ServiceName: i.Service, ServiceAddress: i.Address, ServiceTaggedAddresses: orEmpty(i.TaggedAddresses),
		ServiceTags: orNone(i.Tags), ServiceMeta: orEmpty(i.Meta), ServicePort: i.Port, ServicePorts: i.Ports, ServiceWeights: i.Weights,
		ServiceEnableTagOverride: i.EnableTagOverride, Checks: checksOf(v, i),
		CreateIndex: i.CreateIndex, ModifyIndex: i.ModifyIndex,
	}
}

func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

func orNone[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
