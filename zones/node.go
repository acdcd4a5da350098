package zones

import (
	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// node answers for NODE.node: its addresses, and its metadata as TXT, a record
// for each pair. Where the address is a name there is a CNAME and nothing else.
func (r *resolution) node(labels []string) *Answer {
	name, ok := r.join(labels)
	n := r.v.Node(name)
	switch {
	case len(labels) == 0:
		return r.nonTerminal(nil)
	case ok && n == nil && r.v.HasNodeBelow(name):
		return r.nonTerminal(r.v.NodesStamp())
	case !ok || n == nil:
		return r.noName(r.because("no node ").labels(labels...).text(" is registered"))
	}
	addresses := r.nodeAddresses(r.owner, n)
	if alias, ok := hostName(n.Address); ok && len(addresses) == 0 && alias != r.owner {
		return r.alias(alias, r.v.NodesStamp())
	}
	records := r.ofType(addresses)
	if r.wants(dns.TypeTXT) {
		for _, pair := range pairs(n.Meta) {
			texts := pieces(nil, pair)
			if isTooLong(texts) {
				continue
			}
			txt := &dns.TXT{Hdr: r.z.header(r.owner, dns.TypeTXT), Txt: texts}
			records = append(records, Record{RR: txt, Weight: 1})
		}
	}
	a := r.positive(records, r.v.NodesStamp())
	a.Shuffle = r.qtype != dns.TypeANY // A goes before TXT
	return a
}

// nodeAddresses returns the address records of a node, one of each family at
// most.
func (r *resolution) nodeAddresses(owner string, n *registry.Node) []dns.RR {
	if n == nil {
		return nil
	}
	return r.z.addresses(owner, n.TaggedAddresses["lan_ipv4"], n.TaggedAddresses["lan_ipv6"], n.Address)
}
