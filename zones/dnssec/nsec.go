package dnssec

import (
	"slices"

	"github.com/miekg/dns"
)

// Exists returns the NSEC that says which types a name may have, and nothing of
// any other name: the next one that it tells of is the very next there can be. Each
// type that is not among them is proven not to be there.
func Exists(owner string, ttl uint32, types []uint16) *dns.NSEC {
	bitmap := append([]uint16{dns.TypeRRSIG, dns.TypeNSEC}, types...)
	slices.Sort(bitmap)
	return &dns.NSEC{
		Hdr:        dns.RR_Header{Name: owner, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: ttl},
		NextDomain: successor(owner),
		TypeBitMap: slices.Compact(bitmap),
	}
}

// Absent returns the NSEC that says that a name does not exist (RFC 9824,
// section 3.1).
func Absent(owner string, ttl uint32) *dns.NSEC {
	return Exists(owner, ttl, []uint16{dns.TypeNXNAME})
}

const (
	maxName  = 255
	maxLabel = 63
)

// successor returns the name that comes next in DNSSEC's order (RFC 4034, section
// 6.1) of all that there can be: a zero octet below it, or, where that is too long,
// what comes closest (RFC 4471, section 3.1).
func successor(owner string) string {
	var space [maxName + 3]byte
	n, err := dns.PackDomainName(owner, space[:], 0, nil, false)
	if err != nil {
		return owner
	}
	if owner == "." {
		return `\000.`
	}
	if n+2 <= maxName {
		return `\000.` + owner
	}
	next := increment(space[:n])
	name, _, err := dns.UnpackDomainName(next, 0)
	if err != nil {
		return owner
	}
	return name
}

// increment returns the name in wire format that follows one that has no room for
// another label.
func increment(name []byte) []byte {
	for len(name) > 1 {
		size := int(name[0])
		label, rest := name[1:1+size], name[1+size:]
		if len(name)+1 <= maxName && size < maxLabel {
			return slices.Concat([]byte{byte(size + 1)}, label, []byte{0}, rest)
		}
		for last := size - 1; last >= 0; last-- {
			if c := label[last]; c != 0xff {
				up := append(slices.Clone(label[:last]), c+1)
				if up[last] == 'A' {
					up[last] = 'Z' + 1 // which sorts as it is, where letters do not
				}
				return slices.Concat([]byte{byte(len(up))}, up, rest)
			}
		}
		name = rest
	}
	return name
}
