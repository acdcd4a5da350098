package static

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"
)

// add puts a record into the zone that is being read, or says why it cannot be
// there.
func (z *Zone) add(rr dns.RR) error {
	h := rr.Header()
	wire, ok := wireOf(h.Name)
	switch {
	case !ok:
		return fmt.Errorf("%s is no domain name", h.Name)
	case !isIn(wire, z.apex):
		return fmt.Errorf("%s is not in the zone %s", h.Name, z.name)
	case h.Class != dns.ClassINET:
		return fmt.Errorf("the class of %s is not IN", h.Name)
	case h.Ttl > 1<<31-1:
		return fmt.Errorf("the TTL of %s is more than %d seconds (RFC 2181, section 8)", h.Name, 1<<31-1)
	}
	if err := z.admits(wire, rr); err != nil {
		return err
	}
	if dns.Len(rr) > maxRecord {
		return fmt.Errorf("the %s of %s is longer than %d octets", typeName(h.Rrtype), h.Name, maxRecord)
	}
	if _, err := dns.PackRR(rr, make([]byte, dns.Len(rr)+256), 0, nil, false); err != nil {
		return fmt.Errorf("the %s of %s cannot be written: %s", typeName(h.Rrtype), h.Name, strings.TrimPrefix(err.Error(), "dns: "))
	}
	if soa, ok := rr.(*dns.SOA); ok {
		z.soa = soa
	}
	z.put(wire, rr)
	return nil
}

// maxRecord leaves room in a message for the question and a header.
const maxRecord = 65535 - 600

// admits tells what a name may not have beside what it has.
func (z *Zone) admits(wire string, rr dns.RR) error {
	owner, rrtype := rr.Header().Name, rr.Header().Rrtype
	n := z.nodes[wire]
	if n == nil {
		n = new(node)
	}
	wildcard := strings.HasPrefix(wire, "\x01*")
	switch {
	case rrtype == dns.TypeSOA && wire != z.apex:
		return fmt.Errorf("a SOA is at %s, which is not the name of the zone", owner)
	case rrtype == dns.TypeSOA && z.soa != nil:
		return errors.New("there is a second SOA")
	case rrtype == dns.TypeCNAME && len(n.sets) > 0:
		return fmt.Errorf("%s has a CNAME beside other records (RFC 1034, section 3.6.2)", owner)
	case rrtype != dns.TypeCNAME && n.set(dns.TypeCNAME) != nil:
		return fmt.Errorf("%s has a %s beside a CNAME (RFC 1034, section 3.6.2)", owner, typeName(rrtype))
	case rrtype == dns.TypeDNAME && n.set(dns.TypeDNAME) != nil:
		return fmt.Errorf("%s has a second DNAME (RFC 6672, section 2.4)", owner)
	case wildcard && (rrtype == dns.TypeNS || rrtype == dns.TypeDNAME):
		return fmt.Errorf("%s is a wildcard with a %s, which means nothing that anybody agrees on (RFC 4592, section 4)", owner, typeName(rrtype))
	case rrtype == dns.TypeRRSIG || rrtype == dns.TypeNSEC || rrtype == dns.TypeNSEC3 || rrtype == dns.TypeNSEC3PARAM:
		return fmt.Errorf("%s has a %s: a zone that is signed already cannot be served", owner, typeName(rrtype))
	case rrtype == dns.TypeOPT || rrtype >= 128 && rrtype < 256 || rrtype == dns.TypeNone || rrtype == 65535:
		return fmt.Errorf("%s has a %s, which is no type of records", owner, typeName(rrtype))
	}
	return nil
}

// put adds a record to its RRset, and the names above its own, which exist because
// of it. One that is there already is not added a second time, and the TTL of an
// RRset is its smallest (RFC 2181, section 5.2).
func (z *Zone) put(wire string, rr dns.RR) {
	n := z.nodes[wire]
	if n == nil {
		n = new(node)
		z.nodes[wire] = n
		for above := wire; len(above) > len(z.apex); {
			above = above[1+above[0]:]
			if z.nodes[above] == nil {
				z.nodes[above] = new(node)
			}
		}
	}
	for i := range n.sets {
		if s := &n.sets[i]; s.rrtype == rr.Header().Rrtype {
			s.add(z, rr)
			return
		}
	}
	n.sets = append(n.sets, rrset{rr.Header().Rrtype, []dns.RR{rr}})
	z.records++
}

func (s *rrset) add(z *Zone, rr dns.RR) {
	ttl := min(s.records[0].Header().Ttl, rr.Header().Ttl)
	there := false
	for _, other := range s.records {
		other.Header().Ttl = ttl
		there = there || dns.IsDuplicate(other, rr)
	}
	if rr.Header().Ttl = ttl; !there {
		s.records = append(s.records, rr)
		z.records++
	}
}

// finish checks what is only known once the whole file was read.
func (z *Zone) finish(file, dir string, at map[dns.RR]place) error {
	apex := z.nodes[z.apex]
	switch {
	case z.soa == nil:
		return fmt.Errorf("%s: there is no SOA at %s", filepath.Join(dir, file), z.name)
	case apex.set(dns.TypeNS) == nil:
		return fmt.Errorf("%s: there is no NS at %s", filepath.Join(dir, file), z.name)
	}
	for wire, n := range z.nodes {
		for _, s := range n.sets {
			if wire != z.apex && s.rrtype != dns.TypeA && s.rrtype != dns.TypeAAAA && z.isBelowCut(wire) {
				return fmt.Errorf("%s: %s is in a zone of its own, to which an NS has delegated it, and can only have addresses here", at[s.records[0]], show(wire))
			}
			if rr, err := z.checkServers(s); err != nil {
				return fmt.Errorf("%s: %w", at[rr], err)
			}
		}
	}
	return nil
}

// isBelowCut tells whether a name is below a delegation or a DNAME.
func (z *Zone) isBelowCut(wire string) bool {
	for above := wire[1+wire[0]:]; len(above) >= len(z.apex); above = above[1+above[0]:] {
		n := z.nodes[above]
		if n.set(dns.TypeDNAME) != nil || above != z.apex && n.set(dns.TypeNS) != nil {
			return true
		}
		if len(above) == 1 {
			break
		}
	}
	return false
}

// checkServers checks that the names of name servers are no aliases (RFC 2181,
// section 10.3). MX and SRV may not lead to one either, but too many do.
func (z *Zone) checkServers(s rrset) (dns.RR, error) {
	if s.rrtype != dns.TypeNS {
		return nil, nil
	}
	for _, rr := range s.records {
		server := rr.(*dns.NS).Ns
		wire, ok := wireOf(server)
		if n := z.nodes[wire]; ok && n != nil && n.set(dns.TypeCNAME) != nil {
			return rr, fmt.Errorf("%s has the name server %s, which is an alias (RFC 2181, section 10.3)", rr.Header().Name, server)
		}
	}
	return nil, nil
}

// isIn tells whether a name is in a zone, both in wire format.
func isIn(wire, apex string) bool {
	for len(wire) > len(apex) {
		wire = wire[1+wire[0]:]
	}
	return wire == apex
}
