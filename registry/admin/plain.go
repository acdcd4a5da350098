package admin

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

//go:embed plain.html
var plainTemplate string

// Bounds on what the page shows of a large registry. What is worst comes first.
const (
	plainServices  = 200 // services
	plainInstances = 50  // instances of each
)

// plainPage is the page for those whose browser runs no script: what is
// registered, what is ill first. It loads nothing from anywhere.
type plainPage struct {
	template *template.Template
	policy   string // Content-Security-Policy, which lets through the page's own style alone
}

func newPlainPage() (*plainPage, error) {
	page, err := template.New("plain").Parse(plainTemplate)
	if err != nil {
		return nil, fmt.Errorf("reading the template of the page: %w", err)
	}
	_, rest, _ := strings.Cut(plainTemplate, "<style>")
	style, _, ok := strings.Cut(rest, "</style>")
	if !ok {
		return nil, errors.New("the template of the page has no style")
	}
	sum := sha256.Sum256([]byte(style))
	return &plainPage{page, "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"}, nil
}

// plainView is what the page shows.
type plainView struct {
	Node, Datacenter, Version, Zone string
	Filter                          string // part of a service's name
	Index                           uint64
	Unready                         string          // why clients should go elsewhere
	Found                           int             // services
	Counts                          plainCounts     // of their instances
	Services                        []*plainService // those that are shown
	More                            int             // how many are not
}

type plainCounts struct{ Passing, Warning, Critical int }

// Total returns the number of instances.
func (c plainCounts) Total() int { return c.Passing + c.Warning + c.Critical }

type plainService struct {
	Name      string
	Counts    plainCounts
	Instances []plainInstance
	More      int // instances that are not shown
	service   *registry.Service
}

type plainInstance struct {
	ID, Node    string
	Address     string // with the port, if it has one
	Status      registry.Status
	Maintenance bool
	Tags        []string
	Says        string // what the check says that makes it so
}

func (s *Server) plain(w http.ResponseWriter, r *http.Request) error {
	v := s.cfg.Registry.View()
	shown := plainView{
		Node: s.cfg.Node, Datacenter: s.cfg.Datacenter, Version: s.cfg.Version, Zone: strings.Trim(s.cfg.Zone, "."),
		Filter: r.URL.Query().Get("q"), Index: v.Index(),
	}
	if s.cfg.Ready != nil {
		if err := s.cfg.Ready(); err != nil {
			shown.Unready = err.Error()
		}
	}
	shown.addServices(v, callerOf(r.Context()))
	var page bytes.Buffer
	if err := s.plainly.template.Execute(&page, shown); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", s.plainly.policy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	_, _ = w.Write(page.Bytes())
	return nil
}

func (h *plainView) addServices(v *registry.View, caller *Token) {
	for service := range v.Services() {
		if !caller.sees(service.Name) || !strings.Contains(strings.ToLower(service.Name), strings.ToLower(h.Filter)) {
			continue
		}
		s := &plainService{Name: service.Name, service: service}
		for _, i := range service.Instances {
			s.Counts.add(v.StatusOf(i))
			h.Counts.add(v.StatusOf(i))
		}
		h.Services = append(h.Services, s)
	}
	slices.SortStableFunc(h.Services, func(a, b *plainService) int {
		return cmp.Or(cmp.Compare(b.Counts.Critical, a.Counts.Critical), cmp.Compare(b.Counts.Warning, a.Counts.Warning))
	})
	h.Found = len(h.Services)
	if h.More = h.Found - plainServices; h.More > 0 {
		h.Services = h.Services[:plainServices]
	}
	for _, s := range h.Services {
		s.addInstances(v, caller)
	}
}

func (c *plainCounts) add(s registry.Status) {
	switch s {
	case registry.Passing:
		c.Passing++
	case registry.Warning:
		c.Warning++
	default:
		c.Critical++
	}
}

func (s *plainService) addInstances(v *registry.View, caller *Token) {
	instances := slices.Clone(s.service.Instances)
	slices.SortStableFunc(instances, func(a, b *registry.Instance) int { return cmp.Compare(v.StatusOf(b), v.StatusOf(a)) })
	if s.More = len(instances) - plainInstances; s.More > 0 {
		instances = instances[:plainInstances]
	}
	for _, i := range instances {
		s.Instances = append(s.Instances, newPlainInstance(v, i, caller))
	}
}

func newPlainInstance(v *registry.View, i *registry.Instance, caller *Token) plainInstance {
	h := plainInstance{
		ID: i.ID, Node: i.Node, Address: i.Address, Tags: i.Tags, Status: v.StatusOf(i), Maintenance: i.InMaintenance(),
	}
	checks := i.Checks
	if n := v.Node(i.Node); n != nil {
		h.Address = cmp.Or(h.Address, n.Address)
		checks = slices.Concat(checks, n.Checks)
	}
	if i.Port > 0 {
		h.Address = net.JoinHostPort(h.Address, strconv.Itoa(i.Port))
	}
	for _, c := range checks {
		if c.Status == h.Status && h.Status != registry.Passing && h.Says == "" {
			h.Says = cmp.Or(caller.ownWords(c.Output), c.Notes, c.Name)
		}
	}
	return h
}
