package zones

import (
	"testing"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestPortsHaveNames(t *testing.T) {
	several := func(i *registry.Instance) {
		i.Port = 8080
		i.Ports = []registry.Port{{Name: "http", Port: 8080, Default: true}, {Name: "Metrics", Port: 9090}}
	}
	v := view(foo(),
		instance("web", at("10.0.0.1"), id("1"), tags("v1"), several),
		instance("web", at("10.0.0.2"), id("2"), tags("v2")),
		instance("db", at("10.0.0.3"), id("3")))
	srv := func(name, port string) string {
		return "; NOERROR\n " + name + " 5 IN SRV 1 1 " + port + " 0a000001.addr.dc1.consul.\n; additional\n 0a000001.addr.dc1.consul. 5 IN A 10.0.0.1"
	}
	check(t, consul(t), []row{
		{"one of them", v, "web.service.metrics.port.consul. SRV", srv("web.service.metrics.port.consul.", "9090")},
		{"the default one by its name", v, "web.service.http.port.consul. SRV", srv("web.service.http.port.consul.", "8080")},
		{"with a datacenter", v, "web.service.dc1.dc.http.port.consul. SRV", srv("web.service.dc1.dc.http.port.consul.", "8080")},
		{"with a tag", v, "v1.web.service.metrics.port.consul. SRV", srv("v1.web.service.metrics.port.consul.", "9090")},
		{"after RFC 2782", v, "_web._tcp.metrics.port.consul. SRV", srv("_web._tcp.metrics.port.consul.", "9090")},
		{"the addresses of those that have it", v, "web.service.metrics.port.consul. A", "; NOERROR\n web.service.metrics.port.consul. 5 IN A 10.0.0.1"},
		{"one that the tagged do not have", v, "v2.web.service.metrics.port.consul. SRV", "; NOERROR: no instance that may be used has a port of the name metrics" + soa7},
		{"one that nobody has", v, "web.service.grpc.port.consul. SRV", "; NXDOMAIN: no instance has a port of the name grpc" + soa7},
		{"one that others have", v, "db.service.http.port.consul. SRV", "; NOERROR: no instance of db has a port of the name http" + soa7},
		{"one that others have, after RFC 2782", v, "_db._tcp.http.port.consul. PTR", "; NOERROR: no instance of db has a port of the name http" + soa7},
		{"an instance without it", v, "3._db._tcp.http.port.consul. SRV", "; NOERROR: no instance of db has a port of the name http" + soa7},
		{"without a tag, one that others have", v, "v1.not.db.service.http.port.consul. A", "; NOERROR: no instance of db has a port of the name http" + soa7},
		{"with several tags, one that others have", viewOf(v, instance("db", id("4"), tags("a", "b"))), "a.b.db.service.http.port.consul. A",
			"; NOERROR: no instance of db has a port of the name http" + soa7},
		{"no ports of nodes", v, "foo.node.http.port.consul. A", "; NXDOMAIN: only services have ports with names" + soa7},
		{"no name server below", v, "ns.http.port.consul. A", "; NXDOMAIN: no name in consul. has the form of ns" + soa7},
		{"names that others end in: port", v, "port.consul. A", "; NOERROR" + soa7},
		{"the port", v, "http.port.consul. A", "; NOERROR" + soa7},
		{"the datacenter", v, "dc1.http.port.consul. A", "; NOERROR" + soa7},
		{"the kind", v, "service.http.port.consul. A", "; NOERROR" + soa7},
	})
}
