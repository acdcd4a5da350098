package zones

import "testing"

func TestNodes(t *testing.T) {
	foo := view(node("foo", "127.0.0.1", "key=value", "wan=127.0.0.2"))
	check(t, consul(t), []row{
		{"row 1 ANY gives the address, then the metadata", foo, "foo.node.consul. ANY", `; NOERROR
			foo.node.consul. 5 IN A 127.0.0.1
			foo.node.consul. 5 IN TXT "key=value"`},
		{"row 2 RFC: A gives the address and no TXT that nobody asked for", foo, "foo.node.consul. A", `; NOERROR
			foo.node.consul. 5 IN A 127.0.0.1`},
		{"row 3 with the datacenter", foo, "foo.node.dc1.consul. ANY", `; NOERROR
			foo.node.dc1.consul. 5 IN A 127.0.0.1
			foo.node.dc1.consul. 5 IN TXT "key=value"`},
		{"row 4 the LAN address and not the WAN one", foo, "foo.node.consul. A", `; NOERROR
			foo.node.consul. 5 IN A 127.0.0.1`},
		{"row 5 a node that is not registered", foo, "nofoo.node.dc1.consul. ANY", "; NXDOMAIN: no node nofoo is registered" + soa7},
		{"row 6 in another case", view(node("Foo", "127.0.0.1")), "fOO.node.dc1.consul. ANY", `; NOERROR
			foo.node.dc1.consul. 5 IN A 127.0.0.1`},
		{"row 7 a name with a period", view(node("foo.bar", "127.0.0.1")), "foo.bar.node.consul. ANY", `; NOERROR
			foo.bar.node.consul. 5 IN A 127.0.0.1`},
		{"row 7 what it ends in exists", view(node("foo.bar", "127.0.0.1")), "bar.node.consul. ANY", "; NOERROR" + soa7},
		{"row 7 a dot in a label separates nothing", view(node("foo.bar", "127.0.0.1")), `foo\.bar.node.consul. ANY`,
			`; NXDOMAIN: no node foo\.bar is registered` + soa7},
		{"row 8 an IPv6 address", view(node("bar", "::4242:4242")), "bar.node.consul. AAAA", `; NOERROR
			bar.node.consul. 5 IN AAAA ::4242:4242`},
		{"row 9 an address that is a name", view(node("google", "www.google.com", "k=v")), "google.node.consul. ANY", `; NOERROR
			google.node.consul. 5 IN CNAME www.google.com.`},
		{"row 9 RFC: beside a CNAME there is no TXT", view(node("google", "www.google.com", "k=v")), "google.node.consul. TXT", `; NOERROR
			google.node.consul. 5 IN CNAME www.google.com.`},
		{"row 9 an address that is the node's own name", view(node("me", "me.node.consul")), "me.node.consul. A", "; NOERROR" + soa7},
		{"rows 10 and 11 TXT is a record for each pair", view(node("google", "127.0.0.1", "rfc1035-00=value0", "key0=value1")), "google.node.consul. TXT", `; NOERROR
			google.node.consul. 5 IN TXT "key0=value1"
			google.node.consul. 5 IN TXT "value0"`},
		{"row 12 ANY gives both", view(node("bar", "127.0.0.1", "key=value")), "bar.node.consul. ANY", `; NOERROR
			bar.node.consul. 5 IN A 127.0.0.1
			bar.node.consul. 5 IN TXT "key=value"`},
		{"row 13 A has nothing additional", view(node("bar", "127.0.0.1", "key=value")), "bar.node.consul. A", `; NOERROR
			bar.node.consul. 5 IN A 127.0.0.1`},
		{"row 4f another type gets the SOA", foo, "foo.node.consul. MX", "; NOERROR" + soa7},
		{"row 4f the other family gets the SOA", foo, "foo.node.consul. AAAA", "; NOERROR" + soa7},
		{"below a node there is nothing", foo, "x.foo.node.consul. A", "; NXDOMAIN: no node x.foo is registered" + soa7},
	})
}

func TestAnyOfANodeIsInOrder(t *testing.T) {
	v := view(node("foo", "127.0.0.1", "key=value"))
	if a := consul(t).Resolve(v, question(t, "foo.node.consul. ANY")); a.Shuffle {
		t.Error("A and TXT are shuffled")
	}
}

func TestAddressesInNames(t *testing.T) {
	v := view(foo())
	const six = "2607002040050808000000000000200e"
	check(t, consul(t), []row{
		{"row 90 eight digits", v, "7f000001.addr.dc1.consul. A", "; NOERROR\n 7f000001.addr.dc1.consul. 5 IN A 127.0.0.1"},
		{"row 90 in another case, without a datacenter", v, "7F00000A.ADDR.consul. A", "; NOERROR\n 7f00000a.addr.consul. 5 IN A 127.0.0.10"},
		{"row 91 ANY", v, "7f000001.addr.dc1.consul. ANY", "; NOERROR\n 7f000001.addr.dc1.consul. 5 IN A 127.0.0.1"},
		{"row 92 RFC: another type has no answer, and nothing additional", v, "7f000001.addr.dc1.consul. SRV", "; NOERROR" + soa7},
		{"row 92 the other family", v, "7f000001.addr.dc1.consul. AAAA", "; NOERROR" + soa7},
		{"row 93 thirty-two digits", v, six + ".addr.consul. AAAA", "; NOERROR\n " + six + ".addr.consul. 5 IN AAAA 2607:20:4005:808::200e"},
		{"row 94 another type of an IPv6 address", v, six + ".addr.consul. SRV", "; NOERROR" + soa7},
		{"digits that are none", v, "7f00000g.addr.consul. A", "; NXDOMAIN: no address is written in 7f00000g.addr.consul." + soa7},
		{"digits too few", v, "7f00000.addr.consul. A", "; NXDOMAIN: no address is written in 7f00000.addr.consul." + soa7},
		{"below an address there is nothing", v, "x.7f000001.addr.consul. A", "; NXDOMAIN: no address is written in x.7f000001.addr.consul." + soa7},
	})
	a := consul(t).Resolve(v, question(t, "7f000001.addr.dc1.consul. A"))
	if !a.Cacheable || a.Stamp != nil {
		t.Error("the address in a name is not true for ever")
	}
}
