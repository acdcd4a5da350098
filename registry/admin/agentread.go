package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

func (s *Server) agentServices(w http.ResponseWriter, r *http.Request) error {
	v := s.cfg.Registry.View()
	services := make(map[string]*AgentService)
	for i := range v.InstancesOn(s.cfg.Node) {
		services[i.ID] = newAgentService(v, i)
	}
	return replyTable(w, r, services)
}

func (s *Server) agentChecks(w http.ResponseWriter, r *http.Request) error {
	v := s.cfg.Registry.View()
	checks := make(map[string]*HealthCheck)
	if n := v.Node(s.cfg.Node); n != nil {
		for _, c := range n.Checks {
			checks[c.ID] = newHealthCheck(v, c)
		}
	}
	for i := range v.InstancesOn(s.cfg.Node) {
		for _, c := range i.Checks {
			checks[c.ID] = newHealthCheck(v, c)
		}
	}
	return replyTable(w, r, checks)
}

// replyTable answers with what the request's filter keeps of a map.
func replyTable[T any](w http.ResponseWriter, r *http.Request, values map[string]T) error {
	f, err := newFilter[T](r)
	if err != nil {
		return err
	}
	if values, err = f.table(values); err != nil {
		return err
	}
	return reply(w, r, values)
}

// agentService shows one instance. A client that names the hash of what it has
// waits until there is something else.
func (s *Server) agentService(w http.ResponseWriter, r *http.Request) error {
	id, hash := r.PathValue("id"), r.URL.Query().Get("hash")
	_, wait, err := blockingParameters(r)
	if err != nil {
		return err
	}
	over := time.NewTimer(wait)
	defer over.Stop()
	if hash != "" {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + writeTimeout))
	}
	for waiting := hash != ""; ; {
		v := s.cfg.Registry.View()
		i := v.Instance(s.cfg.Node, id)
		if i == nil || !callerOf(r.Context()).sees(i.Service) {
			return unknownService(id)
		}
		shown := newAgentService(v, i)
		if shown.ContentHash, err = contentHash(shown); err != nil {
			return err
		}
		if !waiting || shown.ContentHash != hash {
			w.Header().Set("X-Consul-ContentHash", shown.ContentHash)
			if notModified(w, r, `"`+shown.ContentHash+`"`) {
				return nil
			}
			return reply(w, r, shown)
		}
		select {
		case <-v.Service(i.Service).Stamp.Done():
		case <-over.C:
			waiting = false
		case <-s.closing:
			waiting = false
		case <-r.Context().Done():
			return nil
		}
	}
}

// contentHash is a digest of what a service's owner can change.
func contentHash(service *AgentService) (string, error) {
	content := *service
	content.CreateIndex, content.ModifyIndex = 0, 0
	text, err := json.Marshal(content)
	if err != nil {
		return "", fmt.Errorf("hash the service %s: %w", service.ID, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}

// agentHealth is an instance, its checks and what they come to.
type agentHealth struct {
	AggregatedStatus string
	Service          *AgentService
	Checks           []*HealthCheck
}

func (s *Server) agentHealthByID(w http.ResponseWriter, r *http.Request) error {
	v := s.cfg.Registry.View()
	i := v.Instance(s.cfg.Node, r.PathValue("id"))
	if i == nil || !callerOf(r.Context()).sees(i.Service) {
		return replyNoHealth(w, r, fmt.Sprintf("ServiceId %s not found", r.PathValue("id")), agentHealth{AggregatedStatus: registry.Critical.String()})
	}
	health := newAgentHealth(v, i)
	return replyHealth(w, r, v.StatusOf(i), health.AggregatedStatus, health)
}

func (s *Server) agentHealthByName(w http.ResponseWriter, r *http.Request) error {
	v := s.cfg.Registry.View()
	all, worst, aggregated := []agentHealth{}, registry.Passing, registry.Passing.String()
	if service := v.Service(r.PathValue("name")); service != nil && callerOf(r.Context()).sees(service.Name) {
		for _, i := range service.Instances {
			if i.Node != s.cfg.Node {
				continue
			}
			health := newAgentHealth(v, i)
			if status := v.StatusOf(i); status > worst || len(all) == 0 {
				worst, aggregated = status, health.AggregatedStatus
			}
			all = append(all, health)
		}
	}
	if len(all) == 0 {
		return replyNoHealth(w, r, fmt.Sprintf("ServiceName %s not found", r.PathValue("name")), all)
	}
	return replyHealth(w, r, worst, aggregated, all)
}

// replyNoHealth answers for what is not there: critical, and 404.
func replyNoHealth(w http.ResponseWriter, r *http.Request, text string, value any) error {
	w.Header().Set("X-Consul-Reason", text)
	if r.URL.Query().Get("format") == "text" {
		return registry.Errorf(registry.NotFound, "%s", text)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	return reply(w, r, value)
}

func newAgentHealth(v *registry.View, i *registry.Instance) agentHealth {
	aggregated := v.StatusOf(i).String()
	if v.InMaintenance(i) {
		aggregated = "maintenance"
	}
	return agentHealth{aggregated, newAgentService(v, i), checksOf(v, i)}
}

// replyHealth answers with a status that a load balancer understands.
func replyHealth(w http.ResponseWriter, r *http.Request, status registry.Status, text string, value any) error {
	code := map[registry.Status]int{
		registry.Passing: http.StatusOK, registry.Warning: http.StatusTooManyRequests, registry.Critical: http.StatusServiceUnavailable,
	}[status]
	w.Header().Set("X-Consul-Reason", text)
	if r.URL.Query().Get("format") == "text" {
		w.WriteHeader(code)
		fmt.Fprint(w, text)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	return reply(w, r, value)
}

func (s *Server) agentSelf(w http.ResponseWriter, r *http.Request) error {
	type object = map[string]any
	return reply(w, r, object{
		"Config":      object{"Datacenter": s.cfg.Datacenter, "NodeName": s.cfg.Node, "Server": true, "Version": s.cfg.Version},
		"DebugConfig": object{},
		"Member":      s.member(),
		"Meta":        object{},
	})
}

func (s *Server) agentMembers(w http.ResponseWriter, r *http.Request) error {
	return reply(w, r, []any{s.member()})
}

func (s *Server) member() map[string]any {
	address := ""
	if n := s.cfg.Registry.View().Node(s.cfg.Node); n != nil {
		address = n.Address
	}
	const alive = 1
	return map[string]any{"Name": s.cfg.Node, "Addr": address, "Port": 0, "Tags": map[string]string{"dc": s.cfg.Datacenter, "role": "consul"}, "Status": alive}
}
