// Package static reads zones from master files (RFC 1035, section 5) and looks
// names up in them as RFC 1034, section 4.3.2 says: exact names, aliases,
// delegations, wildcards (RFC 4592) and empty non-terminals.
//
// A Zone is what one reading of a file has found, immutable and whole. A File is
// the file itself: it is read anew when it changes, and its Zone is replaced by
// one atomic store, or stays as it is where the file has become wrong. Each Zone
// has a Stamp, which is superseded when another takes its place.
//
// The package stands beside package zones, which asks it, and not inside: what a
// file says is known without any registry, and a registry's names are made
// without any file. What happens where both have a name is decided in zones.
package static

import (
	"iter"
	"maps"
	"slices"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// Zone is a zone as a master file tells it. Its methods may be called from any
// goroutine. What they return belongs to the caller, unless they say otherwise.
type Zone struct {
	name    string // fully qualified, in lower case
	apex    string // in wire format
	soa     *dns.SOA
	nodes   map[string]*node // by name in wire format and lower case; also those without records
	records int
	stamp   registry.Stamp
}

// node is a name and its RRsets. Without any it is an empty non-terminal.
type node struct {
	sets []rrset
}

type rrset struct {
	rrtype  uint16
	records []dns.RR
}

func (n *node) set(rrtype uint16) []dns.RR {
	for _, s := range n.sets {
		if s.rrtype == rrtype {
			return s.records
		}
	}
	return nil
}

// Name returns the zone's name, fully qualified and in lower case.
func (z *Zone) Name() string { return z.name }

// Serial returns the serial of the zone's SOA.
func (z *Zone) Serial() uint32 { return z.soa.Serial }

// Len returns how many records the zone has.
func (z *Zone) Len() int { return z.records }

// Stamp is superseded when another reading of the file takes the Zone's place.
func (z *Zone) Stamp() *registry.Stamp { return &z.stamp }

// SOA returns the SOA as a negative answer has it: its TTL is at most the minimum
// (RFC 2308, section 3).
func (z *Zone) SOA() *dns.SOA {
	soa := dns.Copy(z.soa).(*dns.SOA)
	soa.Hdr.Name, soa.Hdr.Ttl = z.name, min(soa.Hdr.Ttl, soa.Minttl)
	return soa
}

// Records yields all records, those of the apex first, and in the same order for
// the same file. They must not be written to.
func (z *Zone) Records() iter.Seq[dns.RR] {
	names := slices.SortedFunc(maps.Keys(z.nodes), func(a, b string) int {
		if a == z.apex || b == z.apex {
			return len(a) - len(b)
		}
		return compareNames(a, b)
	})
	return func(yield func(dns.RR) bool) {
		for _, name := range names {
			for _, s := range z.nodes[name].sets {
				for _, rr := range s.records {
					if !yield(rr) {
						return
					}
				}
			}
		}
	}
}

// Owners yields the names in wire format that have records.
func (z *Zone) Owners() iter.Seq[string] {
	return func(yield func(string) bool) {
		for name, n := range z.nodes {
			if len(n.sets) > 0 && !yield(name) {
				return
			}
		}
	}
}

// Kind says what became of a question.
type Kind uint8

// The kinds of Found.
const (
	Here     Kind = iota // the name exists; without Records it has none of the type
	Alias                // Records end in a CNAME, whose target is to be asked for
	Referral             // the name is in a zone of its own, whose NS are in Records
	NoName               // the name does not exist, nor anything below it
	TooLong              // a DNAME, in Records, makes a name of it that is none
)

// Found is what a zone has for a question.
type Found struct {
	Kind     Kind
	Records  []dns.RR
	Types    []uint16 // of a name that is Here without Records: those it has
	DS       []dns.RR // of a Referral: the keys of the other zone, if it is signed
	Encloser string   // where a wildcard gave the Records: the name below which it stands, in wire format
}

// Lookup looks for a name of the zone, in wire format and lower case; owner is the
// same name as text. An alias is not followed.
func (z *Zone) Lookup(wire, owner string, qtype uint16) Found {
	encloser := z.apex
	for _, name := range ancestors(wire, z.apex) {
		n := z.nodes[name]
		if n == nil {
			return z.belowWildcard(encloser, owner, qtype)
		}
		encloser = name
		if ns := n.set(dns.TypeNS); ns != nil && name != z.apex && !(name == wire && qtype == dns.TypeDS) {
			return Found{Kind: Referral, Records: copies(ns, ""), DS: copies(n.set(dns.TypeDS), "")}
		}
		if dname := n.set(dns.TypeDNAME); dname != nil && name != wire {
			return z.redirect(dname[0].(*dns.DNAME), name, wire, owner)
		}
	}
	return z.nodes[wire].answer(owner, qtype)
}

// ancestors returns a name and those it ends in, from the apex down.
func ancestors(wire, apex string) []string {
	names := make([]string, 0, 16)
	for ; len(wire) >= len(apex); wire = wire[1+wire[0]:] {
		names = append(names, wire)
		if len(wire) == 1 {
			break
		}
	}
	slices.Reverse(names)
	return names
}

// answer returns the records of a name that is there.
func (n *node) answer(owner string, qtype uint16) Found {
	if cname := n.set(dns.TypeCNAME); cname != nil && qtype != dns.TypeCNAME && qtype != dns.TypeANY {
		return Found{Kind: Alias, Records: copies(cname, owner)}
	}
	if records := n.set(qtype); records != nil {
		return Found{Records: copies(records, owner)}
	}
	if qtype != dns.TypeANY {
		return Found{Types: n.types()}
	}
	var all []dns.RR
	for _, s := range n.sets {
		all = append(all, copies(s.records, owner)...)
	}
	return Found{Records: all}
}

// types returns the types of a name's records. At a delegation the addresses of a
// name server are none of them.
func (n *node) types() (types []uint16) {
	cut := n.set(dns.TypeNS) != nil && n.set(dns.TypeSOA) == nil
	for _, s := range n.sets {
		if !cut || s.rrtype == dns.TypeNS || s.rrtype == dns.TypeDS {
			types = append(types, s.rrtype)
		}
	}
	return types
}

// belowWildcard answers for a name that is not there, and whose closest encloser
// is (RFC 4592, section 3.3.1): by what stands below that under an asterisk.
func (z *Zone) belowWildcard(encloser, owner string, qtype uint16) Found {
	n := z.nodes["\x01*"+encloser]
	if n == nil {
		return Found{Kind: NoName}
	}
	f := n.answer(owner, qtype)
	f.Encloser = encloser
	return f
}

// redirect answers for a name below a DNAME (RFC 6672, section 3).
func (z *Zone) redirect(dname *dns.DNAME, from, wire, owner string) Found {
	records := copies([]dns.RR{dname}, "")
	target, ok := wireOf(dname.Target)
	if !ok || len(wire)-len(from)+len(target) > 255 {
		return Found{Kind: TooLong, Records: records}
	}
	name, _, err := dns.UnpackDomainName([]byte(wire[:len(wire)-len(from)]+target), 0)
	if err != nil {
		return Found{Kind: TooLong, Records: records}
	}
	cname := &dns.CNAME{Hdr: dname.Hdr, Target: name}
	cname.Hdr.Name, cname.Hdr.Rrtype = owner, dns.TypeCNAME
	return Found{Kind: Alias, Records: append(records, cname)}
}

// Addresses returns the address records of a name, also of one that is only there
// as glue for a delegation; none for a name that is not in the zone.
func (z *Zone) Addresses(name string) []dns.RR {
	wire, ok := wireOf(name)
	n := z.nodes[wire]
	if !ok || n == nil {
		return nil
	}
	return append(copies(n.set(dns.TypeA), ""), copies(n.set(dns.TypeAAAA), "")...)
}

// Delegates tells whether a name, in wire format and lower case, is in a zone of
// its own, to which an NS has delegated it.
func (z *Zone) Delegates(wire string) bool {
	for ; len(wire) > len(z.apex); wire = wire[1+wire[0]:] {
		if n := z.nodes[wire]; n != nil && n.set(dns.TypeNS) != nil {
			return true
		}
	}
	return false
}

// copies returns records of the caller's own, under another owner where one is
// given: miekg/dns writes to records when it packs them.
func copies(records []dns.RR, owner string) []dns.RR {
	if len(records) == 0 {
		return nil
	}
	own := make([]dns.RR, len(records))
	for i, rr := range records {
		own[i] = dns.Copy(rr)
		if owner != "" {
			own[i].Header().Name = owner
		}
	}
	return own
}

// wireOf returns a name in wire format and lower case.
func wireOf(name string) (wire string, ok bool) {
	var space [256]byte
	n, err := dns.PackDomainName(name, space[:], 0, nil, false)
	if err != nil {
		return "", false
	}
	b := space[:n]
	for i, c := range b { // a length is no letter: it is at most 63
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b), true
}

// compareNames orders names in wire format as DNSSEC does (RFC 4034, section 6.1):
// by their labels from the right.
func compareNames(a, b string) int {
	return slices.Compare(reversedLabels(a), reversedLabels(b))
}

func reversedLabels(wire string) (labels []string) {
	for ; len(wire) > 1; wire = wire[1+wire[0]:] {
		labels = append(labels, wire[1:1+wire[0]])
	}
	slices.Reverse(labels)
	return labels
}

// same tells whether two nodes have the same records, but for a SOA.
func (n *node) same(other *node) bool {
	if len(n.sets) != len(other.sets) {
		return false
	}
	for _, s := range n.sets {
		theirs := other.set(s.rrtype)
		if len(theirs) != len(s.records) || s.rrtype != dns.TypeSOA && !sameSet(s.records, theirs) {
			return false
		}
	}
	return true
}

// sameSet tells whether each record of a set is in another of the same length.
func sameSet(a, b []dns.RR) bool {
	for _, rr := range a {
		there := func(other dns.RR) bool { return rr.Header().Ttl == other.Header().Ttl && dns.IsDuplicate(rr, other) }
		if !slices.ContainsFunc(b, there) {
			return false
		}
	}
	return true
}
