package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/rollcall-dns/rollcall/registry"
)

// mostDumped is how many services are written to the log.
const mostDumped = 1000

// followDumps writes the View to the log whenever a signal asks for it, until ctx
// ends: for when nobody gets through to HTTP.
func (s *server) followDumps(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.settings.dumps:
			s.dump()
		}
	}
}

// dump writes what is answered from, the worst services first. The first line is a
// warning, so that most levels show it.
func (s *server) dump() {
	v, log := s.registry.View(), s.settings.logger
	stale := false
	if s.registry.freshness != nil {
		stale = s.registry.freshness().Stale
	}
	log.Warn("the view that is answered from", "index", v.Index(), "services", v.ServicesLen(), "instances", v.InstancesLen(),
		"stale", stale)
	for _, d := range worst(v, mostDumped) {
		log.Info("a service of the view", "service", d.name, "passing", d.by[registry.Passing], "warning", d.by[registry.Warning],
			"critical", d.by[registry.Critical])
	}
	if rest := v.ServicesLen() - mostDumped; rest > 0 {
		log.Info("more services of the view", "left_out", rest)
	}
}

// dumped is a service and how its instances are.
type dumped struct {
	name string
	by   counts
}

// worst returns the services with most critical instances, then those with most
// warnings.
func worst(v *registry.View, most int) (all []dumped) {
	for service := range v.Services() {
		d := dumped{name: service.Name}
		for _, i := range service.Instances {
			d.by[v.StatusOf(i)]++
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b dumped) int {
		return cmp.Or(
			cmp.Compare(b.by[registry.Critical], a.by[registry.Critical]), cmp.Compare(b.by[registry.Warning], a.by[registry.Warning]),
			cmp.Compare(a.name, b.name))
	})
	return all[:min(len(all), most)]
}
