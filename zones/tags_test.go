package zones

import "testing"

func TestSeveralTags(t *testing.T) {
	v := view(foo(),
		instance("web", at("10.0.0.1"), id("1"), tags("blue", "v1")),
		instance("web", at("10.0.0.2"), id("2"), tags("blue", "canary", "v1.2")),
		instance("web", at("10.0.0.3"), id("3"), tags("green", "v1")),
		instance("api", at("10.0.0.4"), id("4"), tags("a.b")),
		instance("api", at("10.0.0.5"), id("5"), tags("a", "b")),
		instance("odd", at("10.0.0.6"), id("6"), tags("not")))
	a := func(name string, addresses ...string) string {
		text := "; NOERROR"
		for _, address := range addresses {
			text += "\n " + name + ".service.consul. 5 IN A " + address
		}
		return text
	}
	check(t, consul(t), []row{
		{"both", v, "blue.v1.web.service.consul. A", a("blue.v1.web", "10.0.0.1")},
		{"in any order", v, "v1.blue.web.service.consul. A", a("v1.blue.web", "10.0.0.1")},
		{"with dots in one", v, "v1.2.blue.web.service.consul. A", a("v1.2.blue.web", "10.0.0.2")},
		{"a name that one tag has is that tag alone", v, "a.b.api.service.consul. A", a("a.b.api", "10.0.0.4")},
		{"the other order is two tags", v, "b.a.api.service.consul. A", a("b.a.api", "10.0.0.5")},
		{"not one", v, "canary.not.web.service.consul. A", a("canary.not.web", "10.0.0.1", "10.0.0.3")},
		{"one and not another", v, "canary.not.blue.web.service.consul. A", a("canary.not.blue.web", "10.0.0.1")},
		{"one behind one that is not to be", v, "v1.canary.not.web.service.consul. A", a("v1.canary.not.web", "10.0.0.1", "10.0.0.3")},
		{"not two", v, "green.not.canary.not.web.service.consul. A", a("green.not.canary.not.web", "10.0.0.1")},
		{"not what nobody bears", v, "old.not.web.service.consul. A", a("old.not.web", "10.0.0.1", "10.0.0.2", "10.0.0.3")},
		{"a service that bears the tag not", v, "not.odd.service.consul. A", a("not.odd", "10.0.0.6")},
		{"both of which nobody bears together", v, "green.canary.web.service.consul. A",
			"; NXDOMAIN: no instance of web bears the tag green.canary" + soa7},
		{"one that nobody bears", v, "blue.nope.web.service.consul. A", "; NXDOMAIN: no instance of web bears the tag blue.nope" + soa7},
		{"a negation of nothing leads on", v, "not.web.service.consul. A", "; NOERROR" + soa7},
		{"nobody left", v, "blue.not.green.not.web.service.consul. A", "; NOERROR: no instance of web has the tags not green and not blue" + soa7},
		{"a dot in a tag before another", v, "2.blue.web.service.consul. A", "; NOERROR" + soa7},
		{"a service that is not there", v, "canary.not.wbe.service.consul. A", "; NXDOMAIN: no service wbe is registered" + soa7},
	})
}

func TestNamesThatSayWhatNobodyBearsAreNotKept(t *testing.T) {
	v := view(foo(), instance("web", tags("blue")))
	z := consul(t)
	for name, keep := range map[string]bool{"blue.not.web.service.consul.": true, "random.not.web.service.consul.": false} {
		wire, _ := pack(name)
		if a := z.Resolve(v, Question{Name: wire, Type: 1}); a.Cacheable != keep {
			t.Errorf("%s: kept %v, want %v", name, a.Cacheable, keep)
		}
	}
}
