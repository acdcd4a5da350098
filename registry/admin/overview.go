package admin

import (
	"cmp"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// The replies below are for the page. Consul has none that say in one go how all
// services are, nor since when a check says what it says.

// Overview is how the endpoint itself is.
type Overview struct {
	Node, Datacenter, Version, Zone string
	Now                             time.Time // by this machine's clock, which times below are by, too
	Index                           uint64
	Services, Instances             int
	Unready                         string     `json:",omitempty"` // why clients should go elsewhere
	Stale                           *Staleness `json:",omitempty"` // nil: the view is the truth
	MayWrite                        bool       // who asks may change something
	ReloadFailed                    string     `json:",omitempty"` // why the configuration that was read last is not in force
	Explains, Measures, Names       bool       // there is something at /v1/explain, at /v1/overview/traffic, at /v1/overview/names
	Configures                      bool       // there is something at /v1/config
}

// Staleness is why the view may no longer be true.
type Staleness struct {
	Since  time.Time `json:",omitzero"` // zero: ever since the start
	Reason string
	Empty  bool // there never was anything to answer from
}

// ServiceSummary is how a service's instances are. Whatever is in maintenance
// counts for nothing else.
type ServiceSummary struct {
	Name                                    string
	Passing, Warning, Critical, Maintenance int
	Tags                                    []string // of any of them
}

// maxSummaryTags is how many tags a summary names.
const maxSummaryTags = 24

// overview says how the endpoint is.
func (s *Server) overview(w http.ResponseWriter, r *http.Request) error {
	v, caller := s.cfg.Registry.View(), callerOf(r.Context())
	o := Overview{
		Node: s.cfg.Node, Datacenter: s.cfg.Datacenter, Version: s.cfg.Version, Zone: strings.Trim(s.cfg.Zone, "."),
		Now: time.Now().UTC(), Index: v.Index(), Services: v.ServicesLen(), Instances: v.InstancesLen(),
		MayWrite: caller == nil || caller.Write, Explains: s.cfg.Explain != nil && caller.seesAll(), Measures: s.traffic != nil, Names: s.names != nil && caller.seesAll(),
	}
	if s.cfg.Ready != nil {
		if err := s.cfg.Ready(); err != nil {
			o.Unready = err.Error()
		}
	}
	if o.Configures = s.cfg.Configuration != nil && caller.seesAll(); o.Configures {
		if last := s.cfg.Configuration().LastReload; last != nil {
			o.ReloadFailed = last.Error
		}
	}
	if f := s.freshness(); f.Stale {
		o.Stale = &Staleness{Since: f.Since.UTC(), Reason: f.Reason, Empty: !f.Synced}
	}
	return reply(w, r, o)
}

// overviewServices summarises all services, or those that are named, as far as
// they are there.
func (s *Server) overviewServices(w http.ResponseWriter, r *http.Request) error {
	v := s.cfg.Registry.View()
	all := []ServiceSummary{}
	if names, ok := r.URL.Query()["name"]; ok {
		for _, name := range names {
			if service := v.Service(name); service != nil {
				all = append(all, summarise(v, service))
			}
		}
		return reply(w, r, all)
	}
	for service := range v.Services() {
		all = append(all, summarise(v, service))
	}
	return reply(w, r, all)
}

func summarise(v *registry.View, service *registry.Service) ServiceSummary {
	sum := ServiceSummary{Name: service.Name, Tags: []string{}}
	for _, i := range service.Instances {
		switch status := v.StatusOf(i); {
		case v.InMaintenance(i):
			sum.Maintenance++
		case status == registry.Passing:
			sum.Passing++
		case status == registry.Warning:
			sum.Warning++
		default:
			sum.Critical++
		}
		for _, tag := range i.Tags {
			if len(sum.Tags) < maxSummaryTags && !slices.Contains(sum.Tags, tag) {
				sum.Tags = append(sum.Tags, tag)
			}
		}
	}
	slices.Sort(sum.Tags)
	return sum
}

// ServiceDetail is a service with its instances, the worst first.
type ServiceDetail struct {
	Name      string
	Instances []InstanceDetail
	More      int // instances that are not shown
}

// InstanceDetail is an instance, and why it is as it is.
type InstanceDetail struct {
	ID, Node    string
	Address     string // with the port, if it has one
	Status      registry.Status
	Maintenance string `json:",omitempty"` // why it is in maintenance
	Ours        bool   // on the own node, where it can be put in maintenance, and back
	Tags        []string
	Meta        map[string]string
	Weights     registry.Weights
	Checks      []CheckDetail // those that make its status first
}

// CheckDetail is a check, since when it says so, and how it comes to say it.
type CheckDetail struct {
	ID, Name, Type, Target string
	Every                  duration `json:",omitzero"` // from one probe to the next, or the longest between heartbeats
	Status                 registry.Status
	Since                  time.Time `json:",omitzero"`
	Output, Notes          string
	OfNode                 bool
}

// maxDetailed is how many instances of a service are shown.
const maxDetailed = 250

// overviewService shows a service.
func (s *Server) overviewService(w http.ResponseWriter, r *http.Request) error {
	v := s.cfg.Registry.View()
	service := v.Service(r.PathValue("name"))
	if service == nil || !callerOf(r.Context()).sees(service.Name) {
		return registry.Errorf(registry.NotFound, "no service %.200q is registered", r.PathValue("name"))
	}
	instances := slices.Clone(service.Instances)
	slices.SortStableFunc(instances, func(a, b *registry.Instance) int { return cmp.Compare(v.StatusOf(b), v.StatusOf(a)) })
	detail := ServiceDetail{Name: service.Name, Instances: []InstanceDetail{}, More: max(0, len(instances)-maxDetailed)}
	for _, i := range instances[:len(instances)-detail.More] {
		detail.Instances = append(detail.Instances, s.detail(v, i))
	}
	return reply(w, r, detail)
}

func (s *Server) detail(v *registry.View, i *registry.Instance) InstanceDetail {
	d := InstanceDetail{
		ID: i.ID, Node: i.Node, Address: i.Address, Status: v.StatusOf(i), Ours: strings.EqualFold(i.Node, s.cfg.Node),
		Tags: orNone(i.Tags), Meta: orEmpty(i.Meta), Weights: i.Weights, Checks: []CheckDetail{},
	}
	if n := v.Node(i.Node); n != nil {
		d.Address = cmp.Or(d.Address, n.Address)
		if c := n.Maintenance(); c != nil {
			d.Maintenance, d.Ours = "with its node: "+cmp.Or(c.Reason(), noReasonNode), false
		}
		for _, c := range n.Checks {
			d.Checks = append(d.Checks, newCheckDetail(c))
		}
	}
	for _, c := range i.Checks {
		if strings.HasPrefix(c.ID, registry.ServiceMaintenancePrefix) {
			d.Maintenance = cmp.Or(c.Reason(), noReason)
		}
		d.Checks = append(d.Checks, newCheckDetail(c))
	}
	slices.SortStableFunc(d.Checks, func(a, b CheckDetail) int { return cmp.Compare(b.Status, a.Status) })
	if i.Port > 0 {
		d.Address = net.JoinHostPort(d.Address, strconv.Itoa(i.Port))
	}
	return d
}

func newCheckDetail(c *registry.Check) CheckDetail {
	d := c.Definition
	return CheckDetail{
		ID: c.ID, Name: cmp.Or(c.Name, c.ID), Type: cmp.Or(c.Type, d.Kind()), Target: cmp.Or(d.HTTP, d.TCP, d.UDP, d.GRPC, d.DNS),
		Every: duration(cmp.Or(d.TTL, d.Interval)), Status: c.Status, Since: c.Since.UTC(), Output: cmp.Or(c.Output, c.End()), Notes: c.Notes,
		OfNode: c.InstanceID == "",
	}
}
