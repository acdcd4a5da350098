package zones

import (
	"encoding/hex"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// target is the name that a record sends its reader on to, and the records that
// a question for that name's addresses is answered with.
type target struct {
	name string
	glue []dns.RR
}

// maxDepth is how many names of our own are followed, one after the other.
const maxDepth = 3

// addrTarget returns the name that an address is written in.
func (r *resolution) addrTarget(a netip.Addr) target {
	b := make([]byte, 0, 255)
	b = hex.AppendEncode(b, a.AsSlice())
	b = r.appendHome(append(b, ".addr."...))
	name := string(b)
	return target{name, []dns.RR{r.z.address(name, a)}}
}

// nodeTarget returns the name under which a node's address is found: the
// node's, if hosts may have such a name, or else the one of its address.
func (r *resolution) nodeTarget(n *registry.Node) (t target, ok bool) {
	if n == nil {
		return target{}, false
	}
	if isHost(n.Name) {
		b := append(make([]byte, 0, 512), lower(n.Name)...)
		name := string(r.appendHome(append(b, ".node."...)))
		if glue := r.nodeAddresses(name, n); fits(name) {
			return target{name, glue}, len(glue) > 0
		}
	}
	for _, text := range []string{n.TaggedAddresses["lan_ipv6"], n.TaggedAddresses["lan_ipv4"], n.Address} {
		if a, ok := parseAddress(text); ok {
			return r.addrTarget(a), true
		}
	}
	return target{}, false
}

// appendHome writes what targets end in. It is in the zone that was asked: who
// asks there may be unable to ask elsewhere.
func (r *resolution) appendHome(b []byte) []byte {
	if r.home == "" {
		r.home = r.zone.Name
		if dc := targetLabel(r.v.Datacenter()); dc != "" {
			r.home = dc + "." + r.home
		}
	}
	return append(b, r.home...)
}

// targets finds the targets of one answer's endpoints. It remembers what the
// next endpoint may have in common with those before it.
type targets struct {
	r     *resolution
	node  *registry.Node // of last
	last  target
	names map[string]target // the host names of ours; without glue, those that lead nowhere
	ours  bool              // a target is a host name of ours, and others' answers are its glue
}

// of returns the target of an endpoint: the name of its own address, or of its
// node. Of addresses tagged with a family IPv6 comes first, as in Consul. ok is
// false where that leads to no address.
func (ts *targets) of(e registry.Endpoint) (t target, ok bool) {
	for _, tag := range [...]string{"lan_ipv6", "lan_ipv4"} {
		if a, ok := parseAddress(e.Instance.TaggedAddresses[tag].Address); ok {
			return ts.r.addrTarget(a), true
		}
	}
	text := e.Instance.Address
	if text == "" || ts.r.isOwner(text) {
		if e.Node == nil {
			return target{}, false
		}
		if e.Node == ts.node {
			return ts.last, true
		}
		if t, ok := ts.r.nodeTarget(e.Node); ok {
			ts.node, ts.last = e.Node, t
			return t, true
		}
		if text = e.Node.Address; ts.r.isOwner(text) {
			return target{}, false
		}
	}
	if a, ok := parseAddress(text); ok {
		return ts.r.addrTarget(a), true
	}
	if name, ok := hostName(text); ok {
		return ts.ofName(name)
	}
	return target{}, false
}

// ofName returns a host name as a target. One of ours is followed.
func (ts *targets) ofName(name string) (t target, ok bool) {
	wire, ours := ts.r.z.isOurs(name)
	if !ours {
		return target{name: name}, true
	}
	t, known := ts.names[name]
	if !known {
		if ts.names == nil {
			ts.names, ts.ours = make(map[string]target), true
		}
		t = target{name, ts.r.follow(wire)}
		ts.names[name] = t
	}
	return t, len(t.glue) > 0
}

// keep tells of an answer with such targets whether it may be kept.
func (ts *targets) keep(a *Answer) *Answer {
	a.Cacheable = a.Cacheable && (!ts.ours || ts.r.z.lasts())
	return a
}

// follow returns what questions for the addresses of a name of ours are answered
// with, or nothing where that leads to no address.
func (r *resolution) follow(wire string) (glue []dns.RR) {
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		for _, record := range r.z.Resolve(r.v, Question{wire, qtype}).Records {
			if qtype == dns.TypeA || record.RR.Header().Rrtype != dns.TypeCNAME { // the CNAMEs are the same for both
				glue = append(glue, record.RR)
			}
		}
	}
	if len(glue) == 0 {
		return nil
	}
	if cname, unresolved := glue[len(glue)-1].(*dns.CNAME); unresolved {
		if _, ours := r.z.isOurs(cname.Target); ours {
			return nil
		}
	}
	return glue
}

// isOurs tells whether a host name is in one of the zones, and returns it in
// wire format.
func (z *Zones) isOurs(name string) (wire string, ours bool) {
	wire, _ = pack(name)
	zone := z.match(wire)
	return wire, zone != nil && (!zone.reverse || zone.static)
}

// alias answers with a CNAME, and with what it leads to where that is ours. The
// chain ends where it would come back to a name that it has passed.
func (r *resolution) alias(name string, stamp *registry.Stamp) *Answer {
	cname := &dns.CNAME{Hdr: r.z.header(r.owner, dns.TypeCNAME), Target: name}
	a := &Answer{Authoritative: true, Zone: r.zone, Records: []Record{{RR: cname, Weight: 1}}, Stamp: stamp, Cacheable: true}
	wire, ours := r.z.isOurs(name)
	if !ours {
		a.Beyond = name
		return a
	}
	a.Stamp = r.v.Stamp() // it depends on what it leads to
	depth := 0
	for passed := r; passed != nil; passed = passed.from {
		if passed.wire == wire {
			a.Explanation.Text = "the address of " + name + " leads back to that name"
			return a
		}
		depth++
	}
	if depth > maxDepth {
		a.Explanation.Text = "too many names lead to one another before " + name
		return a
	}
	next := (&resolution{z: r.z, v: r.v, wire: wire, qtype: r.qtype, from: r}).resolve()
	a.Records = append(a.Records, next.Records...)
	a.Rcode, a.Authority, a.Extra, a.Explanation, a.Beyond = next.Rcode, next.Authority, next.Extra, next.Explanation, next.Beyond
	a.Proof, a.fromWildcard = next.Proof, next.fromWildcard
	if len(next.Authority) > 0 {
		a.Zone = next.Zone
	}
	a.Cacheable = r.z.lasts()
	return a
}
