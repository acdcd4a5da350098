package forward

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// maxChain is how many aliases are followed in a reply.
const maxChain = 16

// answer is what is kept of a reply.
type answer struct {
	*dns.Msg
	into string // the name in wire format, in a zone of ours, that it leads to
}

// The errors of replies that do not lead from the question to an end.
var (
	errBeside = errors.New("of its records none answers the question")
	errCut    = errors.New("its answer is cut short, and it gives no other over TCP")
	errAlias  = fmt.Errorf("its aliases go round, or are more than %d", maxChain)
)

// scrub returns what is kept of a reply: the records that lead from the name that
// was asked for, over aliases, to those of the type; of the rest only what proves
// that there is nothing, or that a wildcard stands for the name. Nothing else that
// the upstream says is believed. Where an alias leads into a zone of ours the
// answer ends.
func (a *Asker) scrub(reply *dns.Msg, owner string, qtype uint16) (answer, error) {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: reply.Rcode, Truncated: reply.Truncated}}
	m.Question = []dns.Question{{Name: owner, Qtype: qtype, Qclass: dns.ClassINET}}
	records := slices.DeleteFunc(slices.Clone(reply.Answer), func(rr dns.RR) bool { return rr.Header().Class != dns.ClassINET })
	answered := false
	for followed := 0; ; followed++ {
		here, next := step(records, owner, qtype)
		m.Answer = append(m.Answer, here...)
		if next == "" {
			answered = len(here) > 0 || qtype == dns.TypeANY && len(m.Answer) > 0
			break
		}
		if followed == maxChain {
			return answer{}, errAlias
		}
		if owner = next; a.isOurs(owner) {
			m.Rcode, m.Truncated = dns.RcodeSuccess, false // which tell of what is beyond
			return answer{m, wire(owner)}, nil
		}
	}
	if len(m.Answer) == 0 && (len(reply.Answer) > 0 || reply.Truncated) {
		return answer{}, errBeside
	}
	for _, rr := range reply.Ns {
		if proves(rr, owner, answered) {
			m.Ns = append(m.Ns, rr)
		}
	}
	return answer{m, ""}, nil
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
// there and where that leads. Of all that there is an alias is a part, and is followed
// as well: Consul tells what it leads to.
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
		case covers == qtype:
			here = append(here, rr)
		case covers == dns.TypeCNAME, qtype == dns.TypeANY:
			aliases = append(aliases, rr)
			if cname, ok := rr.(*dns.CNAME); ok {
				next = dns.CanonicalName(cname.Target)
			}
		}
	}
	if qtype != dns.TypeANY && (len(here) > 0 || next == "") {
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
func dropPrivate(m *dns.Msg) (dropped int) {
	m.Answer = slices.DeleteFunc(m.Answer, func(rr dns.RR) (goes bool) {
		n := 0
		switch rr := rr.(type) {
		case *dns.A:
			_, n = public([]net.IP{rr.A})
			goes = n > 0
		case *dns.AAAA:
			_, n = public([]net.IP{rr.AAAA})
			goes = n > 0
		case *dns.SVCB:
			n, goes = dropHints(rr)
		case *dns.HTTPS:
			n, goes = dropHints(&rr.SVCB)
		}
		dropped += n
		return goes
	})
	return dropped
}

// dropHints does that to the hints of a record, to which clients may connect as well. The
// record goes where it has none left that a client must heed (RFC 9460, section 8).
func dropHints(rr *dns.SVCB) (dropped int, goes bool) {
	var heeded []dns.SVCBKey
	for _, pair := range rr.Value {
		if mandatory, ok := pair.(*dns.SVCBMandatory); ok {
			heeded = mandatory.Code
		}
	}
	rr.Value = slices.DeleteFunc(rr.Value, func(pair dns.SVCBKeyValue) bool {
		left, n := 1, 0
		switch hint := pair.(type) {
		case *dns.SVCBIPv4Hint:
			hint.Hint, n = public(hint.Hint)
			left = len(hint.Hint)
		case *dns.SVCBIPv6Hint:
			hint.Hint, n = public(hint.Hint)
			left = len(hint.Hint)
		}
		dropped += n
		goes = goes || left == 0 && slices.Contains(heeded, pair.Key())
		return left == 0
	})
	return dropped, goes
}

// public returns the addresses that are not private, and how many others there were.
func public(ips []net.IP) (left []net.IP, dropped int) {
	for _, ip := range ips {
		if a, ok := netip.AddrFromSlice(ip); ok && isPrivate(a) {
			dropped++
			continue
		}
		left = append(left, ip)
	}
	return left, dropped
}

// mayBePrivate tells whether the user has said that a name may have such addresses.
func (a *Asker) mayBePrivate(owner string) bool {
	return slices.ContainsFunc(a.privateNames, func(domain string) bool { return dns.IsSubDomain(domain, owner) })
}
