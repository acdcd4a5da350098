package consul

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/rollcall-dns/rollcall/registry"
)

// The types below are the parts of Consul's answers that rollcall keeps. A check's
// definition is not among them: Consul's agents run their checks themselves,
// and whatever has a Definition in a View would be probed once more from here.

type node struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	Meta            map[string]string
	CreateIndex     uint64
	ModifyIndex     uint64
}

type service struct {
	ID                string
	Service           string
	Tags              []string
	Address           string
	TaggedAddresses   map[string]registry.TaggedAddress
	Meta              map[string]string
	Port              int
	Ports             []registry.Port
	Weights           registry.Weights
	EnableTagOverride bool
	CreateIndex       uint64
	ModifyIndex       uint64
}

type check struct {
	Node        string
	CheckID     string
	Name        string
	Status      string
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	Type        string
	CreateIndex uint64
	ModifyIndex uint64
}

type entry struct {
	Node    node
	Service service
	Checks  []check
}

// list is a JSON array, of which those elements that are not what they should
// be are left out and counted.
type list[T any] struct {
	items    []T
	rejected int
}

func (l *list[T]) UnmarshalJSON(data []byte) error {
	err := json.Unmarshal(data, &l.items)
	if wrong := (*json.UnmarshalTypeError)(nil); !errors.As(err, &wrong) {
		return err
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(data, &elements); err != nil {
		return err
	}
	l.items = l.items[:0]
	for _, element := range elements {
		var item T
		if json.Unmarshal(element, &item) != nil {
			l.rejected++
			continue
		}
		l.items = append(l.items, item)
	}
	return nil
}

// registered returns the entry as registry nouns: the instance with its own
// checks, and its node with the node's. It fails where the entry is malformed.
func (e *entry) registered() (*registry.Node, *registry.Instance, error) {
	n, err := e.Node.registered()
	if err != nil {
		return nil, nil, err
	}
	i, err := e.Service.registered(n.Name)
	if err != nil {
		return nil, nil, err
	}
	for k := range e.Checks {
		c := e.Checks[k].registered()
		switch c.InstanceID {
		case "":
			n.Checks = append(n.Checks, c)
		case i.ID:
			c.Service = i.Service
			i.Checks = append(i.Checks, c)
		}
	}
	sortChecks(n.Checks)
	sortChecks(i.Checks)
	return n, i, nil
}

func (n *node) registered() (*registry.Node, error) {
	r := registry.Registration{Node: registry.Node{
		Name: n.Node, ID: n.ID, Address: n.Address, TaggedAddresses: n.TaggedAddresses,
		CreateIndex: n.CreateIndex, ModifyIndex: n.ModifyIndex,
	}}
	if n.Node == "" {
		return nil, errors.New("node without a name")
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	r.Node.Meta = n.Meta
	return &r.Node, nil
}

// registered is stricter than Consul where a DNS answer would suffer, and only
// there: an ID, tags and metadata that no name refers to may be what they like.
func (s *service) registered(node string) (*registry.Instance, error) {
	r := registry.Registration{Instance: &registry.Instance{
		Node: node, Service: s.Service, Address: s.Address, TaggedAddresses: s.TaggedAddresses, Port: s.Port, Ports: s.Ports,
		Weights: s.Weights, EnableTagOverride: s.EnableTagOverride,
		CreateIndex: s.CreateIndex, ModifyIndex: s.ModifyIndex,
	}}
	if s.ID == "" || strings.IndexFunc(s.ID, unicode.IsControl) >= 0 {
		return nil, errors.New("instance without a usable ID")
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	i := r.Instance
	i.ID, i.Meta = s.ID, s.Meta
	if i.Weights == (registry.Weights{}) {
		i.Weights = registry.Weights{Passing: 1, Warning: 1}
	}
	for _, tag := range s.Tags {
		if tag != "" && strings.IndexFunc(tag, unicode.IsControl) < 0 {
			i.Tags = append(i.Tags, tag)
		}
	}
	return i, nil
}

// registered returns the check without Since and Lease, which Consul does not
// know. A status that is none of Consul's three counts as critical.
func (c *check) registered() *registry.Check {
	status, err := registry.ParseStatus(c.Status)
	if err != nil || status == 0 {
		status = registry.Critical
	}
	kind := c.Type
	if strings.HasPrefix(c.CheckID, registry.ServiceMaintenancePrefix) || c.CheckID == registry.NodeMaintenance {
		kind = "maintenance"
	}
	out := &registry.Check{
		Node: c.Node, ID: c.CheckID, Name: c.Name, Notes: c.Notes, Output: c.Output, Type: kind,
		InstanceID: c.ServiceID, Service: c.ServiceName, Status: status,
		CreateIndex: c.CreateIndex, ModifyIndex: c.ModifyIndex,
	}
	if d, ok := parseProbe(c.Notes); ok && c.Type == "ttl" {
		out.Definition, out.Type = d, "dns"
	}
	return out
}

// probeNotes begins the notes of a TTL check at Consul whose heartbeats are the
// results of a DNS probe, which Consul does not have and rollcall makes.
const probeNotes = "rollcall probes "

// formatProbe writes a DNS probe into a check's notes, where it survives.
func formatProbe(d *registry.Definition) string {
	return probeNotes + d.DNS + " every " + d.Interval.String() + " within " + d.Timeout.String()
}

func parseProbe(notes string) (d *registry.Definition, ok bool) {
	fields := strings.Fields(strings.TrimPrefix(notes, probeNotes))
	if !strings.HasPrefix(notes, probeNotes) || len(fields) != 5 || fields[1] != "every" || fields[3] != "within" {
		return nil, false
	}
	d = new(registry.Definition)
	var err, err2 error
	d.DNS = fields[0]
	d.Interval, err = time.ParseDuration(fields[2])
	d.Timeout, err2 = time.ParseDuration(fields[4])
	r := registry.Registration{Checks: []registry.Check{{Definition: d}}}
	if err != nil || err2 != nil || r.Validate() != nil {
		return nil, false
	}
	return d, true
}
