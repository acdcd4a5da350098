package zones

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// browse answers for _services._dns-sd._udp, the list of all services (RFC 6763,
// section 9), and for the name above it.
func (r *resolution) browse(before []string) *Answer {
	switch {
	case r.port != "":
		return r.noPorts()
	case len(before) == 0:
		return r.nonTerminal(nil)
	case len(before) > 1 || before[0] != "_services":
		return r.noName(r.because("no name in ").text(r.zone.Name).text(" has the form of ").labels(before...).text("._dns-sd._udp"))
	case !r.wants(dns.TypePTR):
		return r.noData(nil, "")
	}
	records := make([]Record, 0, r.v.ServicesLen())
	for s := range r.v.Services() {
		// A label holds an underscore and the name, and no name with dots.
		if len(s.Name) > 62 || strings.Contains(s.Name, ".") {
			continue
		}
		b := appendLabel(append(make([]byte, 0, 255), '_'), lower(s.Name))
		ptr := &dns.PTR{Hdr: r.z.header(r.owner, dns.TypePTR), Ptr: string(b) + "._tcp." + r.zone.Name}
		records = append(records, Record{RR: ptr, Weight: 1})
	}
	return r.positive(records, r.v.ServicesStamp())
}

// list answers for _SERVICE._tcp with the instances that may be used, each as
// its ID, which is one label, dots and all.
func (r *resolution) list(s *registry.Service) *Answer {
	endpoints := r.endpoints(s, nil, "")
	if len(endpoints) == 0 {
		return r.none(s, s.Stamp)
	}
	seen := make(map[string]bool, len(endpoints))
	records := make([]Record, 0, len(endpoints))
	for _, e := range endpoints {
		id := e.Instance.ID
		switch key := lower(id); {
		case id == "" || len(id) > 63 || 1+len(id)+len(r.wire) > 255:
			r.leaveOut(e.Instance, "its ID is too long for a DNS label")
			continue
		case seen[key]:
			r.leaveOut(e.Instance, "another instance has the same ID")
			continue
		default:
			seen[key] = true
		}
		ptr := &dns.PTR{Hdr: r.z.header(r.owner, dns.TypePTR), Ptr: show(id) + "." + r.owner}
		records = append(records, Record{RR: ptr, Weight: e.Weight})
	}
	return r.positive(records, s.Stamp)
}

// instance answers for ID._SERVICE._tcp: where the instance is, and its
// metadata. A TXT record is always there (RFC 6763, section 6.1).
func (r *resolution) instance(id, service string) *Answer {
	s := r.labelled(service)
	if s == nil {
		return r.noName(r.because("no service ").labels(service).text(" is registered"))
	}
	if !slices.ContainsFunc(s.Instances, func(i *registry.Instance) bool { return same(i.ID, id) }) {
		return r.noName(r.because("no instance of ").labels(service).text(" has the ID ").labels(id))
	}
	return r.instanceOf(s, id)
}

// instanceOf answers for an instance that a service has.
func (r *resolution) instanceOf(s *registry.Service, id string) *Answer {
	endpoints := r.endpoints(s, nil, id)
	if len(endpoints) == 0 {
		return r.none(s, s.Stamp)
	}
	switch r.qtype {
	case dns.TypeSRV:
		return r.srv(endpoints, s.Stamp)
	case dns.TypeTXT:
		return r.positive(r.distinct(endpoints, attributes), s.Stamp)
	case dns.TypeANY:
		a := r.srv(endpoints, s.Stamp)
		a.Records = append(a.Records, r.distinct(endpoints, attributes)...)
		a.Shuffle, a.Authority, a.Explanation = false, nil, EDE{}
		return a
	}
	return r.noData(s.Stamp, "")
}
