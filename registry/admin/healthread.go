package admin

import (
	"net/http"

	"github.com/rollcall-dns/rollcall/registry"
)

func (s *Server) healthService(w http.ResponseWriter, r *http.Request) error {
	sel, err := s.selected(r)
	if err != nil {
		return err
	}
	return ofService(s, w, r, &sel, newServiceEntry)
}

func (s *Server) healthNode(w http.ResponseWriter, r *http.Request) error {
	if err := s.isHere(r); err != nil {
		return err
	}
	f, err := newFilter[*HealthCheck](r)
	if err != nil {
		return err
	}
	return s.blocking(w, r, func(v *registry.View) (result, error) {
		checks := []*HealthCheck{}
		if n := v.Node(r.PathValue("name")); n != nil {
			for _, c := range n.Checks {
				checks = append(checks, newHealthCheck(v, c))
			}
			for i := range v.InstancesOn(n.Name) {
				for _, c := range i.Checks {
					checks = append(checks, newHealthCheck(v, c))
				}
			}
		}
		checks, err := f.list(checks)
		return result{checks, v.Index(), v.Stamp()}, err
	})
}

func (s *Server) healthChecks(w http.ResponseWriter, r *http.Request) error {
	sel, err := s.selected(r)
	if err != nil {
		return err
	}
	f, err := newFilter[*HealthCheck](r)
	if err != nil {
		return err
	}
	return s.blocking(w, r, func(v *registry.View) (result, error) {
		checks := []*HealthCheck{}
		service := v.Service(r.PathValue("name"))
		if service == nil {
			return result{checks, v.ServicesIndex(), v.ServicesStamp()}, nil
		}
		for _, i := range service.Instances {
			if !sel.matchesNode(v.Node(i.Node)) {
				continue
			}
			for _, c := range i.Checks {
				checks = append(checks, newHealthCheck(v, c))
			}
		}
		checks, err := f.list(checks)
		return result{checks, service.Index, service.Stamp}, err
	})
}

func (s *Server) healthState(w http.ResponseWriter, r *http.Request) error {
	sel, err := s.selected(r)
	if err != nil {
		return err
	}
	state := r.PathValue("state")
	if _, err := registry.ParseStatus(state); err != nil && state != "any" {
		return badRequest("the state %q is none of any, passing, warning and critical", state)
	}
	f, err := newFilter[*HealthCheck](r)
	if err != nil {
		return err
	}
	return s.blocking(w, r, func(v *registry.View) (result, error) {
		checks := []*HealthCheck{}
		add := func(of []*registry.Check) {
			for _, c := range of {
				if state == "any" || c.Status.String() == state {
					checks = append(checks, newHealthCheck(v, c))
				}
			}
		}
		for n := range v.Nodes() {
			if !sel.matchesNode(n) {
				continue
			}
			add(n.Checks)
			for i := range v.InstancesOn(n.Name) {
				add(i.Checks)
			}
		}
		checks, err := f.list(checks)
		return result{checks, v.Index(), v.Stamp()}, err
	})
}
