package zones

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// resolution is one question on its way to an answer.
type resolution struct {
	z     *Zones
	v     *registry.View
	wire  string // the question's name in wire format
	owner string // and as master files have it
	qtype uint16
	zone  *Zone
	home  string              // what targets end in; see appendHome
	from  *resolution         // whose CNAME led here
	port  string              // of which of the instances' ports the name is; empty: of their default ones
	among []registry.Endpoint // of a service's instances, the ones to choose from; nil: all that may be used
	about subject

	text    []byte   // what was written for this question: the owner, and names of the registry's
	labels  []string // room for those of the question's name; nil: none yet
	absence Absence
}

// subject is what an answer is about, for Explain.
type subject struct {
	service *registry.Service
	tags    selection
	id      string
	panic   string // why all instances are in the answer; empty: they are not
	// left says of instances that may be used why they are not in the answer; nil
	// where nobody wants to know.
	left map[*registry.Instance]string
}

// find answers the question; nil: the name does not exist, and r.absence says why.
func (r *resolution) find() *Answer {
	a := r.look()
	if a == nil && r.z.sizes.has(len(r.wire)) && r.z.above[r.wire] {
		a = r.nonTerminal(nil) // another of the zones is below
		a.Cacheable = false    // and the name itself may be registered, or be put into a file
	}
	return a
}

func (r *resolution) look() *Answer {
	labels, ok := parse(r.labels[:0], r.wire)
	if !ok {
		return &Answer{Rcode: dns.RcodeFormatError}
	}
	r.owner = r.present(labels)
	r.zone = r.z.match(r.wire)
	if a := r.keys(labels); a != nil {
		return a
	}
	if parent := r.parent(labels); parent != nil {
		return r.below(parent, labels)
	}
	switch {
	case r.zone != nil && r.zone.file != nil:
		return r.withFile(labels)
	case r.zone == nil && isReverse(labels):
		if a := r.publicAddress(labels); a != nil {
			return a
		}
	case r.zone != nil && r.zone.reverse:
		return r.privateAddress(labels)
	case r.zone != nil:
		return r.answer(labels[:len(labels)-r.zone.size])
	}
	return &Answer{Rcode: dns.RcodeRefused, Explanation: EDE{
		Code: dns.ExtendedErrorCodeNotAuthoritative,
		Text: borrow(r.because(r.owner).text(" is outside ").text(r.z.Primary().Name)),
	}}
}

// wants tells whether records of a type answer the question.
func (r *resolution) wants(rrtype uint16) bool {
	return r.qtype == rrtype || r.qtype == dns.TypeANY
}

// leaveOut notes for Explain why an instance is not in the answer.
func (r *resolution) leaveOut(i *registry.Instance, why string) {
	if r.about.left != nil {
		r.about.left[i] = why
	}
}

// positive answers with records, or with NODATA where there are none.
func (r *resolution) positive(records []Record, stamp *registry.Stamp) *Answer {
	if len(records) == 0 {
		return r.noData(stamp, "")
	}
	return &Answer{
		Authoritative: true, Zone: r.zone, Records: records, Shuffle: true, Stamp: stamp, Cacheable: true,
		Explanation: EDE{Text: r.about.panic},
	}
}

// ofType returns those of the records that the question wants.
func (r *resolution) ofType(rrs []dns.RR) []Record {
	records := make([]Record, 0, len(rrs))
	for _, rr := range rrs {
		if r.wants(rr.Header().Rrtype) {
			records = append(records, Record{RR: rr, Weight: 1})
		}
	}
	return records
}

// header returns the header of a record that exists.
func (z *Zones) header(owner string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: z.ttl}
}

// address returns the A or AAAA record of an address. The record and its octets
// are one piece of memory: there are many of them.
func (z *Zones) address(owner string, a netip.Addr) dns.RR {
	if a.Is4() {
		r := &struct {
			dns.A
			octets [4]byte
		}{octets: a.As4()}
		r.Hdr, r.A.A = z.header(owner, dns.TypeA), r.octets[:]
		return &r.A
	}
	r := &struct {
		dns.AAAA
		octets [16]byte
	}{octets: a.As16()}
	r.Hdr, r.AAAA.AAAA = z.header(owner, dns.TypeAAAA), r.octets[:]
	return &r.AAAA
}

// addresses returns the records of those texts that are addresses, the first of
// each family.
func (z *Zones) addresses(owner string, texts ...string) (rrs []dns.RR) {
	var has4, has6 bool
	for _, text := range texts {
		a, ok := parseAddress(text)
		if !ok || a.Is4() && has4 || a.Is6() && has6 {
			continue
		}
		has4, has6 = has4 || a.Is4(), has6 || a.Is6()
		rrs = append(rrs, z.address(owner, a))
	}
	return rrs
}

// parseAddress reads an address in its canonical form: an IPv6 address that
// stands for an IPv4 one is that, and a scope means nothing to anybody else.
func parseAddress(text string) (netip.Addr, bool) {
	if text == "" {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(text)
	return a.Unmap().WithZone(""), err == nil
}

// hostName returns a registered address that is a host name, fully qualified
// and in lower case.
func hostName(text string) (name string, ok bool) {
	text = strings.TrimSuffix(text, ".")
	if _, isAddress := parseAddress(text); isAddress || len(text) > 253 {
		return "", false
	}
	for label := range strings.SplitSeq(text, ".") {
		if !isPlain(label, "_-") {
			return "", false
		}
	}
	return lower(text) + ".", true
}

// targetLabel returns the datacenter as a label of targets, or nothing where a
// name with it would be read as another: the datacenter may be left out.
func targetLabel(datacenter string) string {
	if datacenter == "" || !isHost(datacenter) || strings.Contains(datacenter, ".") || isKind(lower(datacenter)) {
		return ""
	}
	return lower(datacenter)
}
