package zones

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestExplainSaysWhyAnInstanceIsLeftOut(t *testing.T) {
	v := view(foo(), sick(node("ill", "10.0.0.9"), registry.Critical),
		instance("web", id("1"), tags("v1"), at("10.0.0.1"), passing),
		instance("web", id("2"), tags("v1"), at("10.0.0.2"), checked(registry.Critical, "connection refused\n")),
		instance("web", id("3"), tags("v1"), at("10.0.0.3"), maintained),
		instance("web", id("4"), tags("v1"), on("ill")),
		instance("web", id("5"), at("10.0.0.5")),
		instance("web", id("6"), tags("v1"), at("10.0.0.1")),
		instance("web", id("7"), tags("v1"), at("::7")),
		instance("web", id("8"), tags("v1"), at("www.example")),
		instance("web", id("9"), tags("v1"), at("10.0.0.9"), checked(registry.Warning, "slow")))
	z := with(t, Config{Zones: []string{"consul"}, OnlyPassing: true})
	want := Explanation{
		Name: "V1.web.service.consul.", Type: "A", Zone: "consul.", Rcode: "NOERROR",
		Answer: []string{"v1.web.service.consul.\t5\tIN\tA\t10.0.0.1"}, Authority: []string{}, Additional: []string{},
		Service: "web", Tag: "v1", Instances: 9,
		LeftOut: []LeftOut{
			{"foo", "2", "critical", "critical: check 'http' said: connection refused"},
			{"foo", "3", "critical", "in maintenance: a new disk"},
			{"foo", "5", "passing", "it does not bear the tag v1"},
			{"foo", "6", "passing", "another instance has the same address"},
			{"foo", "7", "passing", "it has no address of that family"},
			{"foo", "8", "passing", "its address is a name, of which an answer has one at most, and none beside addresses"},
			{"foo", "9", "warning", "warning: check 'http' said: slow"},
			{"ill", "4", "critical", "critical: its node's check 'serfHealth' said: not heard of"},
		},
	}
	if diff := cmp.Diff(want, z.Explain(v, "V1.web.service.consul", dns.TypeA)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExplainOfAnAliasLeavesOutTheOthers(t *testing.T) {
	v := view(foo(), instance("db", id("1"), at("a.example")), instance("db", id("2"), at("b.example")))
	e := consul(t).Explain(v, "db.service.consul.", dns.TypeA)
	if len(e.Answer) != 1 || len(e.LeftOut) != 1 || e.LeftOut[0].ID != "2" {
		t.Errorf("%+v", e)
	}
}

func TestExplainOfATypeThatInstancesHaveNoRecordsOf(t *testing.T) {
	v := view(foo(), instance("db", id("1"), at("10.0.0.1")), instance("db", id("2"), at("::2")))
	for qtype, want := range map[uint16]string{dns.TypeMX: "it has no records of type MX", 65400: "it has no records of type TYPE65400"} {
		e := consul(t).Explain(v, "db.service.consul.", qtype)
		if len(e.LeftOut) != 2 || e.LeftOut[0].Reason != want || e.LeftOut[1].Reason != want {
			t.Errorf("%+v", e)
		}
	}
}

func TestExplainOfATypeThatAnAliasStandsFor(t *testing.T) {
	e := consul(t).Explain(view(foo(), instance("db", id("1"), at("a.example"))), "db.service.consul.", dns.TypeMX)
	if len(e.Answer) != 1 || len(e.LeftOut) != 0 {
		t.Errorf("%+v", e)
	}
}

func TestExplainOfACheckThatHasSaidNothing(t *testing.T) {
	const check = "critical: check 'http'"
	for name, row := range map[string]struct {
		kind    string
		changed uint64
		want    string
	}{
		"no heartbeat":         {"ttl", 5, check + ": no heartbeat has come yet"},
		"set without a word":   {"ttl", 6, check},
		"no probe":             {"http", 5, check + ": it has not run yet"},
		"nothing to wait for":  {"", 5, check},
		"somebody's own check": {"", 6, check},
	} {
		waiting := func(i *registry.Instance) {
			critical(i)
			i.Checks[0].Type, i.Checks[0].CreateIndex, i.Checks[0].ModifyIndex = row.kind, 5, row.changed
		}
		e := consul(t).Explain(view(foo(), instance("db", waiting)), "db.service.consul.", dns.TypeA)
		if len(e.LeftOut) != 1 || e.LeftOut[0].Reason != row.want {
			t.Errorf("%s: %+v", name, e.LeftOut)
		}
	}
}

func TestExplainOfWhatIsNotThere(t *testing.T) {
	e := consul(t).Explain(view(foo()), "wbe.service.consul.", dns.TypeSRV)
	if e.Rcode != "NXDOMAIN" || e.Reason != "no service wbe is registered" || len(e.Authority) != 1 || e.Service != "" {
		t.Errorf("%+v", e)
	}
}

func TestExplainOfWhatIsNoName(t *testing.T) {
	if e := consul(t).Explain(view(foo()), "a..b", dns.TypeSRV); e.Rcode != "FORMERR" {
		t.Errorf("%+v", e)
	}
}

func TestExplainSaysThatAClientIsGivenSome(t *testing.T) {
	v := view(foo(), instance("db", id("1"), at("10.0.0.1")), instance("db", id("2"), at("10.0.0.2")), instance("db", id("3"), at("10.0.0.3")))
	e := with(t, Config{Zones: []string{"consul"}, MaxAnswers: 2}).Explain(v, "db.service.consul.", dns.TypeSRV)
	if e.Note != "of these 3 records each client is given 2, by weight" || len(e.Answer) != 3 || len(e.Additional) != 3 {
		t.Errorf("%+v", e)
	}
}
