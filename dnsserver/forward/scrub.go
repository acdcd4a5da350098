package forward

import (
	"net"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// maxChain is how many aliases are followed in a reply.
const maxChain = 16

// scrub returns what is kept of a reply: the records that lead from the name that
// was asked for, over aliases, to those of the type; of the rest only what proves
// that there is nothing, or that a wildcard stands for the name. Nothing else that
// the upstream says is believed. Where an alias leads into a zone of ours the
// answer ends, and into is that name in wire format.
func (a *Asker) scrub(reply *dns.Msg, owner string, qtype uint16) (m *dns.Msg, into string) {
	m = &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: reply.Rcode}}
	m.Question = []dns.Question{{Name: owner, Qtype: qtype, Qclass: dns.ClassINET}}
	records := slices.DeleteFunc(slices.Clone(reply.Answer), func(rr dns.RR) bool { return rr.Header().Class != dns.ClassINET })
	answered := false
	for range maxChain {
		here, next := step(records, owner, qtype)
		m.Answer = append(m.Answer, here...)
		if next == "" {
			answered = len(here) > 0
			break
		}
		if owner = next; a.isOurs(owner) {
			m.Rcode = dns.RcodeSuccess
			return m, wire(owner)
		}
	}
	for _, rr := range reply.Ns {
		if proves(rr, owner, answered) {
			m.Ns = append(m.Ns, rr)
		}
	}
	return m, ""
}

// isOurs tells whether a name is one that no upstream is asked for.
func (a *Asker) isOurs(name string) bool {
	w := []byte(wire(name))
	return len(w) > 0 && a.ours(w) > 0 && !a.Claims(w)
}

// wire returns a name in wire format, or nothing where it is none.
func wire(name string) string {
	b := make([]byte, 256)
	n, err := dns.PackDomainName(name, b, 0, nil, false)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// step returns the records of a name that answer the question, or else the alias
// there and where that leads.
func step(records []dns.RR, owner string, qtype uint16) (here []dns.RR, next string) {
	var aliases []dns.RR
	for _, rr := range records {
		name, rrtype := dns.CanonicalName(rr.Header().Name), rr.Header().Rrtype
		covers := rrtype
		if signature, ok := rr.(*dns.RRSIG); ok && qtype != dns.TypeRRSIG {
			covers = signature.TypeCovered
		}
		switch {
		case covers == dns.TypeDNAME && name != owner && dns.IsSubDomain(name, owner):
			aliases = append(aliases, rr) // and the CNAME that is made of it
		case name != owner:
		case covers == qtype, qtype == dns.TypeANY:
			here = append(here, rr)
		case covers == dns.TypeCNAME:
			aliases = append(aliases, rr)
			if cname, ok := rr.(*dns.CNAME); ok {
				next = dns.CanonicalName(cname.Target)
			}
		}
	}
	if len(here) > 0 || next == "" {
		return here, ""
	}
	return aliases, next
}

// proves tells whether a record of the authority section says that there is
// nothing at a name, or with a signed answer that it comes from a wildcard.
func proves(rr dns.RR, owner string, answered bool) bool {
	if rr.Header().Class != dns.ClassINET {
		return false
	}
	rrtype := rr.Header().Rrtype
	if signature, ok := rr.(*dns.RRSIG); ok {
		rrtype = signature.TypeCovered
	}
	switch rrtype {
	case dns.TypeSOA:
		return !answered && dns.IsSubDomain(dns.CanonicalName(rr.Header().Name), owner)
	case dns.TypeNSEC, dns.TypeNSEC3:
		return true
	}
	return false
}

// limitDenial brings the TTL of a SOA down to how long it says that nothing is
// true (RFC 2308, section 5).
func limitDenial(m *dns.Msg) {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
		}
	}
}

// private are the networks whose addresses mean something else to everybody.
var private = func() (networks []netip.Prefix) {
	for _, text := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
		"::/128", "::1/128", "fc00::/7", "fe80::/10",
	} {
		networks = append(networks, netip.MustParsePrefix(text))
	}
	return networks
}()

func isPrivate(a netip.Addr) bool {
	a = a.Unmap()
	return slices.ContainsFunc(private, func(network netip.Prefix) bool { return network.Contains(a) })
}

// dropPrivate takes addresses of private networks out of an answer that comes
// from the Internet: somebody there wants a browser here to talk to them (DNS
// rebinding). It returns how many there were.
func dropPrivate(m *dns.Msg) int {
	before := len(m.Answer)
	m.Answer = slices.DeleteFunc(m.Answer, func(rr dns.RR) bool {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		a, ok := netip.AddrFromSlice(ip)
		return ok && isPrivate(a)
	})
	return before - len(m.Answer)
}

// mayBePrivate tells whether the user has said that a name may have such addresses.
func (a *Asker) mayBePrivate(owner string) bool {
	return slices.ContainsFunc(a.privateNames, func(domain string) bool { return dns.IsSubDomain(domain, owner) })
}
