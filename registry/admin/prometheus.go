package admin

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

// targetGroup is an element of what Prometheus's http_sd_configs read.
type targetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// prometheusTargets lists the instances, or those of one service, as targets.
// The critical ones are there, too: a target that is down is news.
func (s *Server) prometheusTargets(w http.ResponseWriter, r *http.Request) error {
	sel, err := s.selected(r)
	if err != nil {
		return err
	}
	v := s.cfg.Registry.View()
	groups := []targetGroup{}
	name := r.URL.Query().Get("service")
	for service := range v.Services() {
		if name != "" && !strings.EqualFold(name, service.Name) {
			continue
		}
		for _, i := range service.Instances {
			if i.Port > 0 && sel.matches(v, i) {
				groups = append(groups, newTargetGroup(v, i))
			}
		}
	}
	return reply(w, r, groups)
}

func newTargetGroup(v *registry.View, i *registry.Instance) targetGroup {
	address := i.Address
	if n := v.Node(i.Node); address == "" && n != nil {
		address = n.Address
	}
	labels := map[string]string{
		"__meta_rollcall_service":    i.Service,
		"__meta_rollcall_service_id": i.ID,
		"__meta_rollcall_node":       i.Node,
		"__meta_rollcall_dc":         v.Datacenter(),
		"__meta_rollcall_health":     v.StatusOf(i).String(),
		"__meta_rollcall_tags":       "," + strings.Join(i.Tags, ",") + ",",
	}
	for key, value := range i.Meta {
		labels["__meta_rollcall_service_metadata_"+labelName(key)] = value
	}
	return targetGroup{Targets: []string{net.JoinHostPort(address, strconv.Itoa(i.Port))}, Labels: labels}
}

// labelName makes text a part of a label's name.
func labelName(text string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, text)
}
