package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

func TestConsulsClientListsTheAgentsServicesAndChecks(t *testing.T) {
	e := start(t, nil)
	agent := e.consul.Agent()
	check(t, agent.ServiceRegister(&api.AgentServiceRegistration{
		ID: "web-1", Name: "web", Port: 80, Tags: []string{"v1"}, Check: &api.AgentServiceCheck{TTL: "30s", Status: "warning"},
	}))
	check(t, agent.ServiceRegister(&api.AgentServiceRegistration{Name: "db"}))
	e.must("PUT", "/v1/catalog/register", `{"Node":"elsewhere","Address":"10.0.0.9","Service":{"Service":"far"}}`)

	services, err := agent.Services()
	check(t, err)
	if len(services) != 2 || services["web-1"].Service != "web" || services["web-1"].Port != 80 || services["db"].ID != "db" {
		t.Errorf("services: %v", services)
	}
	services, err = agent.ServicesWithFilter(`"v1" in Tags`)
	check(t, err)
	if len(services) != 1 || services["web-1"] == nil {
		t.Errorf("services with the tag v1: %v", services)
	}
	checks, err := agent.Checks()
	check(t, err)
	if c := checks["service:web-1"]; len(checks) != 1 || c.Status != "warning" || c.ServiceID != "web-1" || c.ServiceName != "web" || c.Type != "ttl" {
		t.Errorf("checks: %v", checks)
	}
}

func TestWhatIsEmptyIsNeverNull(t *testing.T) {
	e := start(t, nil)
	diff(t, "services", e.must("GET", "/v1/agent/services", ""), "{}\n")
	diff(t, "checks", e.must("GET", "/v1/agent/checks", ""), "{}\n")
	e.must("PUT", "/v1/agent/service/register", `{"Name":"web"}`)
	for _, path := range []string{"/v1/agent/services", "/v1/agent/service/web", "/v1/agent/health/service/id/web", "/v1/agent/health/service/name/web"} {
		if body := e.must("GET", path, ""); strings.Contains(body, "null") {
			t.Errorf("%s: %s", path, body)
		}
	}
}

func TestAClientThatHasTheHashWaitsForAnother(t *testing.T) {
	e := start(t, nil)
	agent := e.consul.Agent()
	check(t, agent.ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80, Check: &api.AgentServiceCheck{TTL: "30s"}}))
	first, meta, err := agent.Service("web", nil)
	check(t, err)
	if first.Port != 80 || meta.LastContentHash == "" || meta.LastContentHash != first.ContentHash {
		t.Fatalf("%+v %+v", first, meta)
	}
	go func() {
		// A heartbeat changes nothing that the hash is of, the port does.
		_ = agent.PassTTL("service:web", "")
		_ = agent.ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 81})
	}()
	second, _, err := agent.Service("web", &api.QueryOptions{WaitHash: meta.LastContentHash, WaitTime: time.Minute})
	check(t, err)
	diff(t, "port", second.Port, 81)

	same, again, err := agent.Service("web", &api.QueryOptions{WaitHash: second.ContentHash, WaitTime: time.Millisecond})
	check(t, err)
	if same.ContentHash != second.ContentHash || again.LastContentHash != second.ContentHash {
		t.Errorf("after the wait: %s, want %s again", same.ContentHash, second.ContentHash)
	}
	status, body, _ := e.do("GET", "/v1/agent/service/nope", "")
	if status != 404 || !strings.HasPrefix(body, `Unknown service ID "nope"`) {
		t.Errorf("%d %s, want 404", status, body)
	}
}

func TestTheHealthOfAServiceIsAStatusCode(t *testing.T) {
	e := start(t, nil)
	agent := e.consul.Agent()
	check(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: "web-1", Name: "web", Check: &api.AgentServiceCheck{TTL: "30s"}}))
	check(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: "web-2", Name: "web"}))
	for _, row := range []struct {
		status string
		code   int
	}{{"passing", 200}, {"warning", 429}, {"critical", 503}} {
		check(t, agent.UpdateTTL("service:web-1", "", row.status))
		for _, path := range []string{"name/web", "id/web-1"} {
			code, body, header := e.do("GET", "/v1/agent/health/service/"+path+"?format=text", "")
			if code != row.code || body != row.status || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
				t.Errorf("%s: %d %q, want %d %q", path, code, body, row.code, row.status)
			}
			code, _, header = e.do("GET", "/v1/agent/health/service/"+path, "")
			if code != row.code || header.Get("Content-Type") != "application/json" || header.Get("X-Consul-Reason") != row.status {
				t.Errorf("%s: %d %v, want %d in JSON, and why", path, code, header, row.code)
			}
		}
		status, info, err := agent.AgentHealthServiceByID("web-1")
		check(t, err)
		if status != row.status || info.AggregatedStatus != row.status || info.Service.ID != "web-1" || len(info.Checks) != 1 {
			t.Errorf("by ID: %s %+v, want %s", status, info, row.status)
		}
		status, infos, err := agent.AgentHealthServiceByName("web")
		check(t, err)
		if status != row.status || len(infos) != 2 || infos[1].AggregatedStatus != "passing" {
			t.Errorf("by name: %s %+v, want %s", status, infos, row.status)
		}
	}
	check(t, agent.EnableServiceMaintenance("web-2", ""))
	if code, body, _ := e.do("GET", "/v1/agent/health/service/id/web-2?format=text", ""); code != 503 || body != "maintenance" {
		t.Errorf("in maintenance: %d %q, want 503", code, body)
	}
	for path, reason := range map[string]string{"name/nope": "ServiceName nope not found", "id/nope": "ServiceId nope not found"} {
		if code, _, header := e.do("GET", "/v1/agent/health/service/"+path, ""); code != 404 || header.Get("X-Consul-Reason") != reason {
			t.Errorf("%s: %d %v, want 404 and %q", path, code, header, reason)
		}
	}
}

func TestConsulsClientAsksWhoTheAgentIs(t *testing.T) {
	e := start(t, nil)
	self, err := e.consul.Agent().Self()
	check(t, err)
	for key, want := range map[string]any{"Datacenter": "dc1", "NodeName": "n1", "Version": "1.2.3"} {
		diff(t, key, self["Config"][key], want)
	}
	diff(t, "Member.Name", self["Member"]["Name"], any("n1"))
	diff(t, "Member.Addr", self["Member"]["Addr"], any("10.0.0.1"))
	name, err := e.consul.Agent().NodeName()
	check(t, err)
	diff(t, "name", name, "n1")
	members, err := e.consul.Agent().Members(false)
	check(t, err)
	if len(members) != 1 || members[0].Name != "n1" || members[0].Addr != "10.0.0.1" {
		t.Errorf("members: %+v", members)
	}
}

func TestConsulsClientAsksForTheLeader(t *testing.T) {
	e := start(t, nil)
	leader, err := e.consul.Status().Leader()
	check(t, err)
	diff(t, "leader", leader, "10.0.0.1:8300")
	peers, err := e.consul.Status().Peers()
	check(t, err)
	diff(t, "peers", peers, []string{"10.0.0.1:8300"})
}
