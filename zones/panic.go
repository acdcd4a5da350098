package zones

import (
	"fmt"

	"github.com/rollcall-dns/rollcall/registry"
)

// Where most instances of a service turn critical, the one who looks at them is as
// likely to be in trouble as they are. With a Config that says so, such a service is
// answered as if no check had been made: clients then find out for themselves. An
// instance in maintenance stays out, and so does a service of one instance.

// endpointsOf returns the endpoints that a service is answered with, and whether
// that is all of them for this reason.
func (z *Zones) endpointsOf(v *registry.View, s *registry.Service) (endpoints []registry.Endpoint, panics bool) {
	endpoints = v.Endpoints(s, z.config.OnlyPassing)
	if z.config.PanicBelow == 0 || len(s.Instances) < 2 || len(endpoints)*100 >= len(s.Instances)*z.config.PanicBelow {
		return endpoints, false
	}
	all := v.AllEndpoints(s)
	if len(endpoints)*100 >= len(all)*z.config.PanicBelow {
		return endpoints, false // the others are in maintenance
	}
	return all, true
}

// Panicking returns how many services are answered as if no check had been made.
func (z *Zones) Panicking(v *registry.View) (n int) {
	if z.config.PanicBelow == 0 {
		return 0
	}
	for s := range v.Services() {
		if _, panics := z.endpointsOf(v, s); panics {
			n++
		}
	}
	return n
}

// panicNote says so in an answer.
func (r *resolution) panicNote(s *registry.Service) string {
	fit := len(r.v.Endpoints(s, r.z.config.OnlyPassing))
	return fmt.Sprintf("only %d of %d instances of %s are well, which is too few to believe", fit, len(s.Instances), lower(s.Name))
}
