package zones

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
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

// MaxContents is how many records a zone may have that is to be listed.
const MaxContents = 1_000_000

// Contents lists the records of a zone but its SOA, and remembers the list so that
// the next one costs as much as has changed. It belongs to one goroutine.
type Contents struct {
	z        *Zones
	zone     *Zone
	home     string   // the zone's name in wire format
	soa      *dns.SOA // nil: nothing was listed yet
	sections map[string]*section
	records  map[string]int  // packed, without compression, to how many sections have it
	touched  map[string]bool // whether it was there before, of those that may not be now, or may be
	space    [65536]byte
}

// section is a part of the list that is made anew as a whole.
type section struct {
	stamps  []*registry.Stamp // that it was made from
	keep    bool              // it is true for as long as these are the newest
	records []string
}

// Change is what leads from one list to the next.
type Change struct {
	From, To       *dns.SOA // From is nil for the first list
	Removed, Added []string // packed, without compression
}

// NewContents returns the Contents of a zone, which have listed nothing yet.
func (z *Zones) NewContents(zone *Zone) *Contents {
	home, _ := pack(zone.Name)
	return &Contents{z: z, zone: zone, home: home, sections: make(map[string]*section), records: make(map[string]int)}
}

// Records returns the records that were listed last, packed without compression,
// in an order that does not change.
func (c *Contents) Records() []string { return slices.Sorted(maps.Keys(c.records)) }

// Len returns how many records were listed last.
func (c *Contents) Len() int { return len(c.records) }

// Update lists the zone as a View has it, and returns what has changed. The error
// is for a zone that is too large to be listed.
func (c *Contents) Update(v *registry.View) (Change, error) {
	c.touched = make(map[string]bool)
	var file *static.Zone
	if c.zone.file != nil {
		file = c.zone.file.Zone()
	}
	soa := c.z.SOA(c.zone, v)
	switch { // of just this reading of the file
	case c.zone.static:
		soa = file.SOA()
		c.renew("file", []*registry.Stamp{file.Stamp()}, func(s *section) { c.fromFile(s, nil, file) })
	case file != nil:
		soa.Serial = uint32(v.ContentIndex()) + file.Serial()
		fallthrough
	default:
		c.list(v, file)
	}
	change := Change{From: c.soa, To: soa}
	c.soa = soa
	for record, before := range c.touched {
		switch now := c.records[record] > 0; {
		case before && !now:
			change.Removed = append(change.Removed, record)
		case now && !before:
			change.Added = append(change.Added, record)
		}
	}
	slices.Sort(change.Removed)
	slices.Sort(change.Added)
	if len(c.records) > MaxContents {
		return change, fmt.Errorf("zone %s has %d records, more than the %d that can be transferred", c.zone.Name, len(c.records), MaxContents)
	}
	return change, nil
}

// list brings all sections of a zone of services up to date.
func (c *Contents) list(v *registry.View, file *static.Zone) {
	seen := make(map[string]bool)
	renew := func(key string, stamp *registry.Stamp, fill func(*section)) {
		seen[key] = true
		c.renew(key, []*registry.Stamp{nil, stamp, v.Stamp(), v.ServicesStamp(), v.NodesStamp()}, fill)
	}
	renew("", v.Stamp(), func(s *section) {
		c.ask(s, v, "", dns.TypeNS)
		c.ask(s, v, name("ns"), dns.TypeA, dns.TypeAAAA)
		c.ask(s, v, name("_services", "_dns-sd", "_udp"), dns.TypePTR)
	})
	renew("nodes", v.NodesStamp(), func(s *section) {
		for n := range v.Nodes() {
			before := name(strings.Split(lower(n.Name), ".")...) + name("node")
			for _, place := range places(v) {
				c.ask(s, v, before+place, dns.TypeA, dns.TypeAAAA, dns.TypeTXT)
			}
		}
	})
	for service := range v.Services() {
		renew("service "+lower(service.Name), service.Stamp, func(s *section) { c.service(s, v, service) })
	}
	for _, child := range c.z.byName {
		if child.within == c.zone {
			zone := child.file.Zone()
			renew("zone "+child.Name, zone.Stamp(), func(s *section) { c.delegate(s, child, zone) })
		}
	}
	if file != nil {
		renew("file", file.Stamp(), func(s *section) { c.fromFile(s, v, file) })
	}
	for key := range c.sections {
		if !seen[key] {
			c.drop(key)
		}
	}
}

// renew makes a section anew, where it was made from other stamps than the newest.
// They are compared and not asked: one may be superseded by a later View already.
func (c *Contents) renew(key string, newest []*registry.Stamp, fill func(*section)) {
	isOld := func(s *registry.Stamp) bool { return !slices.Contains(newest, s) }
	if old := c.sections[key]; old != nil && old.keep && !slices.ContainsFunc(old.stamps, isOld) {
		return
	}
	made := &section{keep: true}
	fill(made)
	slices.Sort(made.records)
	made.records = slices.Compact(made.records)
	for _, record := range made.records {
		c.count(record, 1)
	}
	c.drop(key)
	c.sections[key] = made
}

func (c *Contents) drop(key string) {
	if old := c.sections[key]; old != nil {
		for _, record := range old.records {
			c.count(record, -1)
		}
		delete(c.sections, key)
	}
}

func (c *Contents) count(record string, n int) {
	now := c.records[record] + n
	if _, known := c.touched[record]; !known {
		c.touched[record] = now != n
	}
	if c.records[record] = now; now == 0 {
		delete(c.records, record)
	}
}

// places returns what may stand between a name and the zone: nothing, or the
// datacenter.
func places(v *registry.View) []string {
	if dc := targetLabel(v.Datacenter()); dc != "" {
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

// service asks for all names that a service is found by.
func (c *Contents) service(s *section, v *registry.View, service *registry.Service) {
	tags, ids := make(map[string]bool), make(map[string]bool)
	for _, i := range service.Instances {
		ids[lower(i.ID)] = true
		for _, tag := range i.Tags {
			tags[lower(tag)] = true
		}
	}
	self := lower(service.Name)
	plain := name(strings.Split(self, ".")...) + name("service")
	names := []string{plain}
	for tag := range tags {
		names = append(names, name(strings.Split(tag, ".")...)+plain)
	}
	for _, kind := range [...]string{"", name("service")} {
		if strings.Contains(self, ".") {
			break
		}
		for _, protocol := range [...]string{"_tcp", "_udp"} {
			names = append(names, name("_"+self, protocol)+kind)
			for id := range ids {
				names = append(names, name(id, "_"+self, protocol)+kind)
			}
		}
		for tag := range tags {
			if !strings.Contains(tag, ".") {
				names = append(names, name("_"+self, "_"+tag)+kind)
			}
		}
	}
	for _, n := range names {
		for _, place := range places(v) {
			c.ask(s, v, n+place, dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypeSVCB, dns.TypeHTTPS, dns.TypePTR)
		}
	}
}

// ask adds what questions for a name are answered with, and the addresses of the
// targets.
func (c *Contents) ask(s *section, v *registry.View, prefix string, types ...uint16) {
	wire := prefix + c.home
	labels, ok := parse(nil, wire)
	if !ok || c.z.match(wire) != c.zone {
		return
	}
	var rrs []dns.RR
	for _, qtype := range types {
		a := c.z.Resolve(v, Question{wire, qtype})
		if a.Rcode == dns.RcodeNameError && len(a.Records) == 0 {
			s.stamps = append(s.stamps, v.Stamp())
			return
		}
		s.keep = s.keep && a.Cacheable
		if !slices.Contains(s.stamps, a.Stamp) {
			s.stamps = append(s.stamps, a.Stamp)
		}
		rrs = append(rrs, c.take(s, a)...)
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
		c.add(s, rr)
	}
}

// take returns the records of an answer at the name that was asked for, as many as
// an RRset may have and the same ones as long as they are there. The addresses of
// targets in the zone it adds.
func (c *Contents) take(s *section, a *Answer) []dns.RR {
	var set []dns.RR
	for n, record := range a.Records {
		if n > 0 && a.Records[0].RR.Header().Rrtype == dns.TypeCNAME {
			break // it is what the alias leads to
		}
		set = append(set, record.RR)
	}
	if most := c.z.config.MaxAnswers; most > 0 && len(set) > most {
		hash := func(rr dns.RR) uint64 {
			h := fnv.New64a()
			_, _ = h.Write([]byte(rr.String()))
			return h.Sum64()
		}
		slices.SortFunc(set, func(a, b dns.RR) int { return cmp.Compare(hash(a), hash(b)) })
		set = set[:most]
	}
	for _, record := range a.Records {
		for _, rr := range record.Glue {
			if owner, ok := pack(rr.Header().Name); ok && c.z.match(owner) == c.zone {
				c.add(s, rr)
			}
		}
	}
	return set
}

// add packs a record. One that cannot be packed is in no answer, either.
func (c *Contents) add(s *section, rr dns.RR) {
	if n, err := dns.PackRR(dns.Copy(rr), c.space[:], 0, nil, false); err == nil {
		s.records = append(s.records, string(c.space[:n]))
	}
}

// delegate adds what leads to the zone of a file in the zone.
func (c *Contents) delegate(s *section, child *Zone, zone *static.Zone) {
	s.stamps = append(s.stamps, zone.Stamp())
	wire, _ := pack(child.Name)
	for _, rr := range zone.Lookup(wire, child.Name, dns.TypeNS).Records {
		c.add(s, rr)
		for _, address := range zone.Addresses(targetName(rr)) {
			c.add(s, address)
		}
	}
}

// fromFile adds the records of the zone's file: all of them, or with a View those of
// names that are not registered there and in no other zone.
func (c *Contents) fromFile(s *section, v *registry.View, file *static.Zone) {
	s.stamps = append(s.stamps, file.Stamp())
	if v != nil {
		s.stamps = append(s.stamps, v.Stamp())
	}
	mine := make(map[string]bool)
	for rr := range file.Records() {
		owner := rr.Header().Name
		if _, known := mine[owner]; !known {
			wire, _ := pack(owner)
			mine[owner] = v == nil || c.z.match(wire) == c.zone && !c.z.isRegistered(c.zone, v, wire)
		}
		if mine[owner] && rr.Header().Rrtype != dns.TypeSOA {
			c.add(s, rr)
		}
	}
}

// Find returns the zone of services or of a file that has this very name, in master
// files' text; nil: there is none.
func (z *Zones) Find(name string) *Zone {
	wire, ok := pack(name)
	if zone := z.byName[wire]; ok && zone != nil && (!zone.reverse || zone.static) {
		return zone
	}
	return nil
}
