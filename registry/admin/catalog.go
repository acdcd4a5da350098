package admin

import (
	"net/http"
	"slices"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

// selection is what the parameters of a read narrow it to.
type selection struct {
	tags     []string
	nodeMeta map[string]string
	passing  bool
}

// selected reads the parameters that narrow a read. Those that choose between
// servers, such as stale and near, choose nothing here.
func (s *Server) selected(r *http.Request) (sel selection, err error) {
	query := r.URL.Query()
	if dc := query.Get("dc"); dc != "" && !strings.EqualFold(dc, s.cfg.Datacenter) {
		return sel, registry.Errorf(registry.NotFound, "there is no datacenter %q here, only %q", dc, s.cfg.Datacenter)
	}
	sel = selection{tags: query["tag"], passing: truthy(r, "passing")}
	for _, pair := range query["node-meta"] {
		key, value, _ := strings.Cut(pair, ":")
		if sel.nodeMeta == nil {
			sel.nodeMeta = make(map[string]string)
		}
		sel.nodeMeta[key] = value
	}
	return sel, nil
}

func (sel *selection) matchesNode(n *registry.Node) bool {
	for key, value := range sel.nodeMeta {
		if n == nil || n.Meta[key] != value {
			return false
		}
	}
	return true
}

func (sel *selection) matches(v *registry.View, i *registry.Instance) bool {
	for _, tag := range sel.tags {
		if tag != "" && !i.HasTag(tag) {
			return false
		}
	}
	return sel.matchesNode(v.Node(i.Node)) && (!sel.passing || v.StatusOf(i) == registry.Passing)
}

func (s *Server) catalogServices(w http.ResponseWriter, r *http.Request) error {
	sel, err := s.selected(r)
	if err != nil {
		return err
	}
	return s.blocking(w, r, func(v *registry.View) (result, error) {
		services := make(map[string][]string)
		for service := range v.Services() {
			tags, matched := []string{}, false
			for _, i := range service.Instances {
				if sel.matchesNode(v.Node(i.Node)) {
					matched = true
					tags = append(tags, i.Tags...)
				}
			}
			if matched {
				slices.Sort(tags)
				services[service.Name] = slices.Compact(tags)
			}
		}
		return result{services, v.ServicesIndex(), v.ServicesStamp()}, nil
	})
}

// ofService reads the instances of a service, each as make shows it.
func ofService[T any](v *registry.View, name string, sel *selection, make func(*registry.View, *registry.Instance) T) result {
	found := []T{}
	service := v.Service(name)
	if service == nil {
		return result{found, v.ServicesIndex(), v.ServicesStamp()}
	}
	for _, i := range service.Instances {
		if sel.matches(v, i) {
			found = append(found, make(v, i))
		}
	}
	return result{found, service.Index, service.Stamp}
}

func (s *Server) catalogService(w http.ResponseWriter, r *http.Request) error {
	sel, err := s.selected(r)
	if err != nil {
		return err
	}
	sel.passing = false
	return s.blocking(w, r, func(v *registry.View) (result, error) {
		return ofService(v, r.PathValue("name"), &sel, newCatalogService), nil
	})
}

func (s *Server) catalogNodes(w http.ResponseWriter, r *http.Request) error {
	sel, err := s.selected(r)
	if err != nil {
		return err
	}
	return s.blocking(w, r, func(v *registry.View) (result, error) {
		nodes := []*Node{}
		for n := range v.Nodes() {
			if sel.matchesNode(n) {
				nodes = append(nodes, newNode(v, n))
			}
		}
		return result{nodes, v.NodesIndex(), v.NodesStamp()}, nil
	})
}

// nodeServices is a node with its services by ID, nodeServiceList with a list of them.
type (
	nodeServices struct {
		Node     *Node
		Services map[string]*AgentService
	}
	nodeServiceList struct {
		Node     *Node
		Services []*AgentService
	}
)

// catalogNode shows a node with its services by ID; null where there is none, as
// Consul has it.
func (s *Server) catalogNode(w http.ResponseWriter, r *http.Request) error {
	return s.blocking(w, r, func(v *registry.View) (result, error) {
		n := v.Node(r.PathValue("name"))
		if n == nil {
			return result{nil, v.Index(), v.Stamp()}, nil
		}
		services := make(map[string]*AgentService)
		for i := range v.InstancesOn(n.Name) {
			services[i.ID] = newAgentService(v, i)
		}
		return result{&nodeServices{newNode(v, n), services}, v.Index(), v.Stamp()}, nil
	})
}

func (s *Server) catalogNodeServices(w http.ResponseWriter, r *http.Request) error {
	return s.blocking(w, r, func(v *registry.View) (result, error) {
		n := v.Node(r.PathValue("name"))
		if n == nil {
			return result{nil, v.Index(), v.Stamp()}, nil
		}
		services := []*AgentService{}
		for i := range v.InstancesOn(n.Name) {
			services = append(services, newAgentService(v, i))
		}
		return result{&nodeServiceList{newNode(v, n), services}, v.Index(), v.Stamp()}, nil
	})
}

func (s *Server) catalogDatacenters(w http.ResponseWriter, r *http.Request) error {
	return reply(w, r, []string{s.cfg.Datacenter})
}
