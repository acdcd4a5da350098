package zones

import (
	"net"
	"strings"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// protocolKey is the metadata that says what an instance speaks.
const protocolKey = "protocol"

// protocols are those that are known: what ALPN calls them (RFC 7301), and
// whether they are what browsers understand by https.
var protocols = map[string]struct {
	alpn []string
	web  bool
}{
	"http":  {nil, false},
	"h2c":   {[]string{"h2c"}, false},
	"grpc":  {[]string{"h2"}, false},
	"https": {[]string{"http/1.1"}, true},
	"h2":    {[]string{"h2"}, true},
	"http2": {[]string{"h2"}, true},
	"h3":    {[]string{"h3"}, true},
	"http3": {[]string{"h3"}, true},
	"dot":   {[]string{"dot"}, false},
}

// svcb answers with a SVCB or HTTPS record (RFC 9460) for each endpoint: the
// target and port of its SRV record, the protocol that its metadata names, and
// the target's addresses as hints. An HTTPS record makes browsers take to TLS,
// so only an instance has one that says that it speaks it.
func (r *resolution) svcb(endpoints []registry.Endpoint, stamp *registry.Stamp) *Answer {
	records := make([]Record, 0, len(endpoints))
	seen := make(map[string]bool, len(endpoints))
	targets := targets{r: r}
	for _, e := range endpoints {
		protocol, known := protocols[strings.ToLower(e.Instance.Meta[protocolKey])]
		if r.qtype == dns.TypeHTTPS && !protocol.web {
			r.leaveOut(e.Instance, "its metadata "+protocolKey+" names none of https, h2 and h3")
			continue
		}
		t, ok := targets.of(e)
		if !ok {
			r.leaveOut(e.Instance, "its address leads to none")
			continue
		}
		svcb := dns.SVCB{Hdr: r.z.header(r.owner, r.qtype), Priority: 1, Target: t.name}
		if known && protocol.alpn != nil {
			svcb.Value = append(svcb.Value, &dns.SVCBAlpn{Alpn: protocol.alpn})
			if protocol.alpn[0] != "http/1.1" {
				svcb.Value = append(svcb.Value, new(dns.SVCBNoDefaultAlpn))
			}
		}
		if e.Port > 0 {
			svcb.Value = append(svcb.Value, &dns.SVCBPort{Port: uint16(e.Port)})
		}
		svcb.Value = append(svcb.Value, hints(t.glue)...)
		var rr dns.RR = &svcb
		if r.qtype == dns.TypeHTTPS {
			rr = &dns.HTTPS{SVCB: svcb}
		}
		key := rr.String()
		if seen[key] {
			r.leaveOut(e.Instance, "another instance has the same address and port")
			continue
		}
		seen[key] = true
		records = append(records, Record{RR: rr, Weight: e.Weight, Glue: t.glue})
	}
	if targets.ours {
		stamp = r.v.Stamp()
	}
	switch {
	case len(records) == 0 && r.qtype == dns.TypeHTTPS:
		return targets.keep(r.noData(stamp, r.about.count(len(endpoints))+", none of which says that it speaks HTTPS"))
	case len(records) == 0:
		return targets.keep(r.noData(stamp, r.about.count(len(endpoints))+", none at an address that can be found"))
	}
	return targets.keep(r.positive(records, stamp))
}

// hints are the addresses of a target, for clients that begin before they know
// them.
func hints(glue []dns.RR) (values []dns.SVCBKeyValue) {
	var four, six []net.IP
	for _, rr := range glue {
		switch rr := rr.(type) {
		case *dns.A:
			four = append(four, rr.A)
		case *dns.AAAA:
			six = append(six, rr.AAAA)
		}
	}
	if four != nil {
		values = append(values, &dns.SVCBIPv4Hint{Hint: four})
	}
	if six != nil {
		values = append(values, &dns.SVCBIPv6Hint{Hint: six})
	}
	return values
}
