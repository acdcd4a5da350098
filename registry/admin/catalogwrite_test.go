package admin

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestConsulsClientRegistersANodeAServiceAndItsChecks(t *testing.T) {
	e := start(t, nil)
	_, err := e.consul.Catalog().Register(&api.CatalogRegistration{
		ID: "40e4a748-2192-161a-0510-9bf59fe950b5", Node: "db1", Address: "10.0.0.5", Datacenter: "dc1",
		TaggedAddresses: map[string]string{"wan": "192.0.2.5"}, NodeMeta: map[string]string{"external-node": "true"},
		Service: &api.AgentService{ID: "pg-1", Service: "pg", Port: 5432, Tags: []string{"primary"}},
		Check:   &api.AgentCheck{Node: "db1", CheckID: "host", Name: "Host", Status: "passing"},
		Checks: api.HealthChecks{{
			Node: "db1", CheckID: "pg-port", Name: "Port", Status: "warning", Output: "slow", ServiceID: "pg-1",
			Definition: api.HealthCheckDefinition{TCP: "10.0.0.5:5432", IntervalDuration: 10 * time.Second, TimeoutDuration: time.Second},
		}},
	}, nil)
	check(t, err)
	v := e.registry.View()
	n := v.Node("db1")
	if n == nil || n.Address != "10.0.0.5" || n.ID != "40e4a748-2192-161a-0510-9bf59fe950b5" || n.Meta["external-node"] != "true" || n.TaggedAddresses["wan"] != "192.0.2.5" {
		t.Errorf("node: %+v", n)
	}
	i := v.Instance("db1", "pg-1")
	if i == nil || i.Service != "pg" || i.Port != 5432 || i.Weights != (registry.Weights{Passing: 1, Warning: 1}) {
		t.Errorf("instance: %+v", i)
	}
	if c := v.Check("db1", "host"); c == nil || c.InstanceID != "" || c.Status != registry.Passing {
		t.Errorf("the node's check: %+v", c)
	}
	want := &registry.Definition{TCP: "10.0.0.5:5432", Interval: 10 * time.Second, Timeout: time.Second}
	if c := v.Check("db1", "pg-port"); c == nil || c.InstanceID != "pg-1" || c.Output != "slow" || !c.Definition.Equal(want) {
		t.Errorf("the service's check: %+v", c)
	}
}

func TestServicesOfANodeShareItsCheck(t *testing.T) {
	e := start(t, nil)
	for _, service := range []string{"web", "mail"} {
		e.must("PUT", "/v1/catalog/register", `{"Node":"ext","Address":"192.0.2.1","Service":{"Service":"`+service+`"},
			"Checks":[{"Name":"http-check","Status":"critical"}]}`)
	}
	v := e.registry.View()
	diff(t, "the node's checks", len(v.Node("ext").Checks), 1)
	diff(t, "status", v.StatusOf(v.Instance("ext", "web")), registry.Critical)
}

func TestWhatWasReadFromTheCatalogCanBeWrittenBack(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/catalog/register", `{"Node":"ext","Address":"192.0.2.1","NodeMeta":{"a":"b"},
		"Service":{"Service":"web","Port":80,"Tags":["v1"],"Weights":{"Passing":3,"Warning":1}},
		"Check":{"CheckID":"c","Name":"C","ServiceID":"web","Status":"passing","Definition":{"HTTP":"http://192.0.2.1/","Interval":"10s"}}}`)
	entries, _, err := e.consul.Health().Service("web", "", false, nil)
	check(t, err)
	before := e.registry.View()
	_, err = e.consul.Catalog().Register(&api.CatalogRegistration{
		Node: entries[0].Node.Node, Address: entries[0].Node.Address, TaggedAddresses: entries[0].Node.TaggedAddresses,
		NodeMeta: entries[0].Node.Meta, Service: entries[0].Service, Checks: entries[0].Checks,
	}, nil)
	check(t, err)
	was, is := before.Instance("ext", "web"), e.registry.View().Instance("ext", "web")
	if was.ModifyIndex != is.ModifyIndex {
		t.Errorf("writing it back changes it:\n%+v\n%+v", was, is)
	}
}

func TestSkipNodeUpdateLeavesTheNode(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/catalog/register", `{"Node":"ext","Address":"192.0.2.1","NodeMeta":{"a":"b"}}`)
	e.must("PUT", "/v1/catalog/register", `{"Node":"ext","Address":"192.0.2.2","SkipNodeUpdate":true,"Service":{"Service":"web"}}`)
	v := e.registry.View()
	if n := v.Node("ext"); n.Address != "192.0.2.1" || n.Meta["a"] != "b" {
		t.Errorf("node: %+v", n)
	}
	if v.Instance("ext", "web") == nil {
		t.Error("the service is not there")
	}
}

func TestABadCatalogRegistrationChangesNothing(t *testing.T) {
	e := start(t, nil)
	before := e.registry.View()
	bodies := 0
	for body, says := range map[string]string{
		`{"Address":"192.0.2.1"}`:                                   "Node is missing",
		`{"Node":"ext"}`:                                            "Address of the new node",
		`{"Node":"e x t","Address":"192.0.2.1"}`:                    "Node ",
		`{"Node":"ext","Address":"192.0.2.1","Datacenter":"dc2"}`:   `Datacenter is "dc2"`,
		`{"Node":"ext","Address":"192.0.2.1","Service":{"ID":"a"}}`: "Name of the service is missing",
		`{"Node":"ext","Address":"192.0.2.1","Service":{"Service":"a","Proxy":{"Mode":"direct"}}}`:  "Service.Proxy is nothing",
		`{"Node":"ext","Address":"192.0.2.1","Check":{"Name":"c","Definition":{"OSService":"x"}}}`:  "Check.Definition.OSService is nothing",
		`{"Node":"ext","Address":"192.0.2.1","Check":{"Node":"other","Name":"c"}}`:                  `Check.Node is "other"`,
		`{"Node":"ext","Address":"192.0.2.1","Checks":[{"Name":"c","Status":"unknown"}]}`:           "Checks[0].Status must be",
		`{"Node":"ext","Address":"192.0.2.1","PeerName":"elsewhere"}`:                               "PeerName is nothing",
		`{"Node":"ext","Address":"192.0.2.1","Service":{"Service":"!"},"Checks":[{"Name":"host"}]}`: "Name ",
	} {
		bodies++
		status, text, _ := e.do("PUT", "/v1/catalog/register", body)
		if status != http.StatusBadRequest || !strings.HasPrefix(text, says) {
			t.Errorf("%s: %d %s, want 400 %s", body, status, text, says)
		}
	}
	if e.registry.View() != before {
		t.Error("the registry has changed")
	}
	t.Logf("%d bodies: 400", bodies)
}

func TestConsulsClientDeregistersFromTheCatalog(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/catalog/register", `{"Node":"ext","Address":"192.0.2.1","Service":{"Service":"web"},
		"Checks":[{"CheckID":"c","ServiceID":"web"},{"CheckID":"host"}]}`)
	gone := func(d api.CatalogDeregistration, is func(v *registry.View) bool) {
		t.Helper()
		for range 2 { // the second time there is nothing left to do, which is no error
			d.Node = "ext"
			_, err := e.consul.Catalog().Deregister(&d, nil)
			check(t, err)
		}
		if !is(e.registry.View()) {
			t.Errorf("%+v: it is still there", d)
		}
	}
	gone(api.CatalogDeregistration{CheckID: "c"}, func(v *registry.View) bool { return v.Check("ext", "c") == nil && v.Instance("ext", "web") != nil })
	gone(api.CatalogDeregistration{ServiceID: "web"}, func(v *registry.View) bool { return v.Instance("ext", "web") == nil && v.Node("ext") != nil })
	gone(api.CatalogDeregistration{}, func(v *registry.View) bool { return v.Node("ext") == nil && v.Check("ext", "host") == nil })
}

func TestTheOwnNodeCannotBeDeregistered(t *testing.T) {
	e := start(t, nil)
	for body, want := range map[string]int{`{"Node":"n1"}`: 400, `{}`: 400, `{"Node":"ext","Datacenter":"dc2"}`: 400} {
		if status, text, _ := e.do("PUT", "/v1/catalog/deregister", body); status != want {
			t.Errorf("%s: %d %s, want %d", body, status, text, want)
		}
	}
}
