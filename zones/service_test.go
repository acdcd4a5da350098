package zones

import (
	"testing"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestServices(t *testing.T) {
	db := view(foo(), instance("db"))
	external := view(foo(), instance("db", at("127.0.0.2")))
	external6 := view(foo(), instance("db", at("2607:20:4005:808::200e")))
	twins := view(foo(),
		instance("db", at("127.0.0.2"), id("db1"), tags("primary")),
		instance("db", at("127.0.0.3"), id("db2"), tags("secondary")))
	period := view(foo(), instance("db", tags("v1.primary")))
	mixed := view(foo(), instance("Db", tags("Primary")))
	dedup := view(foo(), instance("db", id("1")), instance("db", id("2")), instance("db", id("3"), port(12346)))
	const one = "; NOERROR\n db.service.consul. 5 IN SRV 1 1 12345 foo.node.dc1.consul.\n ; additional\n foo.node.dc1.consul. 5 IN A 127.0.0.1"
	check(t, consul(t, "test-domain."), []row{
		{"row 15 SRV of an instance at its node's address", db, "db.service.consul. SRV", one},
		{"row 17 SRV of a service that is not registered", db, "nodb.service.consul. SRV", "; NXDOMAIN: no service nodb is registered" + soa7},
		{"row 17 SRV of a query that is not registered", db, "nope.query.consul. SRV", "; NXDOMAIN: no prepared query nope is registered" + soa7},
		{"row 18 SRV of an instance at its own address", external, "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 7f000002.addr.dc1.consul.
			; additional
			7f000002.addr.dc1.consul. 5 IN A 127.0.0.2`},
		{"row 19 SRV of an instance at its own IPv6 address", external6, "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 2607002040050808000000000000200e.addr.dc1.consul.
			; additional
			2607002040050808000000000000200e.addr.dc1.consul. 5 IN AAAA 2607:20:4005:808::200e`},
		{"row 20 another zone is answered with names in it", external, "db.service.test-domain. SRV", `; NOERROR
			db.service.test-domain. 5 IN SRV 1 1 12345 7f000002.addr.dc1.test-domain.
			; additional
			7f000002.addr.dc1.test-domain. 5 IN A 127.0.0.2`},
		{"row 20 the same for IPv6", external6, "db.service.test-domain. SRV", `; NOERROR
			db.service.test-domain. 5 IN SRV 1 1 12345 2607002040050808000000000000200e.addr.dc1.test-domain.
			; additional
			2607002040050808000000000000200e.addr.dc1.test-domain. 5 IN AAAA 2607:20:4005:808::200e`},
		{"row 36 another zone, node targets", db, "db.service.dc1.test-domain. SRV", `; NOERROR
			db.service.dc1.test-domain. 5 IN SRV 1 1 12345 foo.node.dc1.test-domain.
			; additional
			foo.node.dc1.test-domain. 5 IN A 127.0.0.1`},
		{"row 21 a tag in RFC 2782 form", twins, "_db._primary.service.dc1.consul. SRV", `; NOERROR
			_db._primary.service.dc1.consul. 5 IN SRV 1 1 12345 7f000002.addr.dc1.consul.
			; additional
			7f000002.addr.dc1.consul. 5 IN A 127.0.0.2`},
		{"row 21 a tag before the service", twins, "primary.db.service.dc1.consul. SRV", `; NOERROR
			primary.db.service.dc1.consul. 5 IN SRV 1 1 12345 7f000002.addr.dc1.consul.
			; additional
			7f000002.addr.dc1.consul. 5 IN A 127.0.0.2`},
		{"row 22 a label too many in RFC 2782 form", twins, "banana._db._primary.service.dc1.consul. SRV",
			"; NXDOMAIN: no name in consul. has the form of banana._db._primary" + soa7},
		{"row 23 labels before the service are one tag", twins, "dummy.primary.db.service.consul. SRV",
			"; NXDOMAIN: no instance of db bears the tag dummy.primary" + soa7},
		{"row 24 tag with a period", period, "v1.primary.db.service.consul. SRV", `; NOERROR
			v1.primary.db.service.consul. 5 IN SRV 1 1 12345 foo.node.dc1.consul.
			; additional
			foo.node.dc1.consul. 5 IN A 127.0.0.1`},
		{"row 24 another tag with a period", period, "v1.primary2.db.service.consul. SRV",
			"; NXDOMAIN: no instance of db bears the tag v1.primary2" + soa7},
		{"row 25 name and tag in another case", mixed, "pRIMARY.dB.Service.consul. A", `; NOERROR
			primary.db.service.consul. 5 IN A 127.0.0.1`},
		{"row 25 the same in RFC 2782 form", mixed, "_DB._pRIMARY.consul. A", `; NOERROR
			_db._primary.consul. 5 IN A 127.0.0.1`},
		{"row 26 RFC 2782 with service and datacenter", twins, "_db._primary.service.dc1.consul. A", `; NOERROR
			_db._primary.service.dc1.consul. 5 IN A 127.0.0.2`},
		{"row 26 RFC 2782 with service", twins, "_db._primary.service.consul. A", `; NOERROR
			_db._primary.service.consul. 5 IN A 127.0.0.2`},
		{"row 26 RFC 2782 with datacenter", twins, "_db._primary.dc1.consul. A", `; NOERROR
			_db._primary.dc1.consul. 5 IN A 127.0.0.2`},
		{"row 26 RFC 2782 alone", twins, "_db._primary.consul. A", `; NOERROR
			_db._primary.consul. 5 IN A 127.0.0.2`},
		{"row 27 _tcp is no tag, with service and datacenter", external, "_db._tcp.service.dc1.consul. A", `; NOERROR
			_db._tcp.service.dc1.consul. 5 IN A 127.0.0.2`},
		{"row 27 _tcp is no tag, with service", external, "_db._tcp.service.consul. A", `; NOERROR
			_db._tcp.service.consul. 5 IN A 127.0.0.2`},
		{"row 27 _tcp is no tag, with datacenter", external, "_db._tcp.dc1.consul. A", `; NOERROR
			_db._tcp.dc1.consul. 5 IN A 127.0.0.2`},
		{"row 27 _tcp is no tag", external, "_db._tcp.consul. A", `; NOERROR
			_db._tcp.consul. 5 IN A 127.0.0.2`},
		{"_udp is no tag either", external, "_db._udp.consul. A", `; NOERROR
			_db._udp.consul. 5 IN A 127.0.0.2`},
		{"row 30 one address for three instances", dedup, "db.service.consul. ANY", `; NOERROR
			db.service.consul. 5 IN A 127.0.0.1`},
		{"row 31 one SRV for each port", dedup, "db.service.consul. SRV", `; NOERROR
			db.service.consul. 5 IN SRV 1 1 12345 foo.node.dc1.consul.
			db.service.consul. 5 IN SRV 1 1 12346 foo.node.dc1.consul.
			; additional
			foo.node.dc1.consul. 5 IN A 127.0.0.1`},
		{"rows 33 and 34 no TXT in the additional section of a SRV answer", view(foo(), instance("db", meta("k=v"))), "db.service.consul. SRV", one},
		{"row 4g TXT gives metadata and never addresses",
			view(foo(), instance("db", id("1"), meta("b=2", "a=1")), instance("db", id("2"), meta("a=1", "b=2")), instance("db", id("3"))),
			"db.service.consul. TXT", `; NOERROR
			db.service.consul. 5 IN TXT "a=1" "b=2"`},
		{"row 4h ANY gives addresses and no SRV", view(foo(), instance("db", tagged("lan_ipv6", "::9"))), "db.service.consul. ANY", `; NOERROR
			db.service.consul. 5 IN A 127.0.0.1
			db.service.consul. 5 IN AAAA ::9`},
		{"another type", db, "db.service.consul. MX", "; NOERROR" + soa7},
		{"row 81 AAAA of a service with an IPv4 address", db, "db.service.consul. AAAA", "; NOERROR" + soa7},
		{"row 81 A of a service with an IPv6 address", external6, "db.service.consul. A", "; NOERROR" + soa7},
	})
}

func TestWeights(t *testing.T) {
	check(t, consul(t), []row{
		{"row 4q the weight follows the status", view(foo(),
			instance("web", id("1"), at("10.0.0.1"), weights(10, 2), passing),
			instance("web", id("2"), at("10.0.0.2"), weights(10, 2), warning),
			instance("web", id("3"), at("10.0.0.3"), weights(10, 0), warning)), "web.service.consul. SRV", `; NOERROR
			web.service.consul. 5 IN SRV 1 10 12345 0a000001.addr.dc1.consul.
			web.service.consul. 5 IN SRV 1 2 12345 0a000002.addr.dc1.consul.
			web.service.consul. 5 IN SRV 1 0 12345 0a000003.addr.dc1.consul.
			; additional
			0a000001.addr.dc1.consul. 5 IN A 10.0.0.1
			0a000002.addr.dc1.consul. 5 IN A 10.0.0.2
			0a000003.addr.dc1.consul. 5 IN A 10.0.0.3`},
	})
	v := view(foo(), instance("web", id("1"), weights(3, 1)), instance("web", id("2"), weights(4, 1)))
	a := consul(t).Resolve(v, question(t, "web.service.consul. A"))
	if len(a.Records) != 1 || a.Records[0].Weight != 7 || !a.Shuffle {
		t.Errorf("instances at one address: %+v, want one record of weight 7", a)
	}
}

func TestHealth(t *testing.T) {
	mixed := view(node("foo", "10.0.0.1"), sick(node("bar", "10.0.0.2"), registry.Critical), sick(node("baz", "10.0.0.3"), registry.Warning),
		instance("db", id("1")), instance("db", id("2"), at("10.0.0.9"), critical), instance("db", on("bar"), passing), instance("db", on("baz"), passing))
	allCritical := view(foo(), instance("web", id("1"), critical), instance("web", id("2"), critical), instance("web", id("3"), critical))
	check(t, consul(t), []row{
		{"row 37 critical instances and those on a critical node are left out", mixed, "db.service.consul. A", `; NOERROR
			db.service.consul. 5 IN A 10.0.0.3
			db.service.consul. 5 IN A 10.0.0.1`},
		{"row 38 RFC: a name that is registered exists, with all instances critical", allCritical, "web.service.consul. A",
			"; NOERROR: 3 instances of web, all critical" + soa7},
		{"one instance", view(foo(), instance("web", critical)), "web.service.consul. SRV", "; NOERROR: 1 instance of web, critical" + soa7},
		{"maintenance", view(foo(), instance("web", critical), instance("web", id("2"), maintained)), "web.service.consul. A",
			"; NOERROR: 2 instances of web, 1 critical, 1 in maintenance" + soa7},
		{"a tag that only critical instances bear",
			view(foo(), instance("web", id("1"), tags("v1"), critical), instance("web", id("2"), tags("v2"))), "v1.web.service.consul. A",
			"; NOERROR: 1 instance of web with the tag v1, critical" + soa7},
		{"the same in RFC 2782 form",
			view(foo(), instance("web", id("1"), tags("v1"), critical), instance("web", id("2"), tags("v2"))), "_web._v1.consul. SRV",
			"; NOERROR: 1 instance of web with the tag v1, critical" + soa7},
		{"row 40 a warning instance without only-passing", view(foo(), instance("db", warning)), "db.service.consul. A",
			"; NOERROR\n db.service.consul. 5 IN A 127.0.0.1"},
	})
	check(t, with(t, Config{Zones: []string{"consul."}, OnlyPassing: true}), []row{
		{"row 39 only passing instances", mixed, "db.service.consul. A", `; NOERROR
			db.service.consul. 5 IN A 10.0.0.1`},
		{"row 39 a warning instance alone", view(foo(), instance("db", warning), instance("db", id("2"), critical)), "db.service.consul. A",
			"; NOERROR: 2 instances of db, 1 critical, 1 in warning" + soa7},
	})
}

func TestServicesWithDots(t *testing.T) {
	v := view(foo(), instance("eu.web", at("10.0.0.1"), tags("v1", "v2.x")), instance("api", at("10.0.0.2")), instance("_odd", at("10.0.0.3"), tags("t")))
	check(t, consul(t), []row{
		{"a service with a dot", v, "eu.web.service.consul. A", "; NOERROR\n eu.web.service.consul. 5 IN A 10.0.0.1"},
		{"and a tag of it", v, "v1.eu.web.service.consul. A", "; NOERROR\n v1.eu.web.service.consul. 5 IN A 10.0.0.1"},
		{"what it ends in exists", v, "web.service.consul. A", "; NOERROR" + soa7},
		{"what its tag ends in exists", v, "x.eu.web.service.consul. A", "; NOERROR" + soa7},
		{"what it does not end in does not", v, "b.service.consul. A", "; NXDOMAIN: no service b is registered" + soa7},
		{"Consul's reading comes first", viewOf(v, instance("web", at("10.0.0.4"), tags("EU"))), "eu.web.service.consul. A",
			"; NOERROR\n eu.web.service.consul. 5 IN A 10.0.0.4"},
		{"and gives way where it finds none", viewOf(v, instance("web", at("10.0.0.4"), tags("us"))), "eu.web.service.consul. A",
			"; NOERROR\n eu.web.service.consul. 5 IN A 10.0.0.1"},
		{"a dot in a label separates nothing", v, `eu\.web.service.consul. A`, `; NXDOMAIN: no service eu\.web is registered` + soa7},
		{"nor does it in a tag", v, `v2\.x.eu.web.service.consul. A`, `; NXDOMAIN: no service v2\.x.eu.web is registered` + soa7},
		{"nor in RFC 2782 form", v, `_eu\.web._tcp.consul. A`, `; NXDOMAIN: no service eu\.web is registered` + soa7},
		{"nor in a tag there", v, `_api._v2\.x.consul. A`, `; NXDOMAIN: no instance of api bears the tag v2\.x` + soa7},
		{"a service with an underscore", v, "_odd.service.consul. A", "; NOERROR\n _odd.service.consul. 5 IN A 10.0.0.3"},
		{"and a tag of that", v, "t._odd.service.consul. A", "; NOERROR\n t._odd.service.consul. 5 IN A 10.0.0.3"},
	})
}
