package admin

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

// sees tells whether the token may see a service; nil, as none is asked for, may
// see all.
func (t *Token) sees(service string) bool { return t == nil || t.covers(service) }

// seesAll tells whether there is nothing that the token may not see.
func (t *Token) seesAll() bool { return t == nil || len(t.Services) == 0 }

// inSight leaves of what a reply shows that which the caller's token may see: its
// services, and nodes without their own checks. What is left out a header tells of, as
// Consul's does. All replies come through here, and one of which it is not said below
// what it shows is kept back: no route can forget to ask.
func inSight(w http.ResponseWriter, t *Token, value any) (any, error) {
	if t.seesAll() {
		return value, nil
	}
	t.withoutTargets(value)
	less := func(n, of int) {
		if n < of {
			w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
		}
	}
	switch v := value.(type) {
	case nil, bool, string, []string, []any, map[string]any, map[string]string, []*Node, Overview, LogLevel, hourOfTraffic:
		return value, nil
	case map[string][]string:
		n := len(v)
		maps.DeleteFunc(v, func(service string, _ []string) bool { return !t.covers(service) })
		less(len(v), n)
		return v, nil
	case map[string]*AgentService:
		n := len(v)
		maps.DeleteFunc(v, func(_ string, s *AgentService) bool { return !t.covers(s.Service) })
		less(len(v), n)
		return v, nil
	case map[string]*HealthCheck:
		n := len(v)
		maps.DeleteFunc(v, func(_ string, c *HealthCheck) bool { return !t.covers(c.ServiceName) })
		less(len(v), n)
		return v, nil
	case []*CatalogService:
		kept := only(v, func(s *CatalogService) bool { return t.covers(s.ServiceName) })
		less(len(kept), len(v))
		return kept, nil
	case []*ServiceEntry:
		kept := only(v, func(e *ServiceEntry) bool { return t.covers(e.Service.Service) })
		less(len(kept), len(v))
		return kept, nil
	case []*HealthCheck:
		kept := only(v, func(c *HealthCheck) bool { return t.covers(c.ServiceName) })
		less(len(kept), len(v))
		return kept, nil
	case *nodeServices:
		n := len(v.Services)
		maps.DeleteFunc(v.Services, func(_ string, s *AgentService) bool { return !t.covers(s.Service) })
		less(len(v.Services), n)
		return v, nil
	case *nodeServiceList:
		n := len(v.Services)
		v.Services = only(v.Services, func(s *AgentService) bool { return t.covers(s.Service) })
		less(len(v.Services), n)
		return v, nil
	case []targetGroup:
		return only(v, func(g targetGroup) bool { return t.covers(g.Labels["__meta_rollcall_service"]) }), nil
	case []ServiceSummary:
		return only(v, func(s ServiceSummary) bool { return t.covers(s.Name) }), nil
	case *AgentService:
		if t.covers(v.Service) {
			return v, nil
		}
	case agentHealth:
		if v.Service == nil || t.covers(v.Service.Service) { // nil: there is none, or none to see
			return v, nil
		}
	case []agentHealth:
		if !slices.ContainsFunc(v, func(h agentHealth) bool { return !t.covers(h.Service.Service) }) {
			return v, nil
		}
	case ServiceDetail:
		if t.covers(v.Name) {
			return v, nil
		}
	}
	return nil, registry.Errorf(registry.Forbidden, "the token %s may see %s, and not this", t.Name, t.extent())
}

// withoutTargets leaves of the outputs in a reply what rollcall says itself, and not what
// the targets of checks said to it, for a caller who may not see everything.
func (t *Token) withoutTargets(value any) {
	if t.seesAll() {
		return
	}
	switch v := value.(type) {
	case *HealthCheck:
		v.Output = t.ownWords(v.Output)
	case []*HealthCheck:
		for _, c := range v {
			t.withoutTargets(c)
		}
	case map[string]*HealthCheck:
		for _, c := range v {
			t.withoutTargets(c)
		}
	case *ServiceEntry:
		t.withoutTargets(v.Checks)
	case []*ServiceEntry:
		for _, e := range v {
			t.withoutTargets(e)
		}
	case *CatalogService:
		t.withoutTargets(v.Checks)
	case []*CatalogService:
		for _, s := range v {
			t.withoutTargets(s)
		}
	case agentHealth:
		t.withoutTargets(v.Checks)
	case []agentHealth:
		for _, h := range v {
			t.withoutTargets(h)
		}
	case ServiceDetail:
		for _, i := range v.Instances {
			for n := range i.Checks {
				i.Checks[n].Output = t.ownWords(i.Checks[n].Output)
			}
		}
	}
}

// ownWords returns of a check's output what the caller may see.
func (t *Token) ownWords(output string) string {
	if t.seesAll() {
		return output
	}
	own, _, _ := strings.Cut(output, registry.TargetSays)
	return own
}

// only returns the elements of which keep says so, in the memory of all.
func only[T any](all []T, keep func(T) bool) []T {
	return slices.DeleteFunc(all, func(e T) bool { return !keep(e) })
}

// inSight tells whether the token may see an event, and leaves of it what it may. An
// instance that has become one of another service is gone from the one that is seen.
func (c *change) inSight(t *Token) bool {
	switch {
	case t.seesAll(), c.Service == nil:
		return true
	case t.covers(c.Service.Service):
		if !t.covers(c.Former) {
			c.Former = ""
		}
		return true
	case t.covers(c.Former):
		c.Service = &AgentService{ID: c.Service.ID, Service: c.Former, Datacenter: c.Service.Datacenter}
		c.Former, c.Status, c.Gone = "", "", true
		return true
	}
	return false
}
