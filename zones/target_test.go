package zones

import (
	"testing"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestAddressesThatAreNames(t *testing.T) {
	google := view(node("foo", "www.google.com"), instance("db"))
	named := view(foo(), instance("db", at("www.google.com")))
	names := view(foo(), instance("db", id("1"), at("www.google.com")), instance("db", id("2"), at("duckduckgo.com")))
	aliases := view(foo(), instance("web"),
		instance("alias", at("web.service.consul")), instance("alias2", at("alias.service.consul")))
	self := view(foo(), instance("db", at("db.service.consul")))
	check(t, consul(t), []row{
		{"row 41 SRV where the node's address is a name", google, "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 www.google.com.`},
		{"row 42 SRV where the instance's address is a name", named, "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 www.google.com.`},
		{"row 43 ANY where the node's address is a name", google, "db.service.consul. ANY", `; NOERROR
			db.service.consul. 5 IN CNAME www.google.com.`},
		{"row 44 the instance's name comes before the node's address", named, "db.service.consul. ANY", `; NOERROR
			db.service.consul. 5 IN CNAME www.google.com.`},
		{"row 45 one CNAME and no more", names, "db.service.consul. A", `; NOERROR
			db.service.consul. 5 IN CNAME www.google.com.`},
		{"row 46 an address comes before a name", view(foo(), instance("db", id("1"), at("www.google.com")), instance("db", id("2"), at("1.2.3.4"))),
			"db.service.consul. ANY", `; NOERROR
			db.service.consul. 5 IN A 1.2.3.4`},
		{"row 46 even one of the other family",
			view(foo(), instance("db", id("1"), at("www.google.com")), instance("db", id("2"), at("1.2.3.4"))), "db.service.consul. AAAA",
			"; NOERROR" + soa7},
		{"row 47 two addresses and a name", view(foo(), instance("db", id("1"), at("1.2.3.4")), instance("db", id("2"), at("www.google.com")),
			instance("db", id("3"), at("1.2.3.5"))), "db.service.consul. ANY", `; NOERROR
			db.service.consul. 5 IN A 1.2.3.4
			db.service.consul. 5 IN A 1.2.3.5`},
		{"rows 45 to 47 SRV has all of them", names, "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 www.google.com.
			db.service.consul. 5 IN SRV 1 1 12345 duckduckgo.com.`},
		{"row 48 a name of ours is followed", aliases, "alias.service.consul. SRV", `; NOERROR
			alias.service.consul. 5 IN SRV 1 1 12345 web.service.consul.
			; additional
			web.service.consul. 5 IN A 127.0.0.1`},
		{"row 48 in any case", view(foo(), instance("web"), instance("alias", at("Web.Service.CoNsUl."))), "alias.service.CoNsUl. SRV", `; NOERROR
			alias.service.consul. 5 IN SRV 1 1 12345 web.service.consul.
			; additional
			web.service.consul. 5 IN A 127.0.0.1`},
		{"row 49 a name of ours that stands for another", aliases, "alias2.service.consul. SRV", `; NOERROR
			alias2.service.consul. 5 IN SRV 1 1 12345 alias.service.consul.
			; additional
			alias.service.consul. 5 IN CNAME web.service.consul.
			web.service.consul. 5 IN A 127.0.0.1`},
		{"rows 48 and 49 addresses", aliases, "alias2.service.consul. A", `; NOERROR
			alias2.service.consul. 5 IN CNAME alias.service.consul.
			alias.service.consul. 5 IN CNAME web.service.consul.
			web.service.consul. 5 IN A 127.0.0.1`},
		{"rows 48 and 49 no address of that family", aliases, "alias2.service.consul. AAAA", `; NOERROR
			alias2.service.consul. 5 IN CNAME alias.service.consul.
			alias.service.consul. 5 IN CNAME web.service.consul.` + soa7},
		{"row 50 an instance whose address is its own name is at its node", self, "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 foo.node.dc1.consul.
			; additional
			foo.node.dc1.consul. 5 IN A 127.0.0.1`},
		{"row 50 addresses", self, "db.service.consul. A", "; NOERROR\n db.service.consul. 5 IN A 127.0.0.1"},
		{"row 51 RFC: no CNAME to itself where the node has the same name",
			view(node("foo", "db.service.consul"), instance("db", at("db.service.consul"))), "db.service.consul. A", "; NOERROR" + soa7},
		{"row 51 and no SRV to itself",
			view(node("foo", "db.service.consul"), instance("db", at("db.service.consul"))), "db.service.consul. SRV",
			"; NOERROR: 1 instance of db, none at an address that can be found" + soa7},
	})
}

func TestNamesThatLeadNowhere(t *testing.T) {
	loop := view(foo(), instance("a", at("b.service.consul")), instance("b", at("a.service.consul")), instance("c", at("a.service.consul")),
		instance("c", id("good"), at("10.0.0.1")))
	dead := view(foo(), instance("web", critical), instance("alias", at("web.service.consul")), instance("gone", at("nil.service.consul")))
	chain := view(foo(), instance("s0"), instance("s1", at("s0.service.consul")), instance("s2", at("s1.service.consul")),
		instance("s3", at("s2.service.consul")), instance("s4", at("s3.service.consul")), instance("s5", at("s4.service.consul")))
	check(t, consul(t), []row{
		{"a loop ends", loop, "a.service.consul. A", `; NOERROR: the address of a.service.consul. leads back to that name
			a.service.consul. 5 IN CNAME b.service.consul.
			b.service.consul. 5 IN CNAME a.service.consul.`},
		{"a loop is no target", loop, "a.service.consul. SRV", "; NOERROR: 1 instance of a, none at an address that can be found" + soa7},
		{"the others are", loop, "c.service.consul. SRV", `; NOERROR
			c.service.consul. 5 IN SRV 1 1 12345 0a000001.addr.dc1.consul.
			; additional
			0a000001.addr.dc1.consul. 5 IN A 10.0.0.1`},
		{"a service without an instance says so", dead, "alias.service.consul. A", `; NOERROR: 1 instance of web, critical
			alias.service.consul. 5 IN CNAME web.service.consul.` + soa7},
		{"and is no target", dead, "alias.service.consul. SRV", "; NOERROR: 1 instance of alias, none at an address that can be found" + soa7},
		{"a name that does not exist says so (RFC 6604)", dead, "gone.service.consul. A", `; NXDOMAIN: no service nil is registered
			gone.service.consul. 5 IN CNAME nil.service.consul.` + soa7},
		{"three names are followed", chain, "s3.service.consul. A", `; NOERROR
			s3.service.consul. 5 IN CNAME s2.service.consul.
			s2.service.consul. 5 IN CNAME s1.service.consul.
			s1.service.consul. 5 IN CNAME s0.service.consul.
			s0.service.consul. 5 IN A 127.0.0.1`},
		{"and no more", chain, "s4.service.consul. A", `; NOERROR: too many names lead to one another before s0.service.consul.
			s4.service.consul. 5 IN CNAME s3.service.consul.
			s3.service.consul. 5 IN CNAME s2.service.consul.
			s2.service.consul. 5 IN CNAME s1.service.consul.
			s1.service.consul. 5 IN CNAME s0.service.consul.`},
		{"an address that is neither an address nor a name", view(foo(), instance("web", at("http://x"))), "web.service.consul. SRV",
			"; NOERROR: 1 instance of web, none at an address that can be found" + soa7},
		{"an instance on a node that is not known", view(instance("web", on("nil"))), "web.service.consul. SRV",
			"; NOERROR: 1 instance of web, none at an address that can be found" + soa7},
	})
}

func TestBothFamilies(t *testing.T) {
	four := view(foo(), instance("db", at("127.0.0.2"), tagged("lan_ipv6", "::5")))
	six := view(foo(), instance("db", at("::5"), tagged("lan_ipv4", "127.0.0.2")))
	nodes := view(node("foo", "127.0.0.1", "lan_ipv4=127.0.0.1", "lan_ipv6=::4"), instance("db"))
	check(t, consul(t), []row{
		{"row 52 A of an instance with a tagged IPv6 address", four, "db.service.consul. A", "; NOERROR\n db.service.consul. 5 IN A 127.0.0.2"},
		{"row 52 AAAA of it", four, "db.service.consul. AAAA", "; NOERROR\n db.service.consul. 5 IN AAAA ::5"},
		{"row 52 A of an instance with a tagged IPv4 address", six, "db.service.consul. A", "; NOERROR\n db.service.consul. 5 IN A 127.0.0.2"},
		{"row 52 AAAA of it too", six, "db.service.consul. AAAA", "; NOERROR\n db.service.consul. 5 IN AAAA ::5"},
		{"row 52 AAAA of an instance at a node with a tagged IPv6 address", nodes, "db.service.consul. AAAA", "; NOERROR\n db.service.consul. 5 IN AAAA ::4"},
		{"row 52 the target has both", nodes, "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 foo.node.dc1.consul.
			; additional
			foo.node.dc1.consul. 5 IN A 127.0.0.1
			foo.node.dc1.consul. 5 IN AAAA ::4`},
		{"row 52 A of a node", nodes, "foo.node.consul. A", "; NOERROR\n foo.node.consul. 5 IN A 127.0.0.1"},
		{"row 52 AAAA of a node", nodes, "foo.node.consul. AAAA", "; NOERROR\n foo.node.consul. 5 IN AAAA ::4"},
		{"row 53 AAAA of a service with one family", view(foo(), instance("db")), "db.service.consul. AAAA", "; NOERROR" + soa7},
		{"row 53 AAAA of a node with one family", view(foo()), "foo.node.consul. AAAA", "; NOERROR" + soa7},
		{"an IPv6 address that stands for an IPv4 one", view(foo(), instance("db", at("::ffff:10.0.0.1"))), "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 0a000001.addr.dc1.consul.
			; additional
			0a000001.addr.dc1.consul. 5 IN A 10.0.0.1`},
	})
}

func TestTargetsAreNamesThatHostsMayHave(t *testing.T) {
	check(t, consul(t), []row{
		{"row 126 a node whose name has an underscore", view(node("foo_1", "10.0.0.1"), instance("db", on("foo_1"))), "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 0a000001.addr.dc1.consul.
			; additional
			0a000001.addr.dc1.consul. 5 IN A 10.0.0.1`},
		{"row 126 a node whose name begins with a hyphen", view(node("-foo", "10.0.0.1"), instance("db", on("-foo"))), "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 0a000001.addr.dc1.consul.
			; additional
			0a000001.addr.dc1.consul. 5 IN A 10.0.0.1`},
		{"row 127 a host name with and without its final dot",
			view(foo(), instance("db", id("1"), at("a.example")), instance("db", id("2"), at("b.example."))), "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 a.example.
			db.service.consul. 5 IN SRV 1 1 12345 b.example.`},
		{"a datacenter that would be read as a kind is left out of targets",
			viewOf(registry.NewView("node"), foo(), instance("db")), "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 foo.node.consul.
			; additional
			foo.node.consul. 5 IN A 127.0.0.1`},
	})
}

func TestAnAddressTaggedWithAFamilyComesFirst(t *testing.T) {
	v := view(node("foo", "127.0.0.1", "lan_ipv4=127.0.0.4"), instance("here"),
		instance("db", at("127.0.0.2"), tagged("lan_ipv4", "127.0.0.3"), tagged("lan_ipv6", "::3")))
	check(t, consul(t), []row{
		{"an instance", v, "db.service.consul. A", "; NOERROR\n db.service.consul. 5 IN A 127.0.0.3"},
		{"an instance at its node", v, "here.service.consul. A", "; NOERROR\n here.service.consul. 5 IN A 127.0.0.4"},
		{"a node", v, "foo.node.consul. A", "; NOERROR\n foo.node.consul. 5 IN A 127.0.0.4"},
		{"a target", v, "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 00000000000000000000000000000003.addr.dc1.consul.
			; additional
			00000000000000000000000000000003.addr.dc1.consul. 5 IN AAAA ::3`},
	})
}
