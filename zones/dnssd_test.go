package zones

import (
	"strings"
	"testing"
)

func TestServiceDiscovery(t *testing.T) {
	long := strings.Repeat("x", 64)
	v := view(node("foo", "10.0.0.1"),
		instance("web", id("web-1"), meta("path=/", "a=b")), instance("web", id("Web.2"), at("10.0.0.2"), port(81)),
		instance("web", id("web-3"), critical), instance("web", id(long)), instance("Api"), instance("dotted.name"),
		instance("sick", critical))
	check(t, consul(t), []row{
		{"the list of services, without those that are more than a label", v, "_services._dns-sd._udp.consul. PTR", `; NOERROR
			_services._dns-sd._udp.consul. 5 IN PTR _api._tcp.consul.
			_services._dns-sd._udp.consul. 5 IN PTR _sick._tcp.consul.
			_services._dns-sd._udp.consul. 5 IN PTR _web._tcp.consul.`},
		{"it has no other type", v, "_services._dns-sd._udp.consul. SRV", "; NOERROR" + soa7},
		{"the instances that may be used, with an ID as one label", v, "_web._tcp.consul. PTR", `; NOERROR
			_web._tcp.consul. 5 IN PTR Web\.2._web._tcp.consul.
			_web._tcp.consul. 5 IN PTR web-1._web._tcp.consul.`},
		{"the same under _udp and with the datacenter", v, "_api._udp.dc1.consul. PTR", `; NOERROR
			_api._udp.dc1.consul. 5 IN PTR Api._api._udp.dc1.consul.`},
		{"the instances of a service that is not well", v, "_sick._tcp.consul. PTR", "; NOERROR: 1 instance of sick, critical" + soa7},
		{"the instances of a service that is not registered", v, "_nil._tcp.consul. PTR", "; NXDOMAIN: no service nil is registered" + soa7},
		{"where an instance is", v, "web-1._web._tcp.consul. SRV", `; NOERROR
			web-1._web._tcp.consul. 5 IN SRV 1 1 12345 foo.node.dc1.consul.
			; additional
			foo.node.dc1.consul. 5 IN A 10.0.0.1`},
		{"where an instance is whose ID has a dot", v, `wEB\.2._web._tcp.consul. SRV`, `; NOERROR
			web\.2._web._tcp.consul. 5 IN SRV 1 1 81 0a000002.addr.dc1.consul.
			; additional
			0a000002.addr.dc1.consul. 5 IN A 10.0.0.2`},
		{"that dot is in the label", v, "web.2._web._tcp.consul. SRV", "; NXDOMAIN: no name in consul. has the form of web.2._web._tcp" + soa7},
		{"its metadata", v, "web-1._web._tcp.consul. TXT", "; NOERROR\n web-1._web._tcp.consul. 5 IN TXT \"a=b\" \"path=/\""},
		{"TXT without metadata", v, `web\.2._web._tcp.consul. TXT`, "; NOERROR\n web\\.2._web._tcp.consul. 5 IN TXT \"\""},
		{"ANY", v, "web-1._web._tcp.service.consul. ANY", `; NOERROR
			web-1._web._tcp.service.consul. 5 IN SRV 1 1 12345 foo.node.dc1.consul.
			web-1._web._tcp.service.consul. 5 IN TXT "a=b" "path=/"
			; additional
			foo.node.dc1.consul. 5 IN A 10.0.0.1`},
		{"another type", v, "web-1._web._tcp.consul. A", "; NOERROR" + soa7},
		{"an instance that is not well", v, "web-3._web._tcp.consul. SRV", "; NOERROR: 1 instance of web with the ID web-3, critical" + soa7},
		{"an instance that is not registered", v, "web-9._web._tcp.consul. SRV", "; NXDOMAIN: no instance of web has the ID web-9" + soa7},
		{"an ID that is a kind elsewhere", view(foo(), instance("web", id("node"))), "node._web._tcp.consul. TXT", "; NOERROR\n node._web._tcp.consul. 5 IN TXT \"\""},
		{"an ID on two nodes", view(foo(), node("bar", "10.0.0.7"), instance("web"), instance("web", on("bar"))), "web._web._tcp.consul. SRV", `; NOERROR
			web._web._tcp.consul. 5 IN SRV 1 1 12345 bar.node.dc1.consul.
			web._web._tcp.consul. 5 IN SRV 1 1 12345 foo.node.dc1.consul.
			; additional
			bar.node.dc1.consul. 5 IN A 10.0.0.7
			foo.node.dc1.consul. 5 IN A 127.0.0.1`},
		{"another list", v, "_other._dns-sd._udp.consul. PTR", "; NXDOMAIN: no name in consul. has the form of _other._dns-sd._udp" + soa7},
	})
}
