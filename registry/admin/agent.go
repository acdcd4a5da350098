package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// serviceRequest is an instance as the agent's API takes it.
type serviceRequest struct {
	ID, Name, Address string
	Tags              []string
	Port              int
	Ports             []registry.Port
	TaggedAddresses   map[string]registry.TaggedAddress
	Meta              map[string]string
	Weights           *registry.Weights
	EnableTagOverride bool
	Check             *checkRequest
	Checks            []*checkRequest

	Kind, Proxy, Connect, SocketPath, AI unsupported
	Namespace, Partition, Locality       unsupported
	Token                                ignored
}

func (s *serviceRequest) registration() (r registry.Registration, err error) {
	r.Instance = &registry.Instance{
		ID: s.ID, Service: s.Name, Tags: s.Tags, Address: s.Address, TaggedAddresses: s.TaggedAddresses,
		Port: s.Port, Ports: s.Ports, Meta: s.Meta, EnableTagOverride: s.EnableTagOverride,
	}
	if s.Weights != nil {
		if r.Instance.Weights = *s.Weights; r.Instance.Weights == (registry.Weights{}) { // which is not the same as none
			return r, badField("Weights.Passing", "is 0, and must be 1 to 65535")
		}
	}
	add := func(c *checkRequest, path string) error {
		check, err := c.registry(path)
		check.InstanceID = "" // that of the instance beside it
		r.Checks = append(r.Checks, check)
		return err
	}
	if s.Check != nil && !reflect.ValueOf(s.Check).Elem().IsZero() { // some clients send {} for none
		if err := add(s.Check, "Check"); err != nil {
			return r, err
		}
	}
	for n, c := range s.Checks {
		if err := add(c, fmt.Sprintf("Checks[%d]", n)); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (s *Server) registerService(w http.ResponseWriter, r *http.Request, request *serviceRequest) error {
	registration, err := request.registration()
	if err != nil {
		return err
	}
	registration.ReplaceChecks = truthy(r, "replace-existing-checks")
	registration.If = s.condition(r, cmp.Or(request.ID, request.Name))
	if err := s.cfg.Registry.Register(r.Context(), registration); err != nil {
		return err
	}
	notice(w, registration.Notices())
	return nil
}

// notice tells what of a registration cannot be found by a DNS name.
func notice(w http.ResponseWriter, notices []string) {
	for _, text := range notices {
		w.Header().Add("X-Rollcall-Notice", text)
	}
	for _, text := range notices {
		fmt.Fprintln(w, text)
	}
}

func (s *Server) deregisterService(_ http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	return s.cfg.Registry.Deregister(r.Context(), registry.Deregistration{InstanceID: id, If: s.condition(r, id)})
}

// These are Consul's texts for a maintenance of which nobody said why.
const (
	noReason     = "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
	noReasonNode = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
)

// maintainService takes an instance out of the answers, or puts it back.
func (s *Server) maintainService(_ http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if s.cfg.Registry.View().Instance(s.cfg.Node, id) == nil {
		return unknownService(id)
	}
	return s.maintain(r, registry.Check{ID: registry.ServiceMaintenancePrefix + id, Name: "Service Maintenance Mode", Notes: noReason, InstanceID: id})
}

// maintainNode takes the own node out of the answers, with all its instances, or puts
// it back.
func (s *Server) maintainNode(_ http.ResponseWriter, r *http.Request) error {
	return s.maintain(r, registry.Check{ID: registry.NodeMaintenance, Name: "Node Maintenance Mode", Notes: noReasonNode})
}

// maintain registers a check that is critical for as long as the maintenance lasts.
func (s *Server) maintain(r *http.Request, c registry.Check) error {
	enable, err := strconv.ParseBool(r.URL.Query().Get("enable"))
	if err != nil {
		return badRequest("the parameter enable must be true or false")
	}
	c.Until, err = endOfMaintenance(r, enable)
	if err != nil {
		return err
	}
	if !enable {
		err := s.cfg.Registry.Deregister(r.Context(), registry.Deregistration{CheckID: c.ID})
		if registry.CodeOf(err) == registry.NotFound {
			return nil // it was not in maintenance
		}
		return err
	}
	c.Notes = cmp.Or(r.URL.Query().Get("reason"), c.Notes)
	c.Type, c.Status = "maintenance", registry.Critical
	return s.cfg.Registry.Register(r.Context(), registry.Registration{Checks: []registry.Check{c}})
}

// longestMaintenance is how far its end may be away. What takes longer has no end that
// anybody could know.
const longestMaintenance = 30 * 24 * time.Hour

// endOfMaintenance returns when a maintenance that begins now ends, after the parameter
// for; zero: when somebody ends it.
func endOfMaintenance(r *http.Request, enable bool) (time.Time, error) {
	query := r.URL.Query()
	if !query.Has("for") {
		return time.Time{}, nil
	}
	if !enable {
		return time.Time{}, badRequest("the parameter for says how long a maintenance lasts, and enable=false ends it now")
	}
	lasts, err := time.ParseDuration(query.Get("for"))
	if err != nil || lasts < time.Second || lasts > longestMaintenance {
		return time.Time{}, badRequest("the parameter for must be a duration such as 2h, from 1s to 720h, and not %.80q", query.Get("for"))
	}
	return time.Now().Add(lasts).UTC().Truncate(time.Second), nil
}

func (s *Server) registerCheck(_ http.ResponseWriter, r *http.Request, request *checkRequest) error {
	if request.ID == "" && request.CheckID == "" && request.Name == "" {
		return badField("Name", "of the check is missing")
	}
	check, err := request.registry("Check")
	if err != nil {
		return err
	}
	return s.cfg.Registry.Register(r.Context(), registry.Registration{Checks: []registry.Check{check}})
}

func (s *Server) deregisterCheck(_ http.ResponseWriter, r *http.Request) error {
	return s.cfg.Registry.Deregister(r.Context(), registry.Deregistration{CheckID: r.PathValue("id")})
}

// heartbeat sets the status that its path says.
func (s *Server) heartbeat(status registry.Status) handler {
	return func(_ http.ResponseWriter, r *http.Request) error {
		return s.setStatus(r, status, r.URL.Query().Get("note"))
	}
}

// checkUpdate is a heartbeat that says how the check is.
type checkUpdate struct {
	Status registry.Status
	Output string
}

func (s *Server) updateCheck(_ http.ResponseWriter, r *http.Request, update *checkUpdate) error {
	if update.Status == 0 {
		return badField("Status", "is missing: passing, warning or critical")
	}
	return s.setStatus(r, update.Status, update.Output)
}

// maxOutput is how much of a check's output is kept, octets.
const maxOutput = 4 << 10

// setStatus sets the status of a check that has no probe: what a probe finds would
// soon take the place of what anybody says.
func (s *Server) setStatus(r *http.Request, status registry.Status, output string) error {
	id := r.PathValue("id")
	if c := s.cfg.Registry.View().Check(s.cfg.Node, id); c != nil && c.Definition.Probed() {
		return badRequest("check %q does not have a TTL, but a probe: %s", id, c.Definition.Kind())
	}
	return s.cfg.Registry.SetStatus(r.Context(), registry.StatusUpdate{CheckID: id, Status: status, Output: clip(output)})
}

// clip returns what is kept of a check's output.
func clip(output string) string {
	return strings.ToValidUTF8(output[:min(len(output), maxOutput)], "") // the cut may go through a character
}

func unknownService(id string) error {
	return registry.Errorf(registry.NotFound, "Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id)
}

// truthy tells whether a parameter is given and is not false.
func truthy(r *http.Request, name string) bool {
	query := r.URL.Query()
	return query.Has(name) && query.Get(name) != "false" && query.Get(name) != "0"
}
