package zones

import "testing"

func TestServiceBinding(t *testing.T) {
	v := view(foo(),
		instance("web", at("10.0.0.1"), id("1"), port(8443), meta("protocol=h2")),
		instance("web", at("2001:db8::1"), id("2"), port(443), meta("protocol=HTTPS")),
		instance("web", at("10.0.0.3"), id("3"), port(80), meta("protocol=http")),
		instance("plain", at("10.0.0.4"), port(80)))
	const glue1 = "0a000001.addr.dc1.consul. 5 IN A 10.0.0.1"
	const glue2 = "20010db8000000000000000000000001.addr.dc1.consul. 5 IN AAAA 2001:db8::1"
	check(t, consul(t), []row{
		{"HTTPS of the instances that speak it", v, "web.service.consul. HTTPS", `; NOERROR
			web.service.consul. 5 IN HTTPS 1 0a000001.addr.dc1.consul. alpn="h2" no-default-alpn="" port="8443" ipv4hint="10.0.0.1"
			web.service.consul. 5 IN HTTPS 1 20010db8000000000000000000000001.addr.dc1.consul. alpn="http/1.1" port="443" ipv6hint="2001:db8::1"
			; additional
			` + glue1 + "\n" + glue2},
		{"SVCB of all of them", v, "plain.service.consul. SVCB", `; NOERROR
			plain.service.consul. 5 IN SVCB 1 0a000004.addr.dc1.consul. port="80" ipv4hint="10.0.0.4"
			; additional
			0a000004.addr.dc1.consul. 5 IN A 10.0.0.4`},
		{"HTTPS of none", v, "plain.service.consul. HTTPS", "; NOERROR: 1 instance of plain, none of which says that it speaks HTTPS" + soa7},
	})
}
