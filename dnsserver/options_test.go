package dnsserver

import (
	"bytes"
	"net"
	"testing"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/registry"
)

// clientOptions are what resolvers and tools put into their OPT record.
var clientOptions = map[string][]dns.EDNS0{
	"dig":                    {&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "24a5ac1122334455"}},
	"BIND, with a cookie":    {&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "24a5ac11223344550100000065a0b0c0d0e0f0a1b2c3d4e5"}},
	"unbound, asking who":    {&dns.EDNS0_NSID{Code: dns.EDNS0NSID}},
	"a public resolver":      {&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(192, 0, 2, 0)}},
	"a forwarder, IPv6":      {&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 2, SourceNetmask: 56, Address: net.ParseIP("2001:db8::")}},
	"systemd-resolved":       {&dns.EDNS0_DAU{Code: dns.EDNS0DAU, AlgCode: []uint8{5, 8, 13}}, &dns.EDNS0_DHU{Code: dns.EDNS0DHU, AlgCode: []uint8{1, 2}}},
	"a stub that pads":       {&dns.EDNS0_PADDING{Padding: make([]byte, 60)}},
	"a client that stays":    {&dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}},
	"a secondary":            {&dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true}},
	"somebody's experiments": {&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}, &dns.EDNS0_LOCAL{Code: 65002}},
}

func TestOptionsStayOnTheFastPath(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80, Address: "10.1.0.1"})
	w := l.newWorker("udp")
	reply := make([]byte, 0, cache.UDPSize)
	for _, name := range []string{"web.service.test.", "wbe.service.test."} {
		m := question(name, dns.TypeSRV, 1232)
		m.Id = 1
		plain, _ := m.Pack()
		want := w.serve(nil, plain, client)
		if name == "web.service.test." {
			l.cached(t, w, plain)
		}
		for who, options := range clientOptions {
			m.IsEdns0().Option = options
			query, err := m.Pack()
			if err != nil {
				t.Fatalf("%s: %v", who, err)
			}
			code := options[0].Option()
			answered := code == dns.EDNS0COOKIE || code == dns.EDNS0SUBNET
			if got := w.serve(reply, query, client); !bytes.Equal(got, want) && !answered {
				t.Errorf("%s: %s got\n%x, without its options it gets\n%x", name, who, got, want)
			}
			if n := testing.AllocsPerRun(100, func() { w.serve(reply, query, client) }); n > 0 {
				t.Errorf("%s: %s costs %v allocations", name, who, n)
			}
		}
	}
}

func TestSizesStayOnTheFastPath(t *testing.T) {
	l := newLab(t)
	l.registerMany(t, "big", 60)
	for port := range 3 { // at one address, whose record they share
		l.register(t, registry.Instance{Service: "ports", ID: string(rune('a' + port)), Port: 80 + port, Address: "10.1.0.1"})
	}
	w := l.newWorker("udp")
	reply := make([]byte, 0, cache.UDPSize)
	for _, name := range []string{"big.service.test.", "ports.service.test."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeANY} {
			for _, size := range []int{0, 512, 1232, 4096, 65535} {
				query, _ := question(name, qtype, size).Pack()
				l.cached(t, w, query)
				if n := testing.AllocsPerRun(100, func() { w.serve(reply, query, client) }); n > 0 {
					t.Errorf("%s %s, %d octets: %v allocations", name, dns.TypeToString[qtype], size, n)
				}
			}
		}
	}
}
