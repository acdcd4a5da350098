package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// catalogRequest is a registration as the catalog's API takes it.
type catalogRequest struct {
	ID, Node, Address, Datacenter string
	TaggedAddresses, NodeMeta     map[string]string
	Service                       *catalogServiceRequest
	Check                         *catalogCheckRequest
	Checks                        []*catalogCheckRequest
	SkipNodeUpdate                bool

	Partition, Locality, PeerName unsupported
}

type catalogServiceRequest struct {
	ID, Service, Address string
	Tags                 []string
	Port                 int
	Ports                []registry.Port
	TaggedAddresses      map[string]registry.TaggedAddress
	Meta                 map[string]string
	Weights              registry.Weights
	EnableTagOverride    bool

	Kind, Proxy, Connect, SocketPath, Namespace, Partition, Locality, PeerName, AI unsupported
	CreateIndex, ModifyIndex, ContentHash, Datacenter                              ignored
}

type catalogCheckRequest struct {
	Node, CheckID, Name, Notes, Output string
	ServiceID, Type                    string
	Status                             registry.Status
	Until                              instant
	Definition                         catalogDefinition

	Namespace, Partition, ExposedPort, PeerName unsupported
	CreateIndex, ModifyIndex                    ignored
	ServiceName, ServiceTags                    ignored
}

// catalogDefinition is a definition with the fields that Consul's client writes
// beside the durations as texts.
type catalogDefinition struct {
	definition
	IntervalDuration, TimeoutDuration, DeregisterCriticalServiceAfterDuration duration
	TCPUseTLS, OSService, SessionName                                         unsupported
}

func (d *catalogDefinition) registry() *registry.Definition {
	d.Interval = cmp.Or(d.Interval, d.IntervalDuration)
	d.Timeout = cmp.Or(d.Timeout, d.TimeoutDuration)
	d.DeregisterCriticalServiceAfter = cmp.Or(d.DeregisterCriticalServiceAfter, d.DeregisterCriticalServiceAfterDuration)
	return d.definition.registry()
}

// ReadRegistration reads what PUT /v1/catalog/register takes, and tells what is
// wrong with it as that would: an Error of code Invalid. What depends on what is
// registered already it cannot tell.
func ReadRegistration(body []byte) ([]registry.Registration, error) {
	var request catalogRequest
	if err := decodeBody(body, &request); err != nil {
		return nil, err
	}
	registrations, err := request.registrations()
	if err != nil {
		return nil, err
	}
	return registrations, validate(registrations)
}

// registrations returns what the request amounts to. In Consul's catalog a check
// that names no service is its node's, even if the request has a service, too;
// the node's checks then come first, for the service to be found with them.
func (c *catalogRequest) registrations() ([]registry.Registration, error) {
	if c.Node == "" {
		return nil, badField("Node", "is missing")
	}
	r := registry.Registration{Node: registry.Node{
		Name: c.Node, ID: c.ID, Address: c.Address, TaggedAddresses: c.TaggedAddresses, Meta: c.NodeMeta,
	}}
	if s := c.Service; s != nil {
		r.Instance = &registry.Instance{
			ID: s.ID, Service: s.Service, Tags: s.Tags, Address: s.Address, TaggedAddresses: s.TaggedAddresses,
			Port: s.Port, Ports: s.Ports, Meta: s.Meta, Weights: s.Weights, EnableTagOverride: s.EnableTagOverride,
		}
	}
	checks := c.Checks
	if c.Check != nil {
		checks = append([]*catalogCheckRequest{c.Check}, checks...)
	}
	ofNode := registry.Registration{Node: r.Node}
	for _, check := range checks {
		if check.Node != "" && !strings.EqualFold(check.Node, c.Node) {
			return nil, badField("Check.Node", fmt.Sprintf("is %.80q, and the registration is of %.80q", check.Node, c.Node))
		}
		if r.Instance != nil && check.ServiceID == "" {
			ofNode.Checks = append(ofNode.Checks, check.registry())
		} else {
			r.Checks = append(r.Checks, check.registry())
		}
	}
	if len(ofNode.Checks) == 0 {
		return []registry.Registration{r}, nil
	}
	return []registry.Registration{ofNode, r}, nil
}

func (c *catalogCheckRequest) registry() registry.Check {
	d := c.Definition.registry()
	if !time.Time(c.Until).IsZero() {
		c.Output = "" // which was made of the end
	}
	return registry.Check{
		ID: c.CheckID, Name: c.Name, Notes: c.Notes, Output: clip(c.Output), InstanceID: c.ServiceID,
		Type: cmp.Or(c.Type, d.Kind()), Status: c.Status, Until: time.Time(c.Until), Definition: d,
	}
}

func (s *Server) catalogRegister(w http.ResponseWriter, r *http.Request, request *catalogRequest) error {
	if err := s.checkDatacenter(request.Datacenter); err != nil {
		return err
	}
	if request.SkipNodeUpdate && s.cfg.Registry.View().Node(request.Node) != nil {
		request.Address = "" // which leaves the node as it is
	}
	registrations, err := request.registrations()
	if err != nil {
		return err
	}
	if err := validate(registrations); err != nil {
		return err // before any of them is done
	}
	for n := range registrations {
		if err := s.cfg.Registry.Register(r.Context(), registrations[n]); err != nil {
			return err
		}
		for _, text := range registrations[n].Notices() {
			w.Header().Add("X-Rollcall-Notice", text)
		}
	}
	return reply(w, r, true)
}

func validate(registrations []registry.Registration) error {
	for n := range registrations {
		if err := registrations[n].Validate(); err != nil {
			return err
		}
	}
	return nil
}

// checkDatacenter refuses a write that is meant for somewhere else.
func (s *Server) checkDatacenter(name string) error {
	if name == "" || strings.EqualFold(name, s.cfg.Datacenter) {
		return nil
	}
	return badField("Datacenter", fmt.Sprintf("is %.80q, and this is %q", name, s.cfg.Datacenter))
}

// catalogDeregistration names a check, an instance, or a node and all that is on it.
type catalogDeregistration struct {
	Node, ServiceID, CheckID, Datacenter string

	Namespace, Partition, PeerName unsupported
	Address                        ignored
}

// catalogDeregister removes what is named; what is not there is as it should be.
func (s *Server) catalogDeregister(w http.ResponseWriter, r *http.Request, request *catalogDeregistration) error {
	if request.Node == "" {
		return badField("Node", "is missing")
	}
	if err := s.checkDatacenter(request.Datacenter); err != nil {
		return err
	}
	err := s.cfg.Registry.Deregister(r.Context(), registry.Deregistration{
		Node: request.Node, InstanceID: request.ServiceID, CheckID: request.CheckID,
	})
	if err != nil && registry.CodeOf(err) != registry.NotFound {
		return err
	}
	return reply(w, r, true)
}
