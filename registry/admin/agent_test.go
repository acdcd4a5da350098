package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/registry"
)

// instance returns an instance of the own node as it is registered, or nil.
func (e *endpoint) instance(id string) *registry.Instance {
	return e.registry.View().Instance("n1", id)
}

func TestConsulsClientRegistersAService(t *testing.T) {
	e := start(t, nil)
	check(t, e.consul.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: "web-1", Name: "web", Tags: []string{"v1", "primary"}, Port: 8080, Address: "10.0.0.7",
		TaggedAddresses:   map[string]api.ServiceAddress{"lan_ipv6": {Address: "fd00::7", Port: 8080}},
		EnableTagOverride: true,
		Meta:              map[string]string{"version": "1"},
		Weights:           &api.AgentWeights{Passing: 5, Warning: 2},
		Checks: api.AgentServiceChecks{
			{
				Name: "page", HTTP: "https://10.0.0.7/", Method: "head", Header: map[string][]string{"Host": {"web"}}, Body: "?",
				TLSServerName: "web", TLSSkipVerify: true, Interval: "10s", Timeout: "2s", Status: "passing",
				SuccessBeforePassing: 2, FailuresBeforeWarning: 1, FailuresBeforeCritical: 3, DeregisterCriticalServiceAfter: "1h",
			},
			{CheckID: "life", TTL: "30s", Notes: "a heartbeat"},
			{TCP: "10.0.0.7:8080", Interval: "1m"},
			{UDP: "10.0.0.7:8080", Interval: "1m"},
			{GRPC: "10.0.0.7:8080/web", GRPCUseTLS: true, Interval: "1m"},
		},
	}))
	want := &registry.Instance{
		Node: "n1", ID: "web-1", Service: "web", Tags: []string{"v1", "primary"}, Port: 8080, Address: "10.0.0.7",
		TaggedAddresses:   map[string]registry.TaggedAddress{"lan_ipv6": {Address: "fd00::7", Port: 8080}},
		EnableTagOverride: true,
		Meta:              map[string]string{"version": "1"},
		Weights:           registry.Weights{Passing: 5, Warning: 2},
		Checks: []*registry.Check{
			{ID: "life", Name: "Service 'web' check", Notes: "a heartbeat", Type: "ttl", Status: registry.Critical,
				Definition: &registry.Definition{TTL: 30 * time.Second}},
			{ID: "service:web-1:1", Name: "page", Type: "http", Status: registry.Passing, Definition: &registry.Definition{
				HTTP: "https://10.0.0.7/", Method: "HEAD", Header: map[string][]string{"Host": {"web"}}, Body: "?",
				TLSServerName: "web", TLSSkipVerify: true, Interval: 10 * time.Second, Timeout: 2 * time.Second,
				SuccessBeforePassing: 2, FailuresBeforeWarning: 1, FailuresBeforeCritical: 3, DeregisterCriticalServiceAfter: time.Hour,
			}},
			{ID: "service:web-1:3", Name: "Service 'web' check", Type: "tcp", Status: registry.Critical,
				Definition: &registry.Definition{TCP: "10.0.0.7:8080", Interval: time.Minute}},
			{ID: "service:web-1:4", Name: "Service 'web' check", Type: "udp", Status: registry.Critical,
				Definition: &registry.Definition{UDP: "10.0.0.7:8080", Interval: time.Minute}},
			{ID: "service:web-1:5", Name: "Service 'web' check", Type: "grpc", Status: registry.Critical,
				Definition: &registry.Definition{GRPC: "10.0.0.7:8080/web", GRPCUseTLS: true, Interval: time.Minute}},
		},
	}
	for _, c := range want.Checks {
		c.Node, c.InstanceID, c.Service = "n1", "web-1", "web"
	}
	d := cmp.Diff(want, e.instance("web-1"),
		cmpopts.IgnoreFields(registry.Instance{}, "CreateIndex", "ModifyIndex"), cmpopts.IgnoreUnexported(registry.Instance{}),
		cmpopts.IgnoreFields(registry.Check{}, "CreateIndex", "ModifyIndex", "Lease", "Since"))
	if d != "" {
		t.Errorf("instance (-want +got):\n%s", d)
	}
}

func TestAnIDLeftOutIsTheName(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/agent/service/register", `{"Name":"web"}`)
	if e.instance("web") == nil {
		t.Error("there is no instance of the ID web")
	}
}

func TestTheOnlyCheckOfAServiceHasItsID(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/agent/service/register", `{"Name":"web","ID":"web-1","Check":{"TTL":"30s"}}`)
	diff(t, "ID", e.instance("web-1").Checks[0].ID, "service:web-1")
	e.must("PUT", "/v1/agent/check/pass/service:web-1", "")
}

func TestAReplyToARegistrationIsEmptyOrSaysWhatCannotBeFound(t *testing.T) {
	e := start(t, nil)
	status, body, header := e.do("PUT", "/v1/agent/service/register", `{"Name":"web"}`)
	if status != 200 || body != "" || header["X-Rollcall-Notice"] != nil {
		t.Errorf("%d %q %q, want 200 and nothing", status, body, header["X-Rollcall-Notice"])
	}
	status, body, header = e.do("PUT", "/v1/agent/service/register", `{"Name":"web","ID":"web.1","Tags":["a b","c d"]}`)
	notices := header["X-Rollcall-Notice"]
	if status != 200 || len(notices) != 3 || body != strings.Join(notices, "\n")+"\n" {
		t.Errorf("%d %q %q, want 200, three notices, and the same as lines of text", status, body, notices)
	}
}

func TestReplaceExistingChecksDropsTheOthers(t *testing.T) {
	e := start(t, nil)
	put := func(name string, replace bool) {
		check(t, e.consul.Agent().ServiceRegisterOpts(&api.AgentServiceRegistration{
			Name: "web", Checks: api.AgentServiceChecks{{CheckID: name, TTL: "30s"}},
		}, api.ServiceRegisterOpts{ReplaceExistingChecks: replace}))
	}
	ids := func() (ids []string) {
		for _, c := range e.instance("web").Checks {
			ids = append(ids, c.ID)
		}
		return ids
	}
	put("a", false)
	put("b", false)
	diff(t, "checks", ids(), []string{"a", "b"})
	put("c", true)
	diff(t, "checks", ids(), []string{"c"})
}

func TestConsulsClientSetsTheStatusOfACheck(t *testing.T) {
	e := start(t, nil)
	agent := e.consul.Agent()
	check(t, agent.ServiceRegister(&api.AgentServiceRegistration{Name: "web", Check: &api.AgentServiceCheck{TTL: "30s"}}))
	for _, row := range []struct {
		name   string
		set    func() error
		status registry.Status
		output string
	}{
		{"pass", func() error { return agent.PassTTL("service:web", "fine") }, registry.Passing, "fine"},
		{"warn", func() error { return agent.WarnTTL("service:web", "so so") }, registry.Warning, "so so"},
		{"fail", func() error { return agent.FailTTL("service:web", "ill") }, registry.Critical, "ill"},
		{"update", func() error { return agent.UpdateTTL("service:web", "well", "passing") }, registry.Passing, "well"},
		{"update with the client's old word", func() error { return agent.UpdateTTL("service:web", "eh", "warn") }, registry.Warning, "eh"},
		{"a long output", func() error { return agent.UpdateTTL("service:web", strings.Repeat("é", 4000), "pass") }, registry.Passing, strings.Repeat("é", 2048)},
	} {
		if err := row.set(); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		c := e.registry.View().Check("n1", "service:web")
		if c.Status != row.status || c.Output != row.output {
			t.Errorf("%s: %v %q, want %v %q", row.name, c.Status, c.Output, row.status, row.output)
		}
	}
}

func TestWhatIsNotRegisteredIsNotFound(t *testing.T) {
	e := start(t, nil)
	for _, row := range []struct{ path, body, says string }{
		{"service/deregister/nope", "", `Unknown service ID "nope"`},
		{"service/maintenance/nope?enable=true", "", `Unknown service ID "nope"`},
		{"check/deregister/nope", "", `Unknown check ID "nope"`},
		{"check/pass/nope", "", `Unknown check ID "nope"`},
		{"check/warn/a/b%2Fc", "", `Unknown check ID "a/b/c"`},
		{"check/fail/%ff", "", `Unknown check ID "\xff"`},
		{"check/update/nope", `{"Status":"passing"}`, `Unknown check ID "nope"`},
		{"check/register", `{"Name":"c","ServiceID":"nope","TTL":"9s"}`, `Unknown service ID "nope"`},
	} {
		status, body, _ := e.do("PUT", "/v1/agent/"+row.path, row.body)
		if status != http.StatusNotFound || !strings.HasPrefix(body, row.says) {
			t.Errorf("%s: %d %s, want 404 %s", row.path, status, body, row.says)
		}
	}
}

func TestACheckThatHasAProbeTakesNoStatus(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/agent/service/register", `{"Name":"web","Check":{"TCP":"127.0.0.1:1","Interval":"1h"}}`)
	for path, body := range map[string]string{"pass/service:web": "", "fail/service:web": "", "update/service:web": `{"Status":"passing"}`} {
		status, text, _ := e.do("PUT", "/v1/agent/check/"+path, body)
		if status != 400 || text != `check "service:web" does not have a TTL, but a probe: tcp`+"\n" {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if c := e.registry.View().Check("n1", "service:web"); c.Status != registry.Critical {
		t.Errorf("the check is %v", c.Status)
	}
}

func TestAWeightOfNothingIsRefused(t *testing.T) {
	e := start(t, nil)
	for _, weights := range []string{`{}`, `{"Passing":0}`, `{"Warning":1}`} {
		if status, text, _ := e.do("PUT", "/v1/agent/service/register", `{"Name":"web","Weights":`+weights+`}`); status != 400 || !strings.HasPrefix(text, "Weights.Passing is 0") {
			t.Errorf("%s: %d %s, want 400", weights, status, text)
		}
	}
	e.must("PUT", "/v1/agent/service/register", `{"Name":"web","Weights":null}`)
}

func TestAnUpdateNeedsAStatus(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/agent/service/register", `{"Name":"web","Check":{"TTL":"30s"}}`)
	for _, body := range []string{``, `{}`, `{"Status":""}`, `{"Status":"maintenance"}`, `{"Status":1}`} {
		if status, text, _ := e.do("PUT", "/v1/agent/check/update/service:web", body); status != 400 {
			t.Errorf("%s: %d %s, want 400", body, status, text)
		}
	}
}

func TestConsulsClientRegistersChecksOfANodeAndOfAService(t *testing.T) {
	e := start(t, nil)
	agent := e.consul.Agent()
	check(t, agent.ServiceRegister(&api.AgentServiceRegistration{Name: "web"}))
	check(t, agent.CheckRegister(&api.AgentCheckRegistration{
		ID: "disk", Name: "Disk", Notes: "room left", AgentServiceCheck: api.AgentServiceCheck{TTL: "30s", Status: "passing"},
	}))
	check(t, agent.CheckRegister(&api.AgentCheckRegistration{
		Name: "port", ServiceID: "web", AgentServiceCheck: api.AgentServiceCheck{TCP: "10.0.0.1:80", Interval: "10s"},
	}))
	v := e.registry.View()
	if c := v.Check("n1", "disk"); c == nil || c.InstanceID != "" || c.Name != "Disk" || c.Notes != "room left" {
		t.Errorf("disk: %+v", c)
	}
	if c := v.Check("n1", "port"); c == nil || c.InstanceID != "web" || c.Service != "web" {
		t.Errorf("port: %+v", c)
	}
	check(t, agent.CheckDeregister("disk"))
	check(t, agent.CheckDeregister("port"))
	if v := e.registry.View(); v.Check("n1", "disk") != nil || v.Check("n1", "port") != nil {
		t.Error("the checks are still there")
	}
}

func TestACheckNeedsANameAndAKind(t *testing.T) {
	e := start(t, nil)
	for body, says := range map[string]string{
		`{"TTL":"9s"}`:                         "Name of the check is missing",
		`{"Name":"c"}`:                         "Check needs one of HTTP",
		`{"Name":"c","HTTP":"http://a/"}`:      "Check.Interval is missing",
		`{"Name":"c","TTL":"9s","TCP":"a:1"}`:  "Check must have only one of",
		`{"Name":"c","Args":["a"],"TTL":"9s"}`: "Args is nothing that rollcall acts on",
	} {
		if status, text, _ := e.do("PUT", "/v1/agent/check/register", body); status != 400 || !strings.HasPrefix(text, says) {
			t.Errorf("%s: %d %s, want 400 %s", body, status, text, says)
		}
	}
}

func TestTheMaintenanceOfANodeTakesOutAllThatIsOnIt(t *testing.T) {
	e := start(t, nil)
	agent := e.consul.Agent()
	check(t, agent.ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80}))
	usable := func() int {
		entries, _, err := e.consul.Health().Service("web", "", true, nil)
		check(t, err)
		return len(entries)
	}
	check(t, agent.EnableNodeMaintenance("new disks"))
	c := e.registry.View().Node("n1").Maintenance()
	if c == nil || c.Name != "Node Maintenance Mode" || c.Notes != "new disks" || c.Status != registry.Critical || usable() != 0 {
		t.Errorf("check: %+v, and %d instances are usable", c, usable())
	}
	_, body, _ := e.do("GET", "/v1/overview/services/web", "")
	if !strings.Contains(body, `"Maintenance":"with its node: new disks","Ours":false`) {
		t.Errorf("the overview has %s", body)
	}
	check(t, agent.DisableNodeMaintenance())
	check(t, agent.DisableNodeMaintenance())
	if e.registry.View().Node("n1").InMaintenance() || usable() != 1 {
		t.Error("it goes on")
	}
}

func TestMaintenanceIsACriticalCheckForAsLongAsItLasts(t *testing.T) {
	e := start(t, nil)
	agent := e.consul.Agent()
	check(t, agent.ServiceRegister(&api.AgentServiceRegistration{Name: "web"}))
	check(t, agent.EnableServiceMaintenance("web", "new disks"))
	c := e.registry.View().Check("n1", "_service_maintenance:web")
	if c == nil || c.Name != "Service Maintenance Mode" || c.Notes != "new disks" || c.Status != registry.Critical || c.InstanceID != "web" {
		t.Errorf("check: %+v", c)
	}
	// A registration does not end it, whatever becomes of the other checks.
	check(t, agent.ServiceRegisterOpts(&api.AgentServiceRegistration{Name: "web"}, api.ServiceRegisterOpts{ReplaceExistingChecks: true}))
	if !e.instance("web").InMaintenance() {
		t.Error("a registration has ended it")
	}
	check(t, agent.DisableServiceMaintenance("web"))
	check(t, agent.DisableServiceMaintenance("web"))
	if e.instance("web").InMaintenance() {
		t.Error("it goes on")
	}
	check(t, agent.EnableServiceMaintenance("web", ""))
	diff(t, "notes", e.registry.View().Check("n1", "_service_maintenance:web").Notes,
		"Maintenance mode is enabled for this service, but no reason was provided. This is a default message.")
	for _, query := range []string{"", "?enable=", "?enable=maybe"} {
		if status, _, _ := e.do("PUT", "/v1/agent/service/maintenance/web"+query, ""); status != 400 {
			t.Errorf("maintenance%s: %d, want 400", query, status)
		}
	}
}

func TestAMaintenanceTellsItsEnd(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/agent/service/register", `{"Name":"web"}`)
	for path, id := range map[string]string{
		"/v1/agent/service/maintenance/web": registry.ServiceMaintenancePrefix + "web", "/v1/agent/maintenance": registry.NodeMaintenance,
	} {
		before := time.Now()
		e.must("PUT", path+"?enable=true&reason=a+new+disk&for=2h", "")
		c := e.registry.View().Check("n1", id)
		if end := c.Until.Sub(before); end < 2*time.Hour-time.Second || end > 2*time.Hour+time.Minute {
			t.Errorf("%s: it ends in %v", id, end)
		}
		want := "a new disk (until " + c.Until.Format(time.DateTime) + " UTC)"
		for _, path := range []string{"/v1/overview/services/web", "/v1/health/service/web"} {
			if _, body, _ := e.do("GET", path, ""); !strings.Contains(body, want) {
				t.Errorf("%s has not %s: %s", path, want, body)
			}
		}
		e.must("PUT", path+"?enable=false", "")
	}
	// Without a time it has no end, whatever it had before.
	e.must("PUT", "/v1/agent/service/maintenance/web?enable=true&for=2h", "")
	e.must("PUT", "/v1/agent/service/maintenance/web?enable=true", "")
	if c := e.registry.View().Check("n1", registry.ServiceMaintenancePrefix+"web"); !c.Until.IsZero() || c.Reason() != noReason {
		t.Errorf("check: %+v", c)
	}
}

func TestATimeThatNoMaintenanceTakesIsRefused(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/agent/service/register", `{"Name":"web"}`)
	for _, path := range []string{"/v1/agent/service/maintenance/web", "/v1/agent/maintenance"} {
		for _, lasts := range []string{"", "soon", "2", "0s", "-2h", "999ms", "720h1s", "2562048h", "NaN"} {
			status, body, _ := e.do("PUT", path+"?enable=true&for="+lasts, "")
			if status != 400 || !strings.Contains(body, "from 1s to 720h, and not") {
				t.Errorf("for=%s: %d %s", lasts, status, body)
			}
		}
		if status, body, _ := e.do("PUT", path+"?enable=false&for=2h", ""); status != 400 || !strings.Contains(body, "enable=false ends it now") {
			t.Errorf("%d %s", status, body)
		}
	}
	if e.instance("web").InMaintenance() || e.registry.View().Node("n1").InMaintenance() {
		t.Error("it is in maintenance")
	}
}

// TestAMaintenanceIsRegisteredAgainWithItsEnd as an export and an import do.
func TestAMaintenanceIsRegisteredAgainWithItsEnd(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/agent/service/register", `{"Name":"web"}`)
	e.must("PUT", "/v1/agent/service/maintenance/web?enable=true&reason=a+new+disk&for=2h", "")
	before := *e.registry.View().Check("n1", registry.ServiceMaintenancePrefix+"web")
	var checks []json.RawMessage
	check(t, json.Unmarshal([]byte(e.must("GET", "/v1/health/checks/web", "")), &checks))
	e.must("PUT", "/v1/agent/service/maintenance/web?enable=false", "")
	e.must("PUT", "/v1/catalog/register", `{"Node":"n1","Check":`+string(checks[0])+`}`)
	after := e.registry.View().Check("n1", before.ID)
	if after == nil || !after.Until.Equal(before.Until) || after.Reason() != before.Reason() || after.Output != "" {
		t.Errorf("it was %+v, and is %+v", before, after)
	}
	for body, want := range map[string]string{
		`{"Node":"n1","Check":{"Name":"c","Until":"tomorrow"}}`:                                                                  `Check.Until must be a time such as`,
		`{"Node":"n1","Check":{"Name":"c","Until":"2026-01-02T03:04:05Z","Definition":{"TCP":"127.0.0.1:80","Interval":"10s"}}}`: "Check.Until is for a maintenance",
	} {
		if status, text, _ := e.do("PUT", "/v1/catalog/register", body); status != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
}

func TestConsulsClientDeregistersAService(t *testing.T) {
	e := start(t, nil)
	agent := e.consul.Agent()
	check(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: "h:web:80", Name: "web", Check: &api.AgentServiceCheck{TTL: "30s"}}))
	check(t, agent.ServiceDeregister("h:web:80"))
	v := e.registry.View()
	if v.Service("web") != nil || v.Check("n1", "service:h:web:80") != nil {
		t.Error("it is still there")
	}
}

// Two clients that register one ID at once: one of them comes last, and all
// that is there is as that one said.
func TestOfTwoRegistrationsAtOnceOneIsThereWhole(t *testing.T) {
	e := start(t, nil)
	body := func(who string, checks int) string {
		text := fmt.Sprintf(`{"ID":"web","Name":"web-%s","Tags":[%q],"Meta":{"who":%q},"Checks":[`, who, who, who)
		for n := range checks {
			text += fmt.Sprintf(`{"CheckID":"%s-%d","TTL":"30s"},`, who, n)
		}
		return strings.TrimSuffix(text, ",") + "]}"
	}
	for range 50 {
		var both sync.WaitGroup
		for who, checks := range map[string]int{"a": 1, "b": 3} {
			both.Go(func() {
				e.do("PUT", "/v1/agent/service/register?replace-existing-checks=true", body(who, checks))
			})
		}
		both.Wait()
		i := e.instance("web")
		who := i.Meta["who"]
		if want := map[string]int{"a": 1, "b": 3}[who]; len(i.Checks) != want || i.Tags[0] != who || i.Service != "web-"+who {
			t.Fatalf("mixed: %+v", i)
		}
		for _, c := range i.Checks {
			if !strings.HasPrefix(c.ID, who+"-") {
				t.Fatalf("%s has the check %s", who, c.ID)
			}
		}
		other := map[string]string{"a": "web-b", "b": "web-a"}[who]
		if e.registry.View().Service(other) != nil {
			t.Fatalf("the instance is in %s, too", other)
		}
	}
}

func TestADeregistrationAndALateHeartbeatLeaveNothing(t *testing.T) {
	e := start(t, nil)
	for range 50 {
		e.must("PUT", "/v1/agent/service/register", `{"Name":"web","Check":{"TTL":"30s"}}`)
		var both sync.WaitGroup
		both.Go(func() { e.do("PUT", "/v1/agent/service/deregister/web", "") })
		both.Go(func() { e.do("PUT", "/v1/agent/check/pass/service:web", "") })
		both.Wait()
		if v := e.registry.View(); v.Service("web") != nil || v.Instance("n1", "web") != nil || v.Check("n1", "service:web") != nil {
			t.Fatal("something is left")
		}
	}
}

func TestAWriteThatWasAnsweredIsInTheNextRead(t *testing.T) {
	e := start(t, nil)
	for n := range 100 {
		id := fmt.Sprint("web-", n)
		e.must("PUT", "/v1/agent/service/register", fmt.Sprintf(`{"ID":%q,"Name":"web"}`, id))
		if !strings.Contains(e.must("GET", "/v1/health/service/web", ""), fmt.Sprintf(`"ID":%q`, id)) {
			t.Fatalf("%s is not there", id)
		}
	}
}

// The aim is 20,000 durable registrations a second; this is what HTTP and JSON
// take of it.
func BenchmarkRegister(b *testing.B) {
	e := start(b, nil)
	e.http.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	var next atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			e.must("PUT", "/v1/agent/service/register", fmt.Sprintf(`{"ID":"web-%d","Name":"web%d","Port":80,"Check":{"TTL":"30s"}}`, next.Add(1), next.Load()%1000))
		}
	})
}

// TestMetadataIsBounded registers as many octets of keys and values as are kept, and
// one more.
func TestMetadataIsBounded(t *testing.T) {
	e := start(t, nil)
	for octets, want := range map[int]int{4 << 10: http.StatusOK, 4<<10 + 1: http.StatusBadRequest} {
		body := fmt.Sprintf(`{"Name": "web", "ID": "%d", "Port": 80, "Meta": {"key": %q}}`, octets, strings.Repeat("x", octets-len("key")))
		status, text, _ := e.do("PUT", "/v1/agent/service/register", body)
		if status != want {
			t.Errorf("%d octets: %d %s", octets, status, text)
		}
		t.Logf("%d octets: %d %s", octets, status, text)
	}
	if e.instance("4096") == nil || e.instance("4097") != nil {
		t.Error("what is registered is not what was said to be")
	}
}
