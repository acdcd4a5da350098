package zones

import (
	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// enter turns to the View of the datacenter that labels name, which is another
// one; what is said then is said there. ok is false, and a the answer, where that
// cannot be.
func (r *resolution) enter(labels []string) (a *Answer, ok bool) {
	v, known := r.datacenter(labels)
	switch {
	case !known:
		return r.noName(r.because("").labels(labels...).text(" is no datacenter that is known here")), false
	case v == nil:
		return r.notYet(r.because("nobody has asked for the datacenter ").labels(labels[0]).text(" before: it is being asked for now")), false
	}
	r.v = v
	return nil, true
}

// elsewhere answers for the name of another datacenter, which others end in.
func (r *resolution) elsewhere(labels []string) *Answer {
	if _, known := r.datacenter(labels); !known {
		return r.formless(labels)
	}
	if r.port != "" { // which is for that datacenter to know
		if a, ok := r.enter(labels); !ok {
			return a
		}
	}
	a := r.nonTerminal(nil)
	a.Cacheable = false // nothing tells when it is gone
	return a
}

// datacenter returns the View of another datacenter, named DC or DC.dc, and
// whether there is one.
func (r *resolution) datacenter(labels []string) (v *registry.View, known bool) {
	if len(labels) == 2 && labels[1] == "dc" {
		labels = labels[:1]
	}
	if r.v.Elsewhere() == nil || len(labels) != 1 {
		return nil, false
	}
	return r.v.Elsewhere().Datacenter(labels[0])
}

// query answers for QUERY.query and _QUERY._tcp.query: with what the prepared
// query finds.
func (r *resolution) query(labels []string) *Answer {
	n := len(labels)
	if n == 0 {
		return r.nonTerminal(nil)
	}
	if n == 2 && labels[1] == "_tcp" && len(labels[0]) > 1 && labels[0][0] == '_' {
		labels = []string{labels[0][1:]}
	}
	name, ok := r.join(labels)
	if !ok || r.v.Elsewhere() == nil {
		return r.noQuery(labels)
	}
	v, known := r.v.Elsewhere().Query(name)
	switch {
	case !known && (r.v.Elsewhere().HasQueryBelow(name) || name == "_tcp"):
		a := r.nonTerminal(nil)
		a.Cacheable = false // nothing tells when that ends
		return a
	case !known:
		return r.noQuery(labels)
	case v == nil:
		return r.notYet(r.because("the prepared query ").labels(labels...).text(" was not executed before: it is now"))
	}
	r.v = v
	s := v.Service(name)
	if s == nil {
		a := r.noData(nil, "the prepared query "+show(labels...)+" finds no instance")
		a.Cacheable = false // another View may take the place of this one
		return a
	}
	return r.instances(s, nil, s.Stamp)
}

func (r *resolution) noQuery(labels []string) *Answer {
	return r.noName(r.because("no prepared query ").labels(labels...).text(" is registered"))
}

// notYet answers that nothing is known yet, where that is being changed by the
// question.
func (r *resolution) notYet(why sentence) *Answer {
	return &Answer{Rcode: dns.RcodeServerFailure, Zone: r.zone, Explanation: EDE{dns.ExtendedErrorCodeNotReady, string(why)}}
}
