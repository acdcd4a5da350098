package zones

import (
	"fmt"
	"iter"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones/static"
)

// A zone file is of a zone of its own, with a SOA and NS of its own, or of one of
// the zones of services: then its records stand there beside what is registered,
// and its SOA gives nothing but a serial, which is added to the registry's. So
// raising it, as after any change to a master file, raises the zone's.
//
// Wherever both have a name, the registry wins, with all types: a name that is
// registered and also in a file is answered as if it were not in the file. The
// same is true of a file's zone that lies in one of services, and of the names of
// registered addresses in a file of a reverse zone. What a wildcard, a delegation
// or a DNAME of a file has below it, the registry may have, too.
//
// An answer from a file bears the Stamp of that reading. One that also depends on
// what is registered cannot bear both, and is made anew each time, as are those
// that come from a wildcard, below which names can be made up without end.

// addFile adds the zone of a file, or its records to a zone that is there.
func (z *Zones) addFile(file *static.File) error {
	wire, ok := pack(file.Name())
	if !ok {
		return fmt.Errorf("zone %q is no domain name", file.Name())
	}
	zone := z.byName[wire]
	switch {
	case zone != nil && zone.file != nil:
		return fmt.Errorf("zone %s has two files, %s and %s", file.Name(), zone.file.Path(), file.Path())
	case zone != nil:
		zone.file = file
		return nil
	}
	labels, _ := parse(nil, wire)
	zone = &Zone{Name: present(labels), size: len(labels), file: file, static: true, reverse: isReverse(labels)}
	for _, other := range z.zones {
		if dns.IsSubDomain(other.Name, zone.Name) && (zone.within == nil || other.size > zone.within.size) {
			zone.within = other
		}
	}
	z.index(wire, zone)
	return nil
}

// Serial returns the serial of the zone's SOA.
func (zone *Zone) Serial(v *registry.View) uint32 {
	switch {
	case zone.static:
		return zone.file.Zone().Serial()
	case zone.file != nil:
		return uint32(v.ContentIndex()) + zone.file.Zone().Serial()
	}
	return uint32(v.ContentIndex())
}

// Path returns where the zone's file is; empty: it has none.
func (zone *Zone) Path() string {
	if zone.file == nil {
		return ""
	}
	return zone.file.Path()
}

// SOAStamp is superseded when the zone's SOA becomes another one in more than its
// serial; nil: it never does.
func (zone *Zone) SOAStamp() *registry.Stamp {
	if zone.static {
		return zone.file.Zone().Stamp()
	}
	return nil
}

// Registered tells whether what is registered can be found in the zone.
func (zone *Zone) Registered() bool { return !zone.static || zone.within != nil || zone.reverse }

// FileStamp is superseded when the zone's file was read anew; nil: it has none.
func (zone *Zone) FileStamp() *registry.Stamp {
	if zone.file == nil {
		return nil
	}
	return zone.file.Zone().Stamp()
}

// withFile answers for a name in a zone that has a file.
func (r *resolution) withFile(labels []string) *Answer {
	if a := r.registered(labels); a != nil {
		return a
	}
	why := r.absence.Why
	f := r.zone.file.Zone()
	found := f.Lookup(r.wire, r.owner, r.qtype)
	if found.Encloser != "" && r.hasBetween(found.Encloser) {
		found = static.Found{Kind: static.NoName}
	}
	switch found.Kind {
	case static.NoName:
		if r.zone.static || why == nil {
			why = r.because("no name ").text(r.owner).text(" is in the file of ").text(r.zone.Name)
		}
		r.absence = Absence{Zone: r.zone, Why: why}
		return nil
	case static.Referral:
		return r.referral(f, found)
	case static.TooLong:
		return &Answer{Rcode: dns.RcodeYXDomain, Authoritative: true, Zone: r.zone, Records: records(found.Records),
			Explanation: EDE{Text: "the name that a DNAME makes of " + r.owner + " is too long"}}
	}
	return r.fromFile(f, found)
}

// registered answers for a name as far as it is registered; nil where it is not.
func (r *resolution) registered(labels []string) *Answer {
	zone := r.zone
	defer func() { r.zone = zone }()
	switch {
	case isReverse(labels):
		if a := r.pointers(labels); a != nil {
			a.Cacheable = false
			return a
		}
		if network, ok := networkOf(labels); ok && network.IsSingleIP() && len(r.namesAt(network.Addr())) > 0 {
			a := r.noData(nil, "")
			a.Cacheable = false
			return a
		}
		return nil
	case zone.static && zone.within == nil:
		return nil
	case zone.static:
		r.zone = zone.within
	}
	return r.answer(labels[:len(labels)-r.zone.size])
}

// isRegistered tells whether something is registered at a name in a zone.
func (z *Zones) isRegistered(zone *Zone, v *registry.View, wire string) bool {
	labels, ok := parse(nil, wire)
	r := &resolution{z: z, v: v, wire: wire, owner: present(labels), qtype: dns.TypeANY, zone: zone}
	return ok && r.registered(labels) != nil
}

// hasBetween tells whether something is registered at a name between that of the
// question and the one below which a wildcard stands: the wildcard is not for it
// then (RFC 4592, section 2.2.1).
func (r *resolution) hasBetween(encloser string) bool {
	if r.zone.static && r.zone.within == nil {
		return false
	}
	for name := r.wire[1+r.wire[0]:]; len(name) > len(encloser); name = name[1+name[0]:] {
		if r.z.isRegistered(r.zone, r.v, name) {
			return true
		}
	}
	return false
}

// fromFile answers with what a file has.
func (r *resolution) fromFile(f *static.Zone, found static.Found) *Answer {
	if found.Kind == static.Alias {
		return r.through(f, found)
	}
	a := &Answer{
		Authoritative: true, Zone: r.zone, Records: records(found.Records), Shuffle: r.qtype != dns.TypeANY,
		Stamp: f.Stamp(), Cacheable: r.zone.static && found.Encloser == "" && !r.zone.Registered(),
		fromWildcard: found.Encloser != "",
	}
	for i := range a.Records {
		record := &a.Records[i]
		record.Glue = f.Addresses(targetName(record.RR))
	}
	if len(a.Records) == 0 {
		a.Authority = []dns.RR{r.z.SOA(r.zone, r.v)}
		a.Proof = &Proof{owner: r.owner, types: found.Types}
	}
	return a
}

// records returns records of an answer, all of the same weight.
func records(rrs []dns.RR) []Record {
	all := make([]Record, len(rrs))
	for i, rr := range rrs {
		all[i] = Record{RR: rr, Weight: 1}
	}
	return all
}

// maxAliases is how many aliases are followed, one after the other.
const maxAliases = 16

// through answers with an alias, and with what it leads to where that is ours.
func (r *resolution) through(f *static.Zone, found static.Found) *Answer {
	target := found.Records[len(found.Records)-1].(*dns.CNAME).Target
	a := &Answer{
		Authoritative: true, Zone: r.zone, Records: records(found.Records), Stamp: f.Stamp(),
		Cacheable:    found.Encloser == "" && !r.zone.Registered() && len(found.Records) == 1, // without a DNAME
		fromWildcard: found.Encloser != "" || len(found.Records) > 1,
	}
	a.Records[len(a.Records)-1].Made = len(found.Records) > 1
	if r.wants(dns.TypeCNAME) {
		return a // made of a DNAME, it is what was asked for
	}
	wire, ok := pack(target)
	if !ok || r.z.match(wire) == nil {
		a.Beyond = target
		return a
	}
	depth := 0
	for passed := r; passed != nil; passed = passed.from {
		if passed.wire == wire {
			a.Explanation.Text = "the alias " + target + " leads back to that name"
			return a
		}
		depth++
	}
	if depth > maxAliases {
		a.Explanation.Text = "too many aliases lead to one another before " + target
		return a
	}
	next := (&resolution{z: r.z, v: r.v, wire: wire, qtype: r.qtype, from: r}).resolve()
	if next.Rcode == dns.RcodeServerFailure {
		return next
	}
	a.Records = append(a.Records, next.Records...)
	a.Rcode, a.Authority, a.Extra, a.Explanation, a.Beyond = next.Rcode, next.Authority, next.Extra, next.Explanation, next.Beyond
	a.Proof, a.fromWildcard = next.Proof, a.fromWildcard || next.fromWildcard
	if next.Zone != nil {
		a.Zone = next.Zone // whose serial is in the SOA, and on whose truth it all depends
	}
	a.Cacheable = a.Cacheable && next.Cacheable && next.Stamp == a.Stamp
	return a
}

// referral answers that the name is in a zone of others, with the addresses of
// their servers as far as they are here.
func (r *resolution) referral(f *static.Zone, found static.Found) *Answer {
	a := &Answer{Zone: r.zone, Authority: found.Records}
	a.Proof = &Proof{owner: dns.CanonicalName(found.Records[0].Header().Name), types: []uint16{dns.TypeNS}, ds: found.DS}
	for _, rr := range found.Records {
		a.Extra = append(a.Extra, f.Addresses(targetName(rr))...)
	}
	return a
}

// targetName returns the name whose addresses go along with a record.
func targetName(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.NS:
		return rr.Ns
	case *dns.MX:
		return rr.Mx
	case *dns.SRV:
		return rr.Target
	}
	return ""
}

// lasts tells whether an answer that depends on more names of ours than its own may
// be kept while the View lasts: a file that may have one can change without it.
func (z *Zones) lasts() bool { return len(z.config.Files) == 0 }

// Shadowed yields the names in zone files that are registered, too, and so not
// answered from the file, each with its zone. The apex of a zone of services is
// none of them: that a file has one is what makes it a zone file.
func (z *Zones) Shadowed(v *registry.View) iter.Seq2[*Zone, string] {
	return func(yield func(*Zone, string) bool) {
		for apex, zone := range z.byName {
			if zone.file == nil || !zone.Registered() {
				continue
			}
			for wire := range zone.file.Zone().Owners() {
				if wire == apex && !zone.static || z.match(wire) != zone || !z.isRegistered(zone, v, wire) {
					continue
				}
				labels, _ := parse(nil, wire)
				if !yield(zone, present(labels)) {
					return
				}
			}
		}
	}
}
