package zones

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones/static"
)

// A secondary server has a zone as a list of records. Of a zone of services that
// list is made by asking for all names that the registry gives a meaning: each
// service with each of its tags, in all forms, with the datacenter and without it,
// each node, and each target. What cannot be listed is left out: several tags in
// one name, tags that are not to be borne, addresses that nothing leads to,
// prepared queries and other datacenters. A name with an alias can have no other
// record in a list: one with an underscore loses the alias then, and any other
// keeps nothing else.

// sections yields the parts of the list, each with a key, the newest of the stamps
// that it can be made from, and what fills it.
func (l *listing) sections(yield func(key string, newest []*registry.Stamp, fill func(*section)) bool) {
	if l.zone.static {
		yield("file", []*registry.Stamp{l.file.Stamp()}, func(s *section) { l.fromFile(s) })
		return
	}
	v := l.v
	more := true
	part := func(key string, stamp *registry.Stamp, fill func(*section)) {
		if more {
			more = yield(key, []*registry.Stamp{nil, stamp, v.Stamp(), v.ServicesStamp(), v.NodesStamp()}, func(s *section) {
				s.stamps = append(s.stamps, stamp)
				fill(s)
			})
		}
	}
	part("", v.Stamp(), l.apex)
	part("nodes", v.NodesStamp(), l.nodes)
	if l.file != nil {
		part("file", l.file.Stamp(), l.fromFile)
	}
	for _, child := range l.z.byName {
		if child.within == l.zone {
			zone := child.file.Zone()
			part("zone "+child.Name, zone.Stamp(), func(s *section) { l.delegate(s, child, zone) })
		}
	}
	for service := range v.Services() {
		part("service "+lower(service.Name), service.Stamp, func(s *section) { l.service(s, service) })
		if !more {
			return
		}
	}
}

// apex lists the names that are there whatever is registered.
func (l *listing) apex(s *section) {
	l.ask(s, "", nil, dns.TypeNS)
	l.ask(s, name("ns"), nil, dns.TypeA, dns.TypeAAAA)
	for _, place := range l.places() {
		l.ask(s, name("_services", "_dns-sd", "_udp")+place, nil, dns.TypePTR)
	}
	l.share(s)
}

func (l *listing) nodes(s *section) {
	for n := range l.v.Nodes() {
		before := name(strings.Split(lower(n.Name), ".")...) + name("node")
		for _, place := range l.places() {
			l.ask(s, before+place, nil, dns.TypeA, dns.TypeAAAA, dns.TypeTXT)
		}
	}
	l.share(s)
}

// share makes all records of a section such as others may list, too.
func (l *listing) share(s *section) { s.records, s.shared = nil, append(s.shared, s.records...) }

// places returns what may stand between a name and the zone: nothing, or the
// datacenter.
func (l *listing) places() []string {
	if dc := targetLabel(l.v.Datacenter()); dc != "" {
		return []string{"", name(dc)}
	}
	return []string{""}
}

// name returns labels in wire format, without the root; what is no name where one
// of them is no label.
func name(labels ...string) string {
	var b []byte
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return "\xff"
		}
		b = append(append(b, byte(len(label))), label...)
	}
	return string(b)
}

// The types that names of services have records of, and those of instances.
var (
	ofServices  = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypeSVCB, dns.TypeHTTPS, dns.TypePTR}
	ofInstances = []uint16{dns.TypeSRV, dns.TypeTXT}
)

// service asks for all names that a service is found by. To ask for each of its tags
// and instances as anybody else does would take a look at all instances each time;
// those that have one in common are therefore put aside before. Where the service's
// name has a dot or an underscore, a name with a tag may mean something else, and is
// asked for as it stands.
func (l *listing) service(s *section, service *registry.Service) {
	self := lower(service.Name)
	short := strings.IndexByte(self, '.') < 0
	plain := short && self[0] != '_'
	long := name(strings.Split(self, ".")...) + name("service")
	endpoints, _ := l.z.endpointsOf(l.v, service)
	l.everywhere(s, endpoints, nil, ofServices, long)
	if short {
		for _, protocol := range [...]string{"_tcp", "_udp"} {
			l.everywhere(s, endpoints, nil, ofServices, name("_"+self, protocol), name("_"+self, protocol)+name("service"))
		}
	}
	for tag, some := range group(endpoints, func(i *registry.Instance) []string { return i.Tags }) {
		find := func(r *resolution) *Answer {
			r.among = slices.Clone(some)
			return r.instances(service, nil, service.Stamp)
		}
		if !plain {
			find = nil
		}
		l.everywhere(s, some, find, ofServices, name(strings.Split(tag, ".")...)+long)
		if short && !strings.Contains(tag, ".") && tag != "tcp" && tag != "udp" {
			l.everywhere(s, some, find, ofServices, name("_"+self, "_"+tag), name("_"+self, "_"+tag)+name("service"))
		}
	}
	if short {
		l.instances(s, service, endpoints)
	}
}

// instances asks for the names of single instances.
func (l *listing) instances(s *section, service *registry.Service, endpoints []registry.Endpoint) {
	self := lower(service.Name)
	for id, one := range group(endpoints, func(i *registry.Instance) []string { return []string{i.ID} }) {
		find := func(r *resolution) *Answer {
			r.among = slices.Clone(one)
			return r.instanceOf(service, id)
		}
		for _, protocol := range [...]string{"_tcp", "_udp"} {
			n := name(id, "_"+self, protocol)
			l.everywhere(s, one, find, ofInstances, n, n+name("service"))
		}
	}
}

// group puts endpoints aside whose instances have a word in common, in any case.
func group(endpoints []registry.Endpoint, words func(*registry.Instance) []string) map[string][]registry.Endpoint {
	groups := make(map[string][]registry.Endpoint)
	for _, e := range endpoints {
		for _, word := range words(e.Instance) {
			word = lower(word)
			g := groups[word]
			if n := len(g); n == 0 || g[n-1].Instance != e.Instance { // it may say the word twice
				groups[word] = append(g, e)
			}
		}
	}
	return groups
}

// everywhere asks for records of names of a service, with and without the datacenter,
// and of each of the endpoints' ports.
func (l *listing) everywhere(s *section, endpoints []registry.Endpoint, find func(*resolution) *Answer, types []uint16, names ...string) {
	var ports []string
	for _, e := range endpoints {
		for _, p := range e.Instance.Ports {
			if port := lower(p.Name); !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		}
	}
	for _, place := range l.places() {
		for _, n := range names {
			l.ask(s, n+place, find, types...)
			for _, port := range ports {
				l.ask(s, n+place+name(port, "port"), ofPort(find, port), types...)
			}
		}
	}
}

// ofPort returns what finds the answers for a port.
func ofPort(find func(*resolution) *Answer, port string) func(*resolution) *Answer {
	if find == nil {
		return nil
	}
	return func(r *resolution) *Answer {
		r.port = port
		return find(r)
	}
}

// ask adds what questions for a name are answered with, and the addresses of the
// targets. It finds the answers by a function, or as for anybody else.
func (l *listing) ask(s *section, prefix string, find func(*resolution) *Answer, types ...uint16) {
	wire := prefix + l.home
	labels, ok := parse(nil, wire)
	if !ok || l.z.match(wire) != l.zone {
		return
	}
	var rrs []dns.RR
	for _, qtype := range types {
		a := l.answer(wire, labels, qtype, find)
		if a == nil || a.Rcode == dns.RcodeNameError && len(a.Records) == 0 {
			s.stamps = append(s.stamps, l.v.Stamp())
			return
		}
		s.keep = s.keep && a.Cacheable
		if !slices.Contains(s.stamps, a.Stamp) {
			s.stamps = append(s.stamps, a.Stamp)
		}
		rrs = append(rrs, l.take(s, a)...)
	}
	underscored := slices.ContainsFunc(labels, func(label string) bool { return label[0] == '_' })
	isAlias := func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeCNAME }
	isOther := func(rr dns.RR) bool { return !isAlias(rr) }
	switch {
	case !slices.ContainsFunc(rrs, isAlias):
	case underscored && slices.ContainsFunc(rrs, isOther):
		rrs = slices.DeleteFunc(rrs, isAlias)
	default:
		rrs = slices.DeleteFunc(rrs, isOther)
	}
	for _, rr := range rrs {
		s.records = l.add(s.records, rr)
	}
}

// answer answers a question for a name in the zone.
func (l *listing) answer(wire string, labels []string, qtype uint16, find func(*resolution) *Answer) *Answer {
	if find == nil {
		return l.z.Resolve(l.v, Question{wire, qtype})
	}
	return find(&resolution{z: l.z, v: l.v, wire: wire, owner: present(labels), qtype: qtype, zone: l.zone})
}

// take returns the records of an answer at the name that was asked for, as many as
// an RRset may have and the same ones as long as they are there. The addresses of
// targets in the zone it adds.
func (l *listing) take(s *section, a *Answer) []dns.RR {
	records := a.Records
	if len(records) > 1 && records[0].RR.Header().Rrtype == dns.TypeCNAME {
		records = records[:1] // the others are what the alias leads to
	}
	if most := l.z.config.MaxAnswers; most > 0 && len(records) > most {
		records = chosen(records, most)
	}
	set := make([]dns.RR, len(records))
	for n, record := range records {
		set[n] = record.RR
		for _, rr := range record.Glue {
			if owner, ok := pack(rr.Header().Name); ok && l.z.match(owner) == l.zone {
				s.shared = l.add(s.shared, rr)
			}
		}
	}
	return set
}

// chosen returns so many records, chosen in a way that has nothing to do with what
// they say, and stays the same while they are there.
func chosen(records []Record, most int) []Record {
	type ranked struct {
		record Record
		rank   uint64
	}
	all := make([]ranked, len(records))
	for n, record := range records {
		h := fnv.New64a()
		_, _ = h.Write([]byte(record.RR.String()))
		all[n] = ranked{record, h.Sum64()}
	}
	slices.SortFunc(all, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	some := make([]Record, most)
	for n := range some {
		some[n] = all[n].record
	}
	return some
}

// maxRecord is the longest record that is listed, octets: a message has to hold it
// beside other things.
const maxRecord = 60_000

// add packs a record. One that cannot be packed is in no answer, either.
func (l *listing) add(records []string, rr dns.RR) []string {
	if n, err := dns.PackRR(dns.Copy(rr), l.space[:], 0, nil, false); err == nil && n <= maxRecord {
		records = append(records, string(l.space[:n]))
	}
	return records
}

// delegate adds what leads to the zone of a file in the zone.
func (l *listing) delegate(s *section, child *Zone, zone *static.Zone) {
	s.stamps = append(s.stamps, zone.Stamp())
	wire, _ := pack(child.Name)
	for _, rr := range zone.Lookup(wire, child.Name, dns.TypeNS).Records {
		s.shared = l.add(s.shared, rr)
		for _, address := range zone.Addresses(targetName(rr)) {
			s.shared = l.add(s.shared, address)
		}
	}
}

// fromFile adds the records of the zone's file: all of them, or in a zone of services
// those of names that are not registered there and in no other zone.
func (l *listing) fromFile(s *section) {
	s.stamps = append(s.stamps, l.file.Stamp())
	if !l.zone.static {
		s.stamps = append(s.stamps, l.v.Stamp())
	}
	mine := make(map[string]bool)
	for rr := range l.file.Records() {
		owner := rr.Header().Name
		if _, known := mine[owner]; !known {
			wire, _ := pack(owner)
			mine[owner] = l.zone.static || l.z.match(wire) == l.zone && !l.z.isRegistered(l.zone, l.v, wire)
		}
		if mine[owner] && rr.Header().Rrtype != dns.TypeSOA {
			s.shared = l.add(s.shared, rr)
		}
	}
}
