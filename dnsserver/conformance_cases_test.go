package dnsserver

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

func wireCases() []wireCase {
	return slices.Concat(headerCases(), ednsCases(), optionCases(), malformedCases(), nameCases(), classCases(), negativeCases(), recordCases(), truncationCases())
}

const web, apex = "web.service.test.", "test."

// headerCases are RFC 8906, 8.1: what headers say, and whether somebody reads it.
func headerCases() (cases []wireCase) {
	soa := all(rcode(dns.RcodeSuccess), counts(1, 0), sets(flagAA), clears(flagRA|flagTC), hasOPT(false))
	cases = []wireCase{
		{name: "RFC 8906 8.1.1: a plain query", query: asks(apex, dns.TypeSOA), wants: soa},
		{name: "RFC 8906 8.1.1: an unknown type", query: asks(apex, 1000), wants: all(nodata, hasOPT(false))},
		{name: "RFC 8906 8.1.2: CD is copied", query: asks(apex, dns.TypeSOA, withFlags(flagCD)), wants: all(soa, sets(flagCD))},
		{name: "RFC 8906 8.1.2: AD means nothing", query: asks(apex, dns.TypeSOA, withFlags(flagAD)), wants: soa},
		{name: "RFC 8906 8.1.3: Z means nothing", query: asks(apex, dns.TypeSOA, withFlags(flagZ)), wants: soa},
		{name: "RFC 8906 8.1.3: RD is copied, and no recursion is offered", query: asks(apex, dns.TypeSOA, withFlags(flagRD)), wants: soa},
		{name: "RFC 1035 4.1.1: AA, TC and RA of a query mean nothing", query: asks(apex, dns.TypeSOA, withFlags(flagAA|flagTC|flagRA)), wants: soa},
		{name: "RFC 1035 4.1.1: a code in a query means nothing", query: asks(apex, dns.TypeSOA, withFlags(0xf)), wants: soa},
		{name: "RFC 1035 4.1.1: every flag at once", query: asks(apex, dns.TypeSOA, withFlags(flagAA|flagTC|flagRD|flagRA|flagZ|flagAD|flagCD|0xf)), wants: soa},
		{name: "RFC 5452 9: a reply is not answered", query: asks(apex, dns.TypeSOA, withFlags(flagQR)), silent: true},
		{name: "RFC 5452 9: nor one of another opcode", query: asks(apex, dns.TypeSOA, withFlags(flagQR), withOpcode(5)), silent: true},
		{name: "RFC 5452 9: nor a malformed one", query: asks(apex, dns.TypeSOA, withFlags(flagQR), withOctets(1, 2, 3)), silent: true},
		{name: "RFC 9619: no question", query: asks(apex, dns.TypeSOA, withCount(0, 0)), wants: formerr},
		{name: "RFC 9619: no question, and nothing else", query: []byte{1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, wants: formerr},
		{name: "RFC 9619: two questions", query: append(asks(apex, dns.TypeSOA, withCount(0, 2)), asks(web, dns.TypeA)[headerSize:]...), wants: formerr},
		{name: "RFC 9619: the same question twice", query: append(asks(apex, dns.TypeSOA, withCount(0, 2)), asks(apex, dns.TypeSOA)[headerSize:]...), wants: formerr},
		{name: "RFC 9619: 65,535 questions that are not there", query: asks(apex, dns.TypeSOA, withCount(0, 65535)), wants: formerr},
	}
	for opcode := 1; opcode < 16; opcode++ { // RFC 8906, 8.1.4
		cases = append(cases, wireCase{name: fmt.Sprintf("RFC 8906 8.1.4: opcode %d", opcode), query: asks(apex, dns.TypeSOA, withOpcode(opcode)), wants: notimp})
	}
	cases = append(cases,
		wireCase{name: "RFC 8906 8.1.4: an opcode with nothing else", query: []byte{1, 2, 15 << 3, 0, 0, 0, 0, 0, 0, 0, 0, 0}, wants: notimp},
		wireCase{name: "RFC 2136: an update is not made", query: asks(apex, dns.TypeSOA, withOpcode(5), withCount(2, 1), withOctets(append(wireName("new.test."), 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 1)...)), wants: notimp},
		wireCase{name: "RFC 1996: who is no primary of ours is not heard", query: asks(apex, dns.TypeSOA, withOpcode(4), withFlags(flagAA)), wants: all(counts(0, 0), clears(flagTC))},
	)
	for _, size := range []int{0, 1, 2, 4, 6, 8, 10, 11} {
		cases = append(cases, wireCase{name: fmt.Sprintf("RFC 1035 4.1.1: %d octets are no header", size), query: asks(apex, dns.TypeSOA)[:size], only: "udp", silent: true})
	}
	return cases
}

// ednsCases are RFC 8906, 8.2, and RFC 6891.
func ednsCases() (cases []wireCase) {
	soa := all(rcode(dns.RcodeSuccess), counts(1, 0), sets(flagAA), hasOPT(true), noOption(10, 11, 12, 3, 8))
	badvers := all(rcode(dns.RcodeBadVers), counts(0, 0), hasOPT(true))
	do := func(set bool) expectation {
		return func(r *wireReply, _ []byte) string {
			if set != (r.opt.ttl&0x8000 != 0) {
				return fmt.Sprintf("DO is set: %v (RFC 3225, 3)", !set)
			}
			return ""
		}
	}
	size := func(r *wireReply, _ []byte) string {
		if r.opt.class < 512 || r.opt.class > 4096 {
			return fmt.Sprintf("it says that it takes %d octets", r.opt.class)
		}
		return ""
	}
	cases = []wireCase{
		{name: "RFC 8906 8.2.1: EDNS", query: asks(apex, dns.TypeSOA, withOPT(4096, 0, 0)), wants: all(soa, size, do(false))},
		{name: "RFC 8906 8.2.1: EDNS with an unknown type", query: asks(apex, 1000, withOPT(4096, 0, 0)), wants: all(nodata, hasOPT(true))},
		{name: "RFC 8906 8.2.2: EDNS 1", query: asks(apex, dns.TypeSOA, withOPT(4096, 1, 0)), wants: badvers},
		{name: "RFC 8906 8.2.3: an unknown option", query: asks(apex, dns.TypeSOA, withOPT(4096, 0, 0, option(100, 1, 2, 3)...)), wants: all(soa, noOption(100))},
		{name: "RFC 8906 8.2.4: an unknown flag", query: asks(apex, dns.TypeSOA, withOPT(4096, 0, 0x40)), wants: soa},
		{name: "RFC 6891 6.1.1: OPT as an answer", query: asks(apex, dns.TypeSOA, withOPT(4096, 0, 0), withCount(1, 1), withCount(3, 0)), wants: formerr},
		{name: "RFC 6891 6.1.1: OPT as authority", query: asks(apex, dns.TypeSOA, withOPT(4096, 0, 0), withCount(2, 1), withCount(3, 0)), wants: formerr},
		{name: "RFC 6891 6.1.2: OPT of another name than the root", query: asks(apex, dns.TypeSOA, withCount(3, 1), withOctets(1, 'a', 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0)), wants: formerr},
		{name: "RFC 8906 8.2.4: every flag but DO", query: asks(apex, dns.TypeSOA, withOPT(4096, 0, 0x3fff)), wants: all(soa, do(false))},
		{name: "RFC 8906 8.2.5: EDNS 1 with an unknown flag", query: asks(apex, dns.TypeSOA, withOPT(4096, 1, 0x40)), wants: badvers},
		{name: "RFC 8906 8.2.6: EDNS 1 with an unknown option", query: asks(apex, dns.TypeSOA, withOPT(4096, 1, 0, option(100, 1)...)), wants: all(badvers, noOption(100))},
		{name: "RFC 8906 8.2.7: DO", query: asks(apex, dns.TypeSOA, withOPT(4096, 0, 0x8000)), wants: all(soa, do(true))},
		{name: "RFC 8906 8.2.8: EDNS 1 with DO", query: asks(apex, dns.TypeSOA, withOPT(4096, 1, 0x8000)), wants: badvers},
		{name: "RFC 8906 8.2.9: options that everybody knows", query: asks(apex, dns.TypeSOA, withOPT(4096, 0, 0, slices.Concat(option(3), option(8, 0, 1, 0, 0), option(9), option(10, 1, 2, 3, 4, 5, 6, 7, 8))...)),
			wants: all(rcode(dns.RcodeSuccess), counts(1, 0), hasOPT(true), hasOption(8, 4), noOption(3, 9))},
		{name: "RFC 6891 6.1.1: OPT in an answer that refuses", query: asks("example.", dns.TypeA, withOPT(1232, 0, 0)), wants: all(refuses, hasOPT(true))},
		{name: "RFC 6891 6.1.1: OPT where the name does not exist", query: asks("none.service.test.", dns.TypeA, withOPT(1232, 0, 0)), wants: all(nxdomain, hasOPT(true))},
		{name: "RFC 6891 6.1.1: OPT with an unknown opcode", query: asks(apex, dns.TypeSOA, withOpcode(3), withOPT(1232, 0, 0)), wants: all(notimp, hasOPT(true))},
		{name: "RFC 6891 6.1.1: two OPT", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0), withOPT(1232, 0, 0)), wants: formerr},
		{name: "RFC 6891 6.1.1: OPT before another record", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0), withOctets(append(wireName(web), 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4)...), withCount(3, 2)), wants: all(rcode(dns.RcodeSuccess), hasOPT(true))},
		{name: "RFC 6891 6.1.2: OPT of 0 octets", query: asks(apex, dns.TypeSOA, withOPT(0, 0, 0)), wants: soa},
		{name: "RFC 6891 6.1.2: OPT of 1 octet", query: asks(apex, dns.TypeSOA, withOPT(1, 0, 0)), wants: soa},
		{name: "RFC 6891 6.1.2: OPT of 65,535 octets", query: asks(apex, dns.TypeSOA, withOPT(65535, 0, 0)), wants: soa},
		{name: "RFC 6891 6.1.3: the upper part of a code in a query means nothing", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0), func(q []byte) []byte { q[len(q)-6] = 0xff; return q }), wants: soa},
	}
	for version := 2; version < 256; version++ {
		cases = append(cases, wireCase{name: fmt.Sprintf("RFC 6891 6.1.3: EDNS %d", version), query: asks(apex, dns.TypeSOA, withOPT(1232, byte(version), 0)), wants: badvers})
	}
	return cases
}

// optionCases are what options of OPT must not do, and RFC 7873 and 9018.
func optionCases() (cases []wireCase) {
	plain := all(rcode(dns.RcodeSuccess), counts(1, 0), hasOPT(true))
	for _, o := range []struct {
		name    string
		code    uint16
		content []byte
	}{
		{"NSID (RFC 5001) where there is no id", 3, nil}, {"NSID with content", 3, []byte("mine")}, {"DAU (RFC 6975)", 5, []byte{8, 13}},
		{"EXPIRE (RFC 7314)", 9, nil}, {"CHAIN (RFC 7901)", 13, []byte{0}}, {"KEY-TAG (RFC 8145)", 14, []byte{1, 2}}, {"EDE in a query (RFC 8914)", 15, []byte{0, 1}},
		{"CLIENT-TAG", 16, []byte{0, 1}}, {"SERVER-TAG", 17, []byte{0, 1}}, {"Report-Channel (RFC 9567)", 18, []byte{0}}, {"ZONEVERSION (RFC 9660)", 19, nil},
		{"one for local use", 65001, []byte("abc")}, {"option 0", 0, nil}, {"option 65535", 65535, []byte{1}},
	} {
		cases = append(cases, wireCase{name: "RFC 6891 6.1.2: " + o.name + " is not copied", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(o.code, o.content...)...)), wants: all(plain, noOption(o.code))})
	}
	for name, options := range map[string][]byte{
		"an option that is cut off": {0, 10, 0}, "an option that is longer than OPT": {0, 10, 0, 200, 1}, "one octet of an option": {1},
		"an option behind a good one that is cut off": append(option(100, 1), 0, 1, 0, 9, 9),
	} {
		cases = append(cases, wireCase{name: "RFC 6891 6.1.2: " + name, query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, options...)), wants: formerr})
	}
	cases = append(cases,
		wireCase{name: "RFC 7828 3.2.1: keepalive is not for UDP", only: "udp", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(11)...)), wants: all(plain, noOption(11))},
		wireCase{name: "RFC 7828 3.3.2: keepalive over TCP", only: "tcp", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(11)...)), wants: all(plain, hasOption(11, 2))},
		wireCase{name: "RFC 7828 3.3.2: keepalive over TLS", only: "tls", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(11)...)), wants: all(plain, hasOption(11, 2))},
		wireCase{name: "RFC 7828 3.1: keepalive is not for HTTPS", only: "https", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(11)...)), wants: all(plain, noOption(11))},
		wireCase{name: "RFC 7830 4: padding is not for UDP", only: "udp", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(12, 0, 0, 0)...)), wants: all(plain, noOption(12))},
		wireCase{name: "RFC 7830 4: padding is not for TCP in clear", only: "tcp", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(12, 0, 0, 0)...)), wants: all(plain, noOption(12))},
		wireCase{name: "RFC 8467 4.1: padding over TLS", only: "tls", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(12, 0, 0, 0)...)), wants: all(plain, padded)},
		wireCase{name: "RFC 8467 4.1: padding over HTTPS", only: "https", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(12, 0, 0, 0)...)), wants: all(plain, padded)},
	)
	cases = append(cases, subnetCases(plain)...)
	mine := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for _, size := range []int{0, 1, 4, 7, 9, 12, 15, 41, 64} {
		cases = append(cases, wireCase{name: fmt.Sprintf("RFC 7873 5.2.2: a cookie of %d octets", size), query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(10, make([]byte, size)...)...)), wants: formerr})
	}
	cookie := func(r *wireReply, _ []byte) string {
		if c := r.options()[10]; len(c) != 24 || !bytes.Equal(c[:8], mine) || !bytes.Equal(c[8:12], []byte{1, 0, 0, 0}) {
			return fmt.Sprintf("the cookie is %x (RFC 9018, 4)", c)
		}
		return ""
	}
	bad := option(10, append(slices.Clone(mine), make([]byte, 16)...)...)
	return append(cases,
		wireCase{name: "RFC 7873 5.2.3: a client's cookie alone", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(10, mine...)...)), wants: all(plain, cookie)},
		wireCase{name: "RFC 7873 5.2.3: with a name that does not exist", query: asks("none.service.test.", dns.TypeA, withOPT(1232, 0, 0, option(10, mine...)...)), wants: all(nxdomain, cookie)},
		wireCase{name: "RFC 7873 5.2.4: a server's cookie that is not ours, over UDP", only: "udp", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, bad...)), wants: all(rcode(dns.RcodeBadCookie), counts(0, 0), cookie)},
		wireCase{name: "RFC 7873 5.2.4: a server's cookie that is not ours, over TCP", only: "tcp", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, bad...)), wants: all(plain, cookie)},
		wireCase{name: "RFC 7873 5.2.4: a server's cookie of 8 octets", only: "udp", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(10, append(slices.Clone(mine), make([]byte, 8)...)...)...)), wants: all(rcode(dns.RcodeBadCookie), cookie)},
		wireCase{name: "RFC 7873 5.2.4: a server's cookie of 32 octets", only: "udp", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(10, append(slices.Clone(mine), make([]byte, 32)...)...)...)), wants: all(rcode(dns.RcodeBadCookie), cookie)},
		wireCase{name: "RFC 7873 5.2: of two cookies the first counts", query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, append(option(10, mine...), option(10, 8, 7, 6, 5, 4, 3, 2, 1)...)...)), wants: all(plain, cookie)},
	)
}

// subnetCases are those of RFC 7871: the answer is the same for all, and says so.
func subnetCases(plain expectation) (cases []wireCase) {
	long := append([]byte{0, 2, 128, 0}, bytes.Repeat([]byte{0x20}, 16)...)
	for name, content := range map[string][]byte{
		"of IPv4": {0, 1, 24, 0, 192, 0, 2}, "of IPv4, whose last octet is not whole": {0, 1, 20, 0, 192, 0, 0x20}, "of an address": {0, 1, 32, 0, 192, 0, 2, 1},
		"of IPv6": {0, 2, 56, 0, 0x20, 1, 0x0d, 0xb8, 0, 0, 1}, "of an address of IPv6": long,
		"that is nobody's": {0, 1, 0, 0}, "of no family": {0, 0, 0, 0},
	} {
		wants := func(r *wireReply, _ []byte) string {
			if o, ok := r.options()[optionSubnet]; !ok || !bytes.Equal(o, content) {
				return fmt.Sprintf("the client subnet %x is %x, and its scope has to be 0", content, o)
			}
			return ""
		}
		query := asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(optionSubnet, content...)...))
		cases = append(cases,
			wireCase{name: "RFC 7871 7.2.1: a subnet " + name, query: query, wants: all(plain, wants)},
			wireCase{name: "RFC 7871 7.2.1: a subnet " + name + ", and a name that does not exist", query: asks("none.service.test.", dns.TypeA, withOPT(1232, 0, 0, option(optionSubnet, content...)...)), wants: all(nxdomain, wants)},
		)
	}
	for name, content := range map[string][]byte{
		"of three octets": {0, 1, 0}, "empty": {}, "of a family that there is not": {0, 3, 8, 0, 1}, "of no family, with an address": {0, 0, 8, 0, 1},
		"with too few octets": {0, 1, 24, 0, 192, 0}, "with too many octets": {0, 1, 24, 0, 192, 0, 2, 0}, "with bits beyond its length": {0, 1, 20, 0, 192, 0, 0x28},
		"longer than an address": {0, 1, 33, 0, 192, 0, 2, 1, 0}, "longer than one of IPv6": append([]byte{0, 2, 129, 0}, make([]byte, 17)...), "with a scope": {0, 1, 24, 24, 192, 0, 2},
	} {
		cases = append(cases, wireCase{name: "RFC 7871 6: a subnet " + name, query: asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(optionSubnet, content...)...)), wants: formerr})
	}
	return cases
}

func hasOption(code uint16, size int) expectation {
	return func(r *wireReply, _ []byte) string {
		if o, ok := r.options()[code]; !ok || len(o) != size {
			return fmt.Sprintf("the option %d is %x", code, o)
		}
		return ""
	}
}

func padded(r *wireReply, _ []byte) string {
	if _, ok := r.options()[12]; !ok || len(r.octets)%paddingBlock != 0 {
		return fmt.Sprintf("its %d octets are no whole number of blocks", len(r.octets))
	}
	return ""
}

// malformedCases are those of RFC 9267, and others that have brought servers down.
func malformedCases() (cases []wireCase) {
	header := func(counts ...byte) []byte { return append([]byte{1, 2, 0, 0}, counts...) }
	one := []byte{0, 1, 0, 0, 0, 0, 0, 0}
	record := []byte{0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4} // behind a name
	for name, query := range map[string][]byte{
		"a pointer to itself":                      append(header(one...), 0xc0, 12, 0, 1, 0, 1),
		"a pointer into the header":                append(header(one...), 0xc0, 4, 0, 1, 0, 1),
		"a pointer to behind itself":               append(header(one...), 0xc0, 14, 3, 'w', 'e', 'b', 0, 0, 1, 0, 1),
		"a pointer to behind the end":              append(header(one...), 0xff, 0xff, 0, 1, 0, 1),
		"a label before a pointer to it":           append(header(one...), 1, 'a', 0xc0, 12, 0, 1, 0, 1),
		"half a pointer":                           append(header(one...), 0xc0),
		"a label of the kind 0x40":                 append(header(one...), 0x41, 'a', 0, 0, 1, 0, 1),
		"a label of the kind 0x80":                 append(header(one...), 0x81, 'a', 0, 0, 1, 0, 1),
		"a label of 64 octets":                     append(append(append(header(one...), 64), bytes.Repeat([]byte{'a'}, 64)...), 0, 0, 1, 0, 1),
		"a label that is cut off":                  append(header(one...), 9, 'a', 'b'),
		"a name without an end":                    append(header(one...), 1, 'a', 1, 'b'),
		"a name of 256 octets":                     append(append(header(one...), bytes.Repeat([]byte{63, 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a'}, 4)...), 0, 0, 1, 0, 1),
		"no name":                                  header(one...),
		"no type":                                  append(header(one...), 3, 'w', 'e', 'b', 0),
		"half a type":                              append(header(one...), 3, 'w', 'e', 'b', 0, 0),
		"no class":                                 append(header(one...), 3, 'w', 'e', 'b', 0, 0, 1),
		"half a class":                             append(header(one...), 3, 'w', 'e', 'b', 0, 0, 1, 0),
		"an octet behind the end":                  append(asks(apex, dns.TypeSOA), 0),
		"many octets behind the end":               append(asks(apex, dns.TypeSOA), bytes.Repeat([]byte{0xff}, 300)...),
		"an answer that is not there":              asks(apex, dns.TypeSOA, withCount(1, 1)),
		"an authority that is not there":           asks(apex, dns.TypeSOA, withCount(2, 1)),
		"an additional record that is not there":   asks(apex, dns.TypeSOA, withCount(3, 1)),
		"65,535 records that are not there":        asks(apex, dns.TypeSOA, withCount(1, 65535), withCount(2, 65535), withCount(3, 65535)),
		"a record that is cut off in its name":     asks(apex, dns.TypeSOA, withCount(3, 1), withOctets(5, 'a')),
		"a record that is cut off behind its name": asks(apex, dns.TypeSOA, withCount(3, 1), withOctets(0, 0, 1)),
		"a record with too much data":              asks(apex, dns.TypeSOA, withCount(3, 1), withOctets(append([]byte{0}, 0, 1, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 1)...)),
		"a record whose name points to itself":     asks(apex, dns.TypeSOA, withCount(3, 1), withOctets(append([]byte{0xc0, byte(len(asks(apex, dns.TypeSOA)))}, record...)...)),
		"a record whose name points ahead":         asks(apex, dns.TypeSOA, withCount(3, 1), withOctets(append([]byte{0xc0, 0xff}, record...)...)),
		"a record whose name is of the kind 0x80":  asks(apex, dns.TypeSOA, withCount(3, 1), withOctets(append([]byte{0x80, 1}, record...)...)),
		"OPT that is longer than the query":        asks(apex, dns.TypeSOA, withCount(3, 1), withOctets(0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 9)),
		"OPT whose length is cut off":              asks(apex, dns.TypeSOA, withCount(3, 1), withOctets(0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0)),
	} {
		cases = append(cases, wireCase{name: "RFC 9267: " + name, query: query, wants: all(rcode(dns.RcodeFormatError), counts(0, 0))})
	}
	at := len(asks(apex, dns.TypeSOA)) // where the first record begins
	of := func(kind uint16, data ...byte) []byte {
		return append([]byte{0, byte(kind >> 8), byte(kind), 0, 1, 0, 0, 0, 0, byte(len(data) >> 8), byte(len(data))}, data...)
	}
	for name, octets := range map[string][]byte{
		"a name that leads to its own label":     append([]byte{1, 'a', 0xc0, byte(at)}, record...),
		"a name that leads into itself":          append([]byte{3, 'a', 'b', 'c', 3, 'd', 'e', 'f', 0xc0, byte(at + 4)}, record...),
		"a name that leads into the header":      append([]byte{0xc0, 2}, record...),
		"a name that leads to the header":        append([]byte{0xc0, 0}, record...),
		"a name of 256 octets behind a pointer":  append(append(bytes.Repeat(append([]byte{63}, bytes.Repeat([]byte{'a'}, 63)...), 3), append([]byte{58}, append(bytes.Repeat([]byte{'a'}, 58), 0xc0, 12)...)...), record...),
		"an address of 3 octets":                 of(dns.TypeA, 1, 2, 3),
		"an address of no octets":                of(dns.TypeA),
		"an address of version 6 with 4 octets":  of(dns.TypeAAAA, 1, 2, 3, 4),
		"a name server whose name leads to it":   of(dns.TypeNS, 0xc0, byte(at+11)),
		"a name server whose name leads ahead":   of(dns.TypeNS, 0xff, 0xff),
		"a name server and an octet":             of(dns.TypeNS, 0xc0, 12, 0),
		"an alias without a name":                of(dns.TypeCNAME),
		"a mail exchange without a name":         of(dns.TypeMX, 0, 1),
		"a start of authority with half numbers": of(dns.TypeSOA, append([]byte{0xc0, 12, 0xc0, 12}, make([]byte, 19)...)...),
	} {
		for section, place := range []string{"answer", "authority", "additional"} {
			query := asks(apex, dns.TypeSOA, withCount(section+1, 1), withOctets(octets...))
			cases = append(cases, wireCase{name: "RFC 9267: " + name + ", as " + place, query: query, wants: all(rcode(dns.RcodeFormatError), counts(0, 0))})
		}
	}
	for name, octets := range map[string][]byte{
		"an address": of(dns.TypeA, 1, 2, 3, 4), "an alias": of(dns.TypeCNAME, 0xc0, 12), "a mail exchange": of(dns.TypeMX, 0, 1, 0xc0, 12),
		"a start of authority": of(dns.TypeSOA, append([]byte{0xc0, 12, 1, 'a', 0xc0, 12}, make([]byte, 20)...)...), "a type without a form": of(65280, 0xff, 0xff),
	} {
		query := asks(apex, dns.TypeSOA, withCount(1, 1), withOctets(octets...))
		cases = append(cases, wireCase{name: "RFC 1035 4.1: " + name + " in a query means nothing", query: query, wants: all(rcode(dns.RcodeSuccess), counts(1, 0))})
	}
	chain := asks(apex, dns.TypeSOA, withCount(3, 500))
	for range 500 { // each name points to the one before
		chain = append(append(chain, 0xc0, headerSize), record...)
	}
	return append(cases,
		wireCase{name: "RFC 9267: 500 records with pointers", only: "tcp", query: chain, wants: rcode(dns.RcodeSuccess)},
		wireCase{name: "RFC 1035 4.1: records in a query mean nothing", query: asks(apex, dns.TypeSOA, withCount(1, 1), withOctets(append(wireName("evil.test."), record...)...)), wants: all(rcode(dns.RcodeSuccess), counts(1, 0))},
	)
}

// nameCases are about what is a name, and in which case.
func nameCases() (cases []wireCase) {
	address := all(rcode(dns.RcodeSuccess), counts(3, 0), sets(flagAA))
	for _, name := range []string{"WEB.SERVICE.TEST.", "wEb.SeRvIcE.tEsT.", "web.service.TEST."} {
		cases = append(cases, wireCase{name: "RFC 4343: " + name, query: asks(name, dns.TypeA), wants: address})
	}
	return append(cases,
		wireCase{name: "RFC 4343: other octets have no case", query: asks(`we\194.service.test.`, dns.TypeA), wants: nxdomain},
		wireCase{name: "RFC 4343 2: the octets beside the letters are others", query: asks("@eb.service.test.", dns.TypeA), wants: nxdomain},
		wireCase{name: "RFC 2181 11: a dot in a label is no end of it", query: asks(`web\.service.test.`, dns.TypeA), wants: nxdomain},
		wireCase{name: "RFC 2181 11: nor of a zone's name", query: asks(`web.service\.test.`, dns.TypeA), wants: refuses},
		wireCase{name: "RFC 2181 11: a label with a zero octet", query: asks(`w\000b.service.test.`, dns.TypeA), wants: nxdomain},
		wireCase{name: "RFC 2181 11: a label with the octet 255", query: asks(`\255.service.test.`, dns.TypeA), wants: nxdomain},
		wireCase{name: "RFC 2181 11: a label of 63 octets", query: asks(strings.Repeat("a", 63)+".service.test.", dns.TypeA), wants: nxdomain},
		wireCase{name: "RFC 2181 11: a name of 255 octets", query: asks(strings.Repeat(strings.Repeat("a", 59)+".", 4)+"test.", dns.TypeA), wants: rcode(dns.RcodeNameError)},
		wireCase{name: "RFC 2181 11: a name of 127 labels", query: asks(strings.Repeat("a.", 124)+"test.", dns.TypeA), wants: nxdomain},
		wireCase{name: "the zone's name as the end of a label", query: asks("mytest.", dns.TypeA), wants: refuses},
		wireCase{name: "the zone's name before another", query: asks("test.example.", dns.TypeA), wants: refuses},
		wireCase{name: "the root", query: asks(".", dns.TypeNS), wants: refuses},
		wireCase{name: "no referral upwards", query: asks("example.com.", dns.TypeNS), wants: refuses},
	)
}

// classCases want that only the Internet has data (RFC 1035, 3.2.4).
func classCases() (cases []wireCase) {
	for name, class := range map[string]uint16{"CH": 3, "HS": 4, "NONE": 254, "ANY": 255, "0": 0, "2": 2, "65280": 65280} {
		cases = append(cases,
			wireCase{name: "RFC 1035 3.2.4: class " + name, query: asks(web, dns.TypeA, withClass(class)), wants: all(counts(0, 0), clears(flagAA))},
			wireCase{name: "RFC 1035 3.2.4: class " + name + " at the apex", query: asks(apex, dns.TypeSOA, withClass(class)), wants: all(counts(0, 0), clears(flagAA))},
		)
	}
	for _, name := range []string{"version.bind.", "version.server.", "hostname.bind.", "id.server.", "authors.bind."} {
		cases = append(cases, wireCase{name: "RFC 4892: " + name + " tells nothing", query: asks(name, dns.TypeTXT, withClass(3)), wants: refuses})
	}
	return cases
}

// negativeCases are RFC 2308, RFC 8020 and RFC 8906, 3.1.4.
func negativeCases() (cases []wireCase) {
	for _, qtype := range []uint16{
		dns.TypeNS, dns.TypeCNAME, dns.TypeSOA, dns.TypePTR, dns.TypeHINFO, dns.TypeMX, dns.TypeRP, dns.TypeAFSDB, dns.TypeSIG, dns.TypeKEY, dns.TypeAAAA, dns.TypeLOC,
		dns.TypeNAPTR, dns.TypeKX, dns.TypeCERT, dns.TypeDNAME, dns.TypeAPL, dns.TypeDS, dns.TypeSSHFP, dns.TypeIPSECKEY, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDNSKEY, dns.TypeNSEC3,
		dns.TypeNSEC3PARAM, dns.TypeTLSA, dns.TypeSMIMEA, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeOPENPGPKEY, dns.TypeCSYNC, dns.TypeZONEMD, dns.TypeHTTPS, dns.TypeSPF, dns.TypeEUI48,
		dns.TypeEUI64, dns.TypeURI, dns.TypeCAA, dns.TypeAVC, 1000, 32768, 65280, 65534,
	} {
		cases = append(cases, wireCase{name: fmt.Sprintf("RFC 2308 2.2: %s of a name that has none", dns.Type(qtype)), query: asks(web, qtype), wants: nodata})
	}
	for _, name := range []string{"service.test.", "node.test.", "addr.test.", "_tcp.test.", "_udp.test.", "_dns-sd._udp.test.", "dc1.test.", "service.dc1.test.", "_tcp.service.test."} {
		cases = append(cases, wireCase{name: "RFC 8020: " + name + " is there, as names end in it", query: asks(name, dns.TypeA), wants: nodata})
	}
	for _, name := range []string{"none.test.", "wbe.service.test.", "web.serivce.test.", "v2.web.service.test.", "none.node.test.", "zz.addr.test.", "_web._v2.test.", "a.b.c.d.test.", "web.web.service.test.", "web.service.dc2.test."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV} {
			cases = append(cases, wireCase{name: fmt.Sprintf("RFC 2308 2.1: %s %s", name, dns.Type(qtype)), query: asks(name, qtype), wants: nxdomain})
		}
	}
	return append(cases,
		wireCase{name: "RFC 2308 2.2: a service whose instances are ill", query: asks("ill.service.test.", dns.TypeA), wants: nodata},
		wireCase{name: "RFC 8914: and why, to who speaks EDNS", query: asks("ill.service.test.", dns.TypeA, withOPT(1232, 0, 0)), wants: all(nodata, explains("1 instance of ill, critical"))},
		wireCase{name: "RFC 8914: why a name does not exist", query: asks("wbe.service.test.", dns.TypeA, withOPT(1232, 0, 0)), wants: all(nxdomain, explains("no service wbe is registered"))},
		wireCase{name: "RFC 2308 2.2: an address of another family", query: asks("six.service.test.", dns.TypeA), wants: nodata},
		wireCase{name: "RFC 1995: IXFR is refused", query: asks(apex, dns.TypeIXFR), wants: refuses},
		wireCase{name: "RFC 5936: AXFR is refused", query: asks(apex, dns.TypeAXFR), wants: refuses},
	)
}

func explains(text string) expectation {
	return func(r *wireReply, _ []byte) string {
		if ede := r.options()[15]; len(ede) < 2 || string(ede[2:]) != text {
			return fmt.Sprintf("it says %q", ede)
		}
		return ""
	}
}

// recordCases are about the records that are there.
func recordCases() []wireCase {
	srv := func(r *wireReply, _ []byte) string {
		glue := make(map[string]bool)
		for _, a := range r.extra {
			glue[a.name] = true
		}
		for _, record := range r.answer {
			switch {
			case record.rrtype != dns.TypeSRV || record.packed:
				return "a target is compressed, or no SRV (RFC 2782)"
			case record.ttl != r.answer[0].ttl:
				return "the TTLs of a set differ (RFC 2181, 5.2)"
			case !glue[string(record.data[6:])]:
				return fmt.Sprintf("the address of %q is not in it", record.data[6:])
			}
		}
		return ""
	}
	three := all(rcode(dns.RcodeSuccess), counts(3, 0), sets(flagAA), clears(flagTC|flagRA))
	return []wireCase{
		{name: "RFC 2782: targets with their addresses", query: asks(web, dns.TypeSRV), wants: all(three, srv)},
		{name: "RFC 2782: by _SERVICE._tcp", query: asks("_web._tcp.test.", dns.TypeSRV), wants: all(three, srv)},
		{name: "RFC 2782: by _SERVICE._TAG", query: asks("_web._v1.service.test.", dns.TypeSRV), wants: all(three, srv)},
		{name: "RFC 1035 3.4.1: addresses", query: asks(web, dns.TypeA), wants: three},
		{name: "RFC 3596: an IPv6 address", query: asks("six.service.test.", dns.TypeAAAA), wants: all(rcode(dns.RcodeSuccess), counts(1, 0), sets(flagAA))},
		{name: "RFC 6763: metadata of more than 255 octets", query: asks("long.service.test.", dns.TypeTXT, withOPT(1232, 0, 0)), wants: all(rcode(dns.RcodeSuccess), counts(1, 0), strings255)},
		{name: "RFC 1035 3.3.11: name servers", query: asks(apex, dns.TypeNS), wants: all(rcode(dns.RcodeSuccess), sets(flagAA))},
		{name: "RFC 9460: SVCB", query: asks(web, dns.TypeSVCB), wants: three},
		{name: "RFC 8482: ANY", query: asks(web, dns.TypeANY), wants: all(rcode(dns.RcodeSuccess), sets(flagAA))},
		{name: "RFC 8482: ANY is no lever", only: "udp", query: asks("big.service.test.", dns.TypeANY, withOPT(4096, 0, 0)), wants: func(r *wireReply, query []byte) string {
			if len(r.octets) > 10*len(query) {
				return fmt.Sprintf("%d octets for %d", len(r.octets), len(query))
			}
			return ""
		}},
		{name: "RFC 1035 6.4: an inverse name", query: asks("0.1.0.10.in-addr.arpa.", dns.TypePTR), wants: all(rcode(dns.RcodeSuccess), sets(flagAA))},
	}
}

// strings255 wants character strings, each behind its length.
func strings255(r *wireReply, _ []byte) string {
	data, n := r.answer[0].data, 0
	for ; len(data) > 0; n++ {
		if int(data[0])+1 > len(data) {
			return "a string is cut off"
		}
		data = data[1+int(data[0]):]
	}
	if n < 3 {
		return fmt.Sprintf("600 octets are in %d strings", n)
	}
	return ""
}

// truncationCases are RFC 2181, 9, and RFC 6891, 6.2.
func truncationCases() (cases []wireCase) {
	cut := func(limit int) expectation {
		return func(r *wireReply, _ []byte) string {
			switch {
			case len(r.octets) > limit:
				return fmt.Sprintf("it has %d octets, and room for %d", len(r.octets), limit)
			case !r.has(flagTC) || len(r.answer) == 0 || len(r.answer) == 60:
				return fmt.Sprintf("TC is set: %v, with %d answers", r.has(flagTC), len(r.answer))
			}
			return ""
		}
	}
	whole := all(rcode(dns.RcodeSuccess), counts(60, 0), clears(flagTC))
	cases = []wireCase{
		{name: "RFC 1035 4.2.1: 512 octets without EDNS", only: "udp", query: asks("big.service.test.", dns.TypeSRV), wants: all(cut(512), hasOPT(false))},
		{name: "RFC 7766: all over a stream", only: "tcp", query: asks("big.service.test.", dns.TypeSRV), wants: whole},
		{name: "RFC 7858: all over TLS", only: "tls", query: asks("big.service.test.", dns.TypeSRV), wants: whole},
		{name: "RFC 8484: all over HTTPS", only: "https", query: asks("big.service.test.", dns.TypeSRV), wants: whole},
		{name: "RFC 2181 9: TC is not for additional records", only: "udp", query: asks(web, dns.TypeSRV), wants: clears(flagTC)},
	}
	for _, size := range []uint16{0, 1, 511, 512, 600, 1000, 1231, 1232, 1233, 1500, 4096, 65535} {
		limit := min(max(int(size), 512), 1232)
		cases = append(cases, wireCase{name: fmt.Sprintf("RFC 6891 6.2.3: room for %d octets", size), only: "udp", query: asks("big.service.test.", dns.TypeSRV, withOPT(size, 0, 0)), wants: all(cut(limit), hasOPT(true))})
	}
	return cases
}
