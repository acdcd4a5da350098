package zones

import (
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestApex(t *testing.T) {
	server := view(node("server1", "127.0.0.1"), node("foo", "127.0.0.9"), instance("consul", on("server1")))
	server6 := view(node("server1", "::1"), instance("consul", on("server1")))
	four := view(node("n1", "10.0.0.1"), node("n2", "10.0.0.2"), node("n3", "10.0.0.3"), node("n4", "10.0.0.4"),
		instance("consul", on("n1")), instance("consul", on("n2"), critical), instance("consul", on("n3")), instance("consul", on("n4")),
		instance("consul", on("n4"), id("twice")))
	check(t, consul(t, "test-domain."), []row{
		{"row 76 SOA", view(foo()), "consul. SOA", "; NOERROR\n consul. 5 IN SOA ns.consul. hostmaster.consul. 7 3600 600 86400 5"},
		{"row 83 NS", server, "consul. NS", `; NOERROR
			consul. 5 IN NS server1.node.dc1.consul.
			; additional
			server1.node.dc1.consul. 5 IN A 127.0.0.1`},
		{"row 83 RFC: NS is at the apex and not at every name", server, "something.node.consul. NS", "; NXDOMAIN: no node something is registered" + soa7},
		{"row 84 NS with an IPv6 address", server6, "consul. NS", `; NOERROR
			consul. 5 IN NS server1.node.dc1.consul.
			; additional
			server1.node.dc1.consul. 5 IN AAAA ::1`},
		{"row 85 NS of another zone", server, "test-domain. NS", `; NOERROR
			test-domain. 5 IN NS server1.node.dc1.test-domain.
			; additional
			server1.node.dc1.test-domain. 5 IN A 127.0.0.1`},
		{"row 85 NS of another zone with an IPv6 address", server6, "test-domain. NS", `; NOERROR
			test-domain. 5 IN NS server1.node.dc1.test-domain.
			; additional
			server1.node.dc1.test-domain. 5 IN AAAA ::1`},
		{"row 86 SOA of another zone", server, "test-domain. SOA", `; NOERROR
			test-domain. 5 IN SOA ns.test-domain. hostmaster.test-domain. 7 3600 600 86400 5`},
		{"row 86 RFC: SOA is at the apex and not at every name", view(foo()), "foo.node.consul. SOA", "; NOERROR" + soa7},
		{"row 4c at most three healthy servers, each once", four, "consul. NS", `; NOERROR
			consul. 5 IN NS n1.node.dc1.consul.
			consul. 5 IN NS n3.node.dc1.consul.
			consul. 5 IN NS n4.node.dc1.consul.
			; additional
			n1.node.dc1.consul. 5 IN A 10.0.0.1
			n3.node.dc1.consul. 5 IN A 10.0.0.3
			n4.node.dc1.consul. 5 IN A 10.0.0.4`},
		{"no server is known", view(foo()), "consul. NS", `; NOERROR
			consul. 5 IN NS ns.consul.
			; additional
			ns.consul. 5 IN A 127.0.0.1`},
		{"ANY", view(foo()), "consul. ANY", `; NOERROR
			consul. 5 IN SOA ns.consul. hostmaster.consul. 7 3600 600 86400 5
			consul. 5 IN NS ns.consul.
			; additional
			ns.consul. 5 IN A 127.0.0.1`},
		{"another type", view(foo()), "consul. A", "; NOERROR" + soa7},
		{"the primary server is the own node", server, "ns.consul. A", "; NOERROR\n ns.consul. 5 IN A 127.0.0.9"},
		{"and another where that is not known", server6, "ns.consul. AAAA", "; NOERROR\n ns.consul. 5 IN AAAA ::1"},
		{"it has nothing else", server, "ns.consul. TXT", "; NOERROR" + soa7},
	})
}

func TestSOATimes(t *testing.T) {
	z, err := New(Config{Zones: []string{"consul"}, NegativeTTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	check(t, z, []row{
		{"row 77 the minimum is the negative TTL, and the SOA's own", view(foo()), "consul. SOA", `; NOERROR
			consul. 60 IN SOA ns.consul. hostmaster.consul. 7 3600 600 86400 60`},
	})
}

func TestSerialIsTheIndexOfWhatCanBeFound(t *testing.T) {
	v := view(foo(), instance("web", checked(registry.Passing, "fine")))
	tx := v.Txn(9)
	tx.PutInstance(instance("web", checked(registry.Passing, "still fine")))
	check(t, consul(t), []row{
		{"row 4d not of a check's output", tx.Commit().View, "consul. SOA", `; NOERROR
			consul. 5 IN SOA ns.consul. hostmaster.consul. 7 3600 600 86400 5`},
	})
}

func TestZonesThatOverlap(t *testing.T) {
	v := view(foo(), instance("web"))
	check(t, consul(t, "test.consul.", "a.b.test.consul."), []row{
		{"row 87 the longest zone wins", v, "web.service.test.consul. SRV", `; NOERROR
			web.service.test.consul. 5 IN SRV 1 1 12345 foo.node.dc1.test.consul.
			; additional
			foo.node.dc1.test.consul. 5 IN A 127.0.0.1`},
		{"row 87 the shorter one answers as well", v, "web.service.consul. A", "; NOERROR\n web.service.consul. 5 IN A 127.0.0.1"},
		{"what leads to a zone exists", v, "b.test.consul. A", `; NOERROR
			; authority
			test.consul. 5 IN SOA ns.test.consul. hostmaster.test.consul. 7 3600 600 86400 5`},
		{"row 88 zones match by labels", viewOf(registry.NewView("dc-test"), foo()), "foo.node.dc-test.consul. A",
			"; NOERROR\n foo.node.dc-test.consul. 5 IN A 127.0.0.1"},
		{"row 89 no zone", v, "consul.service. A", "; REFUSED: consul.service. is outside consul."},
		{"row 115 outside of the zones", v, "example.com. A", "; REFUSED: example.com. is outside consul."},
		{"the root", v, ". NS", "; REFUSED: . is outside consul."},
	})
}

func TestConfigsThatAreRefused(t *testing.T) {
	for _, row := range []struct {
		name   string
		config Config
		want   string
	}{
		{"no zone", Config{}, "there is no zone to answer for"},
		{"the root", Config{Zones: []string{"."}}, `zone "." is no domain name of 1 to 100 octets`},
		{"an empty label", Config{Zones: []string{"a..b"}}, `zone "a..b" is no domain name of 1 to 100 octets`},
		{"a zone twice", Config{Zones: []string{"a.b", "A.b."}}, `zone "A.b." is named twice`},
		{"a negative TTL", Config{Zones: []string{"a"}, TTL: -time.Second}, "TTL -1s is not between 0s and 1h0m0s"},
		{"a TTL of more than an hour", Config{Zones: []string{"a"}, NegativeTTL: MaxTTL + time.Second}, "negative TTL 1h0m1s is not between 0s and 1h0m0s"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := New(row.config); err == nil || err.Error() != row.want {
				t.Errorf("error is %v, want %s", err, row.want)
			}
		})
	}
}
