package forward

import (
	"net"

	"github.com/miekg/dns"
)

// special answers for names that mean the same everywhere and that no upstream is
// asked for; nil: the name is none of them. A Route for a domain overrules it.
func special(owner string, qtype uint16, r *route) *dns.Msg {
	if r.domain != "\x00" {
		return nil
	}
	switch {
	case dns.IsSubDomain("localhost.", owner): // RFC 6761, section 6.3
		return localhost(owner, qtype)
	case dns.IsSubDomain("invalid.", owner): // RFC 6761, section 6.4
		return nothing(owner, qtype, dns.RcodeNameError, "invalid.")
	case dns.IsSubDomain("onion.", owner): // RFC 7686
		return nothing(owner, qtype, dns.RcodeNameError, "onion.")
	case dns.IsSubDomain("resolver.arpa.", owner): // RFC 9462, section 6.4
		return nothing(owner, qtype, dns.RcodeSuccess, "resolver.arpa.")
	}
	if apex := privateReverse(owner); apex != "" && r.public { // RFC 6303
		return nothing(owner, qtype, dns.RcodeNameError, apex)
	}
	return nil
}

// isMeta tells whether a type is one that no record of a name has, but a message
// (RFC 6895, section 3.1). Of those above TSIG, ANY is a question like others; the
// rest are refused before, or old.
func isMeta(qtype uint16) bool {
	const firstMeta = 128
	return qtype == dns.TypeOPT || qtype >= firstMeta && qtype <= dns.TypeTSIG
}

// refusal is the answer to a question for such a type: what BIND and unbound say.
func refusal(owner string, qtype uint16) *dns.Msg {
	return &dns.Msg{
		MsgHdr:   dns.MsgHdr{Rcode: dns.RcodeFormatError},
		Question: []dns.Question{{Name: owner, Qtype: qtype, Qclass: dns.ClassINET}},
	}
}

func localhost(owner string, qtype uint16) *dns.Msg {
	m := nothing(owner, qtype, dns.RcodeSuccess, "localhost.")
	header := dns.RR_Header{Name: owner, Rrtype: qtype, Class: dns.ClassINET, Ttl: specialTTL}
	switch qtype {
	case dns.TypeA:
		m.Answer, m.Ns = []dns.RR{&dns.A{Hdr: header, A: net.IPv4(127, 0, 0, 1)}}, nil
	case dns.TypeAAAA:
		m.Answer, m.Ns = []dns.RR{&dns.AAAA{Hdr: header, AAAA: net.IPv6loopback}}, nil
	}
	return m
}

// specialTTL is that of such answers, seconds.
const specialTTL = 3600

// nothing says that there is nothing, in the name of a zone that is nowhere.
func nothing(owner string, qtype uint16, rcode int, apex string) *dns.Msg {
	soa := &dns.SOA{
		Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: specialTTL},
		Ns:  "localhost.", Mbox: "nobody.invalid.", Serial: 1, Refresh: 3600, Retry: 1200, Expire: 604800, Minttl: specialTTL,
	}
	return &dns.Msg{
		MsgHdr:   dns.MsgHdr{Rcode: rcode},
		Question: []dns.Question{{Name: owner, Qtype: qtype, Qclass: dns.ClassINET}},
		Ns:       []dns.RR{soa},
	}
}

// privateReverse returns the zone of private addresses that a name is in, or
// nothing.
func privateReverse(owner string) string {
	for _, apex := range []string{
		"10.in-addr.arpa.", "127.in-addr.arpa.", "254.169.in-addr.arpa.", "168.192.in-addr.arpa.",
		"d.f.ip6.arpa.", "8.e.f.ip6.arpa.", "9.e.f.ip6.arpa.", "a.e.f.ip6.arpa.", "b.e.f.ip6.arpa.",
	} {
		if dns.IsSubDomain(apex, owner) {
			return apex
		}
	}
	if labels := dns.SplitDomainName(owner); len(labels) >= 4 && dns.IsSubDomain("172.in-addr.arpa.", owner) {
		if second := labels[len(labels)-4]; second >= "16" && second <= "31" && len(second) == 2 {
			return second + ".172.in-addr.arpa."
		}
	}
	return ""
}
