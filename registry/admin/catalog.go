package admin

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

// selection is what the parameters of a read narrow it to.
type selection struct {
	tags     []string
	nodeMeta map[string]string
	passing  bool
}

// selected reads the parameters that narrow a read.
func (s *Server) selected(r *http.Request) (sel selection, err error) {
	if err := s.isHere(r); err != nil {
		return sel, err
	}
	query := r.URL.Query()
	sel = selection{tags: query["tag"], passing: query.Has("passing")}
	if text := query.Get("passing"); text != "" {
		if sel.passing, err = strconv.ParseBool(text); err != nil {
			return sel, badRequest("Invalid value for ?passing")
		}
	}
	for _, pair := range query["node-meta"] {
		key, value, _ := strings.Cut(pair, ":")
		if sel.nodeMeta == nil {
			sel.nodeMeta = make(map[string]string)
		}
		sel.nodeMeta[key] = value
	}
	return sel, nil
}

// isHere refuses a read of what is elsewhere, rather than to show what is here for
// it. The parameters that choose between servers, such as stale and near, choose
// nothing here.
func (s *Server) isHere(r *http.Request) error {
	query := r.URL.Query()
	if dc := query.Get("dc"); dc != "" && !strings.EqualFold(dc, s.cfg.Datacenter) {
		return registry.Errorf(registry.NotFound, "there is no datacenter %q here, only %q", dc, s.cfg.Datacenter)
	}
	for _, part := range []struct{ parameter, kind string }{{"ns", "namespace"}, {"partition", "partition"}} {
		if name := query.Get(part.parameter); name != "" && !strings.EqualFold(name, "default") {
			return badRequest("there is no %s %q here, only \"default\"", part.kind, name)
		}
	}
	if peer := query.Get("peer"); peer != "" {
		return badRequest("there is no peer %q: rollcall has none", peer)
	}
	if query.Has("stale") && query.Has("consistent") {
		return badRequest("Cannot specify ?stale with ?consistent, conflicting semantics.")
	}
	return nil
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
	f, err := newFilter[*CatalogService](r)
	if err != nil {
		return err
	}
	return s.blocking(w, r, func(v *registry.View) (result, error) {
		services := make(map[string][]string)
		for service := range v.Services() {
			tags, matched := []string{}, false
			for _, i := range service.Instances {
				if !sel.matchesNode(v.Node(i.Node)) {
					continue
				}
				if f != nil {
					if keep, err := f.keeps(newCatalogService(v, i)); err != nil || !keep {
						if err != nil {
							return result{}, err
						}
						continue
					}
				}
				matched = true
				tags = append(tags, i.Tags...)
			}
			if matched {
				slices.Sort(tags)
				services[service.Name] = slices.Compact(tags)
			}
		}
		if f != nil || len(sel.nodeMeta) > 0 { // what they choose by moves no list of services
			return result{services, v.ContentIndex(), v.Stamp()}, nil
		}
		return result{services, v.ServicesIndex(), v.ServicesStamp()}, nil
	})
}

// ofService answers with the instances of a service, each as make shows it.
func ofService[T any](s *Server, w http.ResponseWriter, r *http.Request, sel *selection, make func(*registry.View, *registry.Instance) T) error {
	f, err := newFilter[T](r)
	if err != nil {
		return err
	}
	return s.blocking(w, r, func(v *registry.View) (result, error) {
		found := []T{}
		service := v.Service(r.PathValue("name"))
		if service == nil {
			return result{found, v.ServicesIndex(), v.ServicesStamp()}, nil
		}
		for _, i := range service.Instances {
			if sel.matches(v, i) {
				found = append(found, make(v, i))
			}
		}
		found, err := f.list(found)
		return result{found, service.Index, service.Stamp}, err
	})
}

func (s *Server) catalogService(w http.ResponseWriter, r *http.Request) error {
	sel, err := s.selected(r)
	if err != nil {
		return err
	}
	sel.passing = false
	return ofService(s, w, r, &sel, newCatalogService)
}

func (s *Server) catalogNodes(w http.ResponseWriter, r *http.Request) error {
	sel, err := s.selected(r)
	if err != nil {
		return err
	}
	f, err := newFilter[*Node](r)
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
		nodes, err := f.list(nodes)
		return result{nodes, v.NodesIndex(), v.NodesStamp()}, err
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
// Consul has it. A filter chooses between the services.
func (s *Server) catalogNode(w http.ResponseWriter, r *http.Request) error {
	if err := s.isHere(r); err != nil {
		return err
	}
	f, err := newFilter[*AgentService](r)
	if err != nil {
		return err
	}
	return s.blocking(w, r, func(v *registry.View) (result, error) {
		n := v.Node(r.PathValue("name"))
		if n == nil {
			return result{nil, v.Index(), v.Stamp()}, nil
		}
		services := make(map[string]*AgentService)
		for i := range v.InstancesOn(n.Name) {
			services[i.ID] = newAgentService(v, i)
		}
		services, err := f.table(services)
		return result{&nodeServices{newNode(v, n), services}, v.Index(), v.Stamp()}, err
	})
}

func (s *Server) catalogNodeServices(w http.ResponseWriter, r *http.Request) error {
	if err := s.isHere(r); err != nil {
		return err
	}
	f, err := newFilter[*AgentService](r)
	if err != nil {
		return err
	}
	return s.blocking(w, r, func(v *registry.View) (result, error) {
		n := v.Node(r.PathValue("name"))
		if n == nil {
			return result{nil, v.Index(), v.Stamp()}, nil
		}
		services := []*AgentService{}
		for i := range v.InstancesOn(n.Name) {
			services = append(services, newAgentService(v, i))
		}
		services, err := f.list(services)
		return result{&nodeServiceList{newNode(v, n), services}, v.Index(), v.Stamp()}, err
	})
}

func (s *Server) catalogDatacenters(w http.ResponseWriter, r *http.Request) error {
	return reply(w, r, []string{s.cfg.Datacenter})
}
