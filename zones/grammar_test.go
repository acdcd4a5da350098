package zones

import (
	"testing"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestDatacenters(t *testing.T) {
	v := view(foo(), instance("web"))
	const dc2 = "; NXDOMAIN: dc2 is no datacenter that is known here" + soa7
	check(t, consul(t), []row{
		{"row 78 another datacenter", v, "consul.service.dc2.consul. ANY", dc2},
		{"row 78 another datacenter, node", v, "foo.node.dc2.consul. A", dc2},
		{"row 78 another datacenter, address", v, "7f000001.addr.dc2.consul. A", dc2},
		{"row 78 another datacenter, RFC 2782", v, "_web._tcp.dc2.consul. SRV", dc2},
		{"row 101 no datacenter", v, "web.service.consul. A", "; NOERROR\n web.service.consul. 5 IN A 127.0.0.1"},
		{"row 101 the datacenter", v, "web.service.DC1.consul. A", "; NOERROR\n web.service.dc1.consul. 5 IN A 127.0.0.1"},
		{"row 101 the datacenter, said so", v, "web.service.dc1.dc.consul. A", "; NOERROR\n web.service.dc1.dc.consul. 5 IN A 127.0.0.1"},
		{"row 101 three labels", v, "web.service.x.dc1.dc.consul. A", "; NXDOMAIN: x.dc1.dc is no datacenter that is known here" + soa7},
		{"row 101 a peer", v, "web.service.dc1.peer.consul. A", "; NXDOMAIN: dc1.peer is no datacenter that is known here" + soa7},
		{"row 102 what .dc follows is a datacenter and nothing else", v, "web.service.dc2.dc.consul. A",
			"; NXDOMAIN: dc2.dc is no datacenter that is known here" + soa7},
		{"row 4a the rightmost kind counts", view(node("web.service", "10.0.0.1"), instance("web")), "web.service.node.consul. A",
			"; NOERROR\n web.service.node.consul. 5 IN A 10.0.0.1"},
		{"row 4a a datacenter that is called like a kind is ambiguous", viewOf(registry.NewView("node"), foo()), "foo.node.node.consul. A",
			"; NXDOMAIN: no node foo.node is registered" + soa7},
	})
}

func TestNamesOfNoForm(t *testing.T) {
	v := view(foo(), instance("web"))
	check(t, consul(t), []row{
		{"row 80 a label alone", v, "nonexisting.consul. ANY", "; NXDOMAIN: no name in consul. has the form of nonexisting" + soa7},
		{"row 80 a service that is asked for like that", v, "web.consul. A", "; NXDOMAIN: web is a service: ask for web.service.consul." + soa7},
		{"row 82 RFC: the zone exists", v, "consul. SRV", "; NOERROR" + soa7},
		{"row 82 RFC: node leads to names", v, "node.consul. SRV", "; NOERROR" + soa7},
		{"row 82 RFC: service leads to names", v, "service.consul. SRV", "; NOERROR" + soa7},
		{"row 82 RFC: query would lead to names", v, "query.consul. SRV", "; NOERROR" + soa7},
		{"row 82 foo.node.dc1.extra.more", v, "foo.node.dc1.extra.more.consul. SRV",
			"; NXDOMAIN: dc1.extra.more is no datacenter that is known here" + soa7},
		{"row 82 foo.service.dc1.extra.more", v, "foo.service.dc1.extra.more.consul. SRV",
			"; NXDOMAIN: dc1.extra.more is no datacenter that is known here" + soa7},
		{"row 82 foo.query.dc1.extra.more", v, "foo.query.dc1.extra.more.consul. SRV",
			"; NXDOMAIN: dc1.extra.more is no datacenter that is known here" + soa7},
		{"rows 95 to 97 Consul's mesh", v, "web.connect.consul. SRV", "; NXDOMAIN: there is nothing of the kind connect here" + soa7},
		{"an underscore and no more", v, "_.consul. SRV", "; NXDOMAIN: no name in consul. has the form of _" + soa7},
		{"a tag of no length", v, "_web._.consul. SRV", "; NXDOMAIN: no name in consul. has the form of _web._" + soa7},
		{"a label without an underscore before a tag", v, "web._tcp.consul. SRV", "; NXDOMAIN: no name in consul. has the form of web._tcp" + soa7},
		{"below the primary server", v, "x.ns.consul. A", "; NXDOMAIN: no name in consul. has the form of x.ns" + soa7},
	})
}

func TestEmptyNonTerminals(t *testing.T) {
	z := consul(t)
	v := view(node("a.b", "10.0.0.1"), instance("web", tags("v1", "x.y")), instance("web.eu"))
	for _, name := range []string{
		"service", "node", "addr", "query", "dc1", "dc", "dc1.dc", "service.dc1", "node.dc1", "addr.dc1", "service.dc1.dc", "_tcp", "_udp", "_tcp.dc1",
		"_tcp.service", "_udp.service.dc1", "_dns-sd._udp", "_v1", "_v1.service", "_V1.dc1", "b.node", "eu.service", "eu.service.dc1", "y.web.service",
	} {
		a := z.Resolve(v, question(t, name+".consul. A"))
		if got := render(a); got != golden("; NOERROR"+soa7) {
			t.Errorf("%s: %s", name, got)
		}
		if !a.Cacheable {
			t.Errorf("the answer for %s may not be kept", name)
		}
	}
	for _, name := range []string{"_v2", "_x", `_x\.y`, "c.node", "us.service", "x.web.service", "connect", "service.dc2", "dc2", "_tcp.dc2", "a.dc"} {
		if a := z.Resolve(v, question(t, name+".consul. A")); a.Rcode != 3 || a.Cacheable {
			t.Errorf("%s: %s", name, render(a))
		}
	}
}

func TestNamesInWireFormat(t *testing.T) {
	z := consul(t)
	for _, wire := range []string{"", "\x06consul", "\x07consul\x00", "\xc0\x0c", "\x06consul\x00\x00", "\x40" + string(make([]byte, 64)) + "\x00"} {
		if a := z.Resolve(view(), Question{wire, 1}); a.Rcode != 1 || a.Zone != nil {
			t.Errorf("%q: %s", wire, render(a))
		}
	}
}
