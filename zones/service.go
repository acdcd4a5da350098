package zones

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// service answers for [TAG.]SERVICE.service. It is read as Consul reads it, the
// last label as the service and those before it as one tag, and then as several
// tags; a service whose own name has dots is found where that finds none.
func (r *resolution) service(labels []string) *Answer {
	name, ok := r.join(labels)
	if !ok {
		return r.noName(r.because("no service ").labels(labels...).text(" is registered"))
	}
	leads := r.v.HasServiceBelow(name)
	var near *registry.Service // a service that nobody bears the tag of
	for at := len(name); at > 0; {
		at = strings.LastIndexByte(name[:at], '.')
		s := r.v.Service(name[at+1:])
		if s == nil {
			continue
		}
		// Names with dots can be read in several ways, so that what is found may be
		// hidden by another service that comes.
		stamp := s.Stamp
		if strings.Contains(s.Name, ".") {
			stamp = r.v.Stamp()
		}
		if at < 0 {
			return r.instances(s, nil, stamp)
		}
		tag := name[:at]
		if r.v.HasTag(tag) && anyBears(s, tag) {
			return r.instances(s, one(tag), stamp)
		}
		if a := r.selected(s, tag, stamp); a != nil {
			return a
		}
		leads = leads || leadsToTag(s, tag, nil)
		if near == nil {
			near = s
		}
	}
	switch {
	case leads:
		return r.nonTerminal(r.v.ServicesStamp())
	case near != nil:
		return r.noTag(near, labels[:len(labels)-1-strings.Count(near.Name, ".")]...)
	}
	return r.noName(r.because("no service ").labels(labels[len(labels)-1]).text(" is registered"))
}

// tagged answers for _SERVICE._TAG.
func (r *resolution) tagged(service, tag string) *Answer {
	s := r.labelled(service)
	switch {
	case s == nil:
		return r.noName(r.because("no service ").labels(service).text(" is registered"))
	case strings.Contains(tag, ".") || !anyBears(s, tag):
		return r.noTag(s, tag)
	}
	return r.instances(s, one(tag), s.Stamp)
}

// protocol answers for _SERVICE._tcp and _udp, which mean no tag, and are where
// DNS-SD lists the instances.
func (r *resolution) protocol(service string) *Answer {
	s := r.labelled(service)
	switch {
	case s == nil:
		return r.noName(r.because("no service ").labels(service).text(" is registered"))
	case r.qtype == dns.TypePTR:
		return r.list(s)
	}
	return r.instances(s, nil, s.Stamp)
}

// labelled returns the service whose name is one label.
func (r *resolution) labelled(service string) *registry.Service {
	if strings.Contains(service, ".") {
		return nil
	}
	return r.v.Service(service)
}

// instances answers with the instances of a service that may be used and are
// selected.
func (r *resolution) instances(s *registry.Service, tags selection, stamp *registry.Stamp) *Answer {
	endpoints := r.endpoints(s, tags, "")
	if len(endpoints) == 0 {
		return r.none(s, stamp)
	}
	switch r.qtype {
	case dns.TypeSRV:
		return r.srv(endpoints, stamp)
	case dns.TypeSVCB, dns.TypeHTTPS:
		return r.svcb(endpoints, stamp)
	case dns.TypeTXT:
		return r.positive(r.texts(endpoints), stamp)
	}
	return r.addressesOf(endpoints, stamp) // which may be an alias, for whatever type is asked
}

// none answers where no instance of a service may be used, or none of those has the
// port that is asked for.
func (r *resolution) none(s *registry.Service, stamp *registry.Stamp) *Answer {
	switch {
	case r.port == "":
		return r.noData(stamp, r.noInstance())
	case slices.ContainsFunc(s.Instances, func(i *registry.Instance) bool { return i.PortNamed(r.port) > 0 }):
		return r.noData(stamp, "no instance that may be used has a port of the name "+show(r.port))
	}
	// The name is there as long as others have the port.
	return r.noData(r.v.Stamp(), "no instance of "+show(strings.Split(lower(s.Name), ".")...)+" has a port of the name "+show(r.port))
}

// endpoints returns the instances that may be used, and makes them the subject
// of the answer.
func (r *resolution) endpoints(s *registry.Service, tags selection, id string) []registry.Endpoint {
	r.about.service, r.about.tags, r.about.id = s, tags, id
	endpoints := r.among
	if endpoints == nil {
		var panics bool
		if endpoints, panics = r.z.endpointsOf(r.v, s); panics {
			r.about.panic = r.panicNote(s)
		}
	}
	if len(tags) == 0 && id == "" && r.port == "" {
		return endpoints
	}
	chosen := endpoints[:0]
	for _, e := range endpoints {
		if !r.about.covers(e.Instance) {
			continue
		}
		if r.port != "" {
			if e.Port = e.Instance.PortNamed(r.port); e.Port == 0 {
				r.leaveOut(e.Instance, "it has no port of the name "+r.port)
				continue
			}
		}
		chosen = append(chosen, e)
	}
	return chosen
}

// addressesOf answers with the endpoints' addresses. Where all of them are names
// it is one CNAME: two at one owner would be none (RFC 1034, section 3.6.2).
func (r *resolution) addressesOf(endpoints []registry.Endpoint, stamp *registry.Stamp) *Answer {
	at := make(map[netip.Addr]int, len(endpoints)) // to the index of its record
	records := make([]Record, 0, len(endpoints))
	hasAddress, alias := false, ""
	var aliased *registry.Instance
	for _, e := range endpoints {
		p := r.placeOf(e)
		hasAddress = hasAddress || p.v4.IsValid() || p.v6.IsValid()
		if alias == "" {
			alias, aliased = p.name, e.Instance
		}
		added, known := false, false
		for _, a := range [...]netip.Addr{p.v4, p.v6} {
			if !a.IsValid() || a.Is4() && !r.wants(dns.TypeA) || a.Is6() && !r.wants(dns.TypeAAAA) {
				continue
			}
			if n, found := at[a]; found {
				records[n].Weight += e.Weight
				known = true
				continue
			}
			at[a] = len(records)
			records = append(records, Record{RR: r.z.address(r.owner, a), Weight: e.Weight})
			added = true
		}
		if !added {
			r.leaveOut(e.Instance, p.absence(known))
		}
	}
	if !hasAddress && alias != "" {
		delete(r.about.left, aliased)
		return r.alias(alias, stamp)
	}
	return r.positive(records, stamp)
}

// place is where an endpoint is: at an address of each family, or under a name.
type place struct {
	v4, v6 netip.Addr
	name   string
}

// placeOf returns where an endpoint is. An address that is tagged with a family
// comes before its own, or else its node's, as in Consul.
func (r *resolution) placeOf(e registry.Endpoint) (p place) {
	i, n := e.Instance, e.Node
	texts := [...]string{i.TaggedAddresses["lan_ipv4"].Address, i.TaggedAddresses["lan_ipv6"].Address, i.Address, "", ""}
	if n != nil && (i.Address == "" || r.isOwner(i.Address)) {
		texts[2], texts[3], texts[4] = n.TaggedAddresses["lan_ipv4"], n.TaggedAddresses["lan_ipv6"], n.Address
	}
	for _, text := range texts {
		switch a, ok := parseAddress(text); {
		case !ok && p.name == "" && !r.isOwner(text):
			p.name, _ = hostName(text)
		case ok && a.Is4() && !p.v4.IsValid():
			p.v4 = a
		case ok && a.Is6() && !p.v6.IsValid():
			p.v6 = a
		}
	}
	return p
}

// absence says why an endpoint adds no record to an answer.
func (p place) absence(known bool) string {
	switch {
	case known:
		return "another instance has the same address"
	case p.v4.IsValid() || p.v6.IsValid():
		return "it has no address of that family"
	case p.name != "":
		return "its address is a name, of which an answer has one at most, and none beside addresses"
	}
	return "it has no address"
}

// isOwner tells whether an address is the very name that is being asked for. An
// instance of which it is one is found at its node.
func (r *resolution) isOwner(address string) bool {
	if d := len(address) - len(r.owner); d < -1 || d > 1 {
		return false // without a look at it
	}
	return same(strings.TrimSuffix(address, "."), strings.TrimSuffix(r.owner, "."))
}

// srv answers with a SRV record for each endpoint.
func (r *resolution) srv(endpoints []registry.Endpoint, stamp *registry.Stamp) *Answer {
	type door struct {
		name string
		port int
	}
	seen := make(map[door]bool, len(endpoints))
	records := make([]Record, 0, len(endpoints))
	srvs := make([]dns.SRV, len(endpoints)) // in one piece: there are many of them
	targets := targets{r: r}
	var others []string
	for _, e := range endpoints {
		t, ok := targets.of(e)
		if !ok {
			r.leaveOut(e.Instance, "its address leads to none")
			continue
		}
		d := door{t.name, e.Port}
		if seen[d] {
			r.leaveOut(e.Instance, "another instance has the same address and port")
			continue
		}
		seen[d] = true
		srv := &srvs[len(records)]
		*srv = dns.SRV{
			Hdr: r.z.header(r.owner, dns.TypeSRV), Priority: 1, Weight: uint16(min(e.Weight, 65535)),
			Port: uint16(e.Port), Target: t.name,
		}
		records = append(records, Record{RR: srv, Weight: e.Weight, Glue: t.glue})
		if len(t.glue) == 0 && !slices.Contains(others, t.name) {
			others = append(others, t.name)
		}
	}
	if targets.ours {
		stamp = r.v.Stamp() // the answer depends on other services, too
	}
	if len(records) == 0 {
		return targets.keep(r.noData(stamp, r.about.count(len(endpoints))+", none at an address that can be found"))
	}
	a := r.positive(records, stamp)
	a.Targets = others
	return targets.keep(a)
}
