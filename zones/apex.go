package zones

import (
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// The times of the SOA, seconds: Consul's.
const (
	soaRefresh = 3600
	soaRetry   = 600
	soaExpire  = 86400
)

// maxServers is how many name servers the apex names.
const maxServers = 3

// SOA returns the SOA of a zone. Its serial moves with what can be found, and
// its own TTL is the minimum, for which negative answers are kept (RFC 2308).
func (z *Zones) SOA(zone *Zone, v *registry.View) *dns.SOA {
	if zone.static {
		return zone.file.Zone().SOA()
	}
	soa := &dns.SOA{
		Hdr: z.header(zone.Name, dns.TypeSOA), Ns: zone.mname, Mbox: zone.rname,
		Serial: zone.Serial(v), Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: z.negativeTTL,
	}
	if z.config.Refresh > 0 {
		soa.Refresh = uint32(z.config.Refresh / time.Second)
		soa.Retry = max(soa.Refresh/3, 1)
	}
	soa.Hdr.Ttl = z.negativeTTL
	return soa
}

// apex answers for the zone's own name. SOA and NS are here and nowhere else.
func (r *resolution) apex() *Answer {
	var records []Record
	if r.wants(dns.TypeSOA) {
		records = append(records, Record{RR: r.z.SOA(r.zone, r.v), Weight: 1})
	}
	if r.wants(dns.TypeNS) {
		for _, server := range r.servers() {
			ns := &dns.NS{Hdr: r.z.header(r.owner, dns.TypeNS), Ns: server.name}
			records = append(records, Record{RR: ns, Weight: 1, Glue: server.glue})
		}
	}
	a := r.positive(records, r.v.Stamp())
	a.Shuffle = r.qtype == dns.TypeNS
	return a
}

// servers returns the zone's name servers: the nodes that rollcall runs on, or
// ns where those are not known.
func (r *resolution) servers() (servers []target) {
	if s := r.v.Service(r.z.config.Service); s != nil {
		seen := make(map[string]bool)
		for _, e := range r.v.Endpoints(s, r.z.config.OnlyPassing) {
			if len(servers) == maxServers {
				break
			}
			if t, ok := r.nodeTarget(e.Node); ok && !seen[t.name] {
				seen[t.name] = true
				servers = append(servers, t)
			}
		}
	}
	if len(servers) == 0 {
		servers = append(servers, target{r.zone.mname, r.primaryAddresses(r.zone.mname)})
	}
	return servers
}

// ns answers for the name that the SOA gives as the primary server.
func (r *resolution) ns() *Answer {
	return r.positive(r.ofType(r.primaryAddresses(r.owner)), r.v.Stamp())
}

// primaryAddresses returns the address records of the own node, or, where the
// registry does not know it, of another that the service runs on.
func (r *resolution) primaryAddresses(owner string) []dns.RR {
	if rrs := r.nodeAddresses(owner, r.v.Node(r.z.config.Node)); len(rrs) > 0 {
		return rrs
	}
	if s := r.v.Service(r.z.config.Service); s != nil {
		for _, e := range r.v.Endpoints(s, r.z.config.OnlyPassing) {
			if rrs := r.nodeAddresses(owner, e.Node); len(rrs) > 0 {
				return rrs
			}
		}
	}
	return nil
}
