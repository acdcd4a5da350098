package zones

import (
	"net/netip"
	"strings"
	"testing"
)

func TestReverseNames(t *testing.T) {
	const soa = "\n ; authority\n 127.in-addr.arpa. 5 IN SOA ns.consul. hostmaster.consul. 7 3600 600 86400 5"
	bar6 := strings.Repeat("2.4.2.4.", 2) + strings.Repeat("0.", 24) + "ip6.arpa."
	own6 := "e.0.0.2.0.0.0.0.0.0.0.0.0.0.0.0.8.0.8.0.5.0.0.4.0.2.0.0.7.0.6.2.ip6.arpa."
	v := view(node("foo2", "127.0.0.2"), node("bar", "::4242:4242"), node("public", "192.0.2.1"),
		instance("db", on("bar"), at("127.0.0.3")), instance("db", on("bar"), id("6"), at("2607:20:4005:808::200e")),
		instance("web", on("foo2"), at("127.0.0.2")), instance("ula", on("foo2"), at("fd00::1")))
	check(t, consul(t, "test-domain."), []row{
		{"row 103 the address of a node", v, "2.0.0.127.in-addr.arpa. ANY", "; NOERROR\n 2.0.0.127.in-addr.arpa. 5 IN PTR foo2.node.dc1.consul."},
		{"row 105 an IPv6 address of a node", v, bar6 + " ANY", "; NOERROR\n " + bar6 + " 5 IN PTR bar.node.dc1.consul."},
		{"row 106 the address of an instance alone", v, "3.0.0.127.in-addr.arpa. PTR", "; NOERROR\n 3.0.0.127.in-addr.arpa. 5 IN PTR db.service.dc1.consul."},
		{"row 106 an IPv6 address of an instance", v, own6 + " PTR", "; NOERROR\n " + own6 + " 5 IN PTR db.service.dc1.consul."},
		{"row 107 the address of a node and an instance", v, "2.0.0.127.in-addr.arpa. PTR", "; NOERROR\n 2.0.0.127.in-addr.arpa. 5 IN PTR foo2.node.dc1.consul."},
		{"row 108 RFC 6303: an address that is not registered", v, "9.0.0.127.in-addr.arpa. ANY", "; NXDOMAIN: nothing is registered at 127.0.0.9" + soa},
		{"row 4o another type of an address", v, "2.0.0.127.in-addr.arpa. A", "; NOERROR" + soa},
		{"what an address's name ends in exists", v, "0.0.127.in-addr.arpa. PTR", "; NOERROR" + soa},
		{"and what none ends in does not", v, "1.0.127.in-addr.arpa. PTR", "; NXDOMAIN: nothing is registered in 127.0.1.0/24" + soa},
		{"the zone's SOA", v, "127.in-addr.arpa. SOA", `; NOERROR
			127.in-addr.arpa. 5 IN SOA ns.consul. hostmaster.consul. 7 3600 600 86400 5`},
		{"the zone's NS", v, "127.in-addr.arpa. NS", "; NOERROR\n 127.in-addr.arpa. 5 IN NS ns.consul."},
		{"a nibble's non-terminal", v, "0.d.f.ip6.arpa. PTR", `; NOERROR
			; authority
			d.f.ip6.arpa. 5 IN SOA ns.consul. hostmaster.consul. 7 3600 600 86400 5`},
		{"another type of a public address: no SOA, as the zone is not ours", v, "1.2.0.192.in-addr.arpa. TXT", "; NOERROR"},
		{"row 109 a bad octet", v, "256.0.0.127.in-addr.arpa. PTR", "; NXDOMAIN: 256.0.0.127.in-addr.arpa. is no name of an address" + soa},
		{"row 109 an octet with a zero before it", v, "02.0.0.127.in-addr.arpa. PTR", "; NXDOMAIN: 02.0.0.127.in-addr.arpa. is no name of an address" + soa},
		{"row 109 a dot in a label", v, `0\.0.0.127.in-addr.arpa. PTR`, `; NXDOMAIN: 0\.0.0.127.in-addr.arpa. is no name of an address` + soa},
		{"row 109 five octets", v, "1.2.0.0.127.in-addr.arpa. PTR", "; NXDOMAIN: 1.2.0.0.127.in-addr.arpa. is no name of an address" + soa},
		{"row 109 a bad nibble", v, "g.d.f.ip6.arpa. PTR", `; NXDOMAIN: g.d.f.ip6.arpa. is no name of an address
			; authority
			d.f.ip6.arpa. 5 IN SOA ns.consul. hostmaster.consul. 7 3600 600 86400 5`},
		{"row 109 33 nibbles", v, "0." + bar6 + " PTR", "; REFUSED: 0." + bar6 + " is outside consul."},
		{"row 109 another tree", v, "2.0.0.127.in-addr.example. PTR", "; REFUSED: 2.0.0.127.in-addr.example. is outside consul."},
		{"a public address that is not registered", v, "8.8.8.8.in-addr.arpa. PTR", "; REFUSED: 8.8.8.8.in-addr.arpa. is outside consul."},
		{"the tree of addresses", v, "in-addr.arpa. PTR", "; REFUSED: in-addr.arpa. is outside consul."},
	})
	check(t, with(t, Config{Zones: []string{"custom"}}), []row{
		{"row 104 the primary zone's names", v, "2.0.0.127.in-addr.arpa. ANY", "; NOERROR\n 2.0.0.127.in-addr.arpa. 5 IN PTR foo2.node.dc1.custom."},
	})
	if a := consul(t).Resolve(v, question(t, "2.0.0.127.in-addr.arpa. PTR")); a.Cacheable {
		t.Error("the answer to a reverse name may be kept")
	}
}

func TestPrivateNetworks(t *testing.T) {
	z := consul(t)
	for _, name := range []string{
		"1.0.0.10.in-addr.arpa.", "1.0.16.172.in-addr.arpa.", "1.0.31.172.in-addr.arpa.", "1.0.168.192.in-addr.arpa.", "1.0.254.169.in-addr.arpa.",
		strings.Repeat("0.", 32) + "ip6.arpa.", "1." + strings.Repeat("0.", 31) + "ip6.arpa.", "d.f.ip6.arpa.", "8.e.f.ip6.arpa.", "b.e.f.ip6.arpa.",
	} {
		if a := z.Resolve(view(), question(t, name+" PTR")); a.Zone == nil || len(a.Authority) != 1 {
			t.Errorf("%s: %s", name, render(a))
		}
	}
	for _, name := range []string{"15.172.in-addr.arpa.", "32.172.in-addr.arpa.", "172.in-addr.arpa.", "c.f.ip6.arpa.", "7.e.f.ip6.arpa."} {
		if a := z.Resolve(view(), question(t, name+" PTR")); a.Zone != nil {
			t.Errorf("%s is ours: %s", name, render(a))
		}
	}
}

func TestANetworkIsAsManyReverseZonesAsItTakes(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8":     "10.in-addr.arpa.",
		"192.0.2.0/24":   "2.0.192.in-addr.arpa.",
		"192.0.2.7/32":   "7.2.0.192.in-addr.arpa.",
		"10.1.0.0/15":    "0.10.in-addr.arpa. 1.10.in-addr.arpa.",
		"192.0.2.128/26": "",
		"2001:db8::/32":  "8.b.d.0.1.0.0.2.ip6.arpa.",
		"fe80::/10":      "8.e.f.ip6.arpa. 9.e.f.ip6.arpa. a.e.f.ip6.arpa. b.e.f.ip6.arpa.",
		"0.0.0.0/0":      "error",
		"2000::/3":       "error",
	} {
		names, err := reverseZones(netip.MustParsePrefix(text))
		switch got := strings.Join(names, " "); {
		case err != nil:
			if want != "error" {
				t.Errorf("%s: %v", text, err)
			}
		case want == "" && len(names) != 64:
			t.Errorf("%s is %d zones, one for each address", text, len(names))
		case want != "" && got != want:
			t.Errorf("%s is %s", text, got)
		}
	}
}
