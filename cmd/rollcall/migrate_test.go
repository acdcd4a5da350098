package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// command runs a command as from the command line, and returns what it prints.
func command(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, err := tryCommand(t, args...)
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, stderr)
	}
	return stdout, stderr
}

func tryCommand(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errors bytes.Buffer
	app := newApp()
	app.Writer, app.ErrWriter = &out, &errors
	args, err = reorder(app, append([]string{"rollcall"}, args...))
	if err == nil {
		err = app.RunContext(t.Context(), args)
	}
	return out.String(), errors.String(), err
}

// file writes a file that lasts as long as the test.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// api returns the flag that sends a command to a server of this process.
func (s *server) api() string { return "--api=http://" + s.adminAddr().String() }

// everything registers one of each thing that can be registered. No probe has an
// interval that ends within a test.
func everything(t *testing.T, s *server) {
	t.Helper()
	here := "http://" + s.adminAddr().String()
	for n := range 40 {
		put(t, here+"/v1/agent/service/register", object{
			"ID": fmt.Sprint("web-", n), "Name": "web", "Port": 8000 + n, "Address": fmt.Sprint("10.0.0.", n+1), "Tags": []string{"v1", "a.b"},
			"Meta": object{"k": "v"}, "Weights": object{"Passing": n + 1, "Warning": 1}, "EnableTagOverride": n%2 == 0,
			"TaggedAddresses": object{"lan_ipv6": object{"Address": "2001:db8::1", "Port": 8000 + n}},
			"Check":           object{"TTL": "1h", "Status": []string{"passing", "warning", "critical"}[n%3], "Notes": "a heartbeat"},
		})
	}
	put(t, here+"/v1/agent/service/maintenance/web-7?enable=true&reason=painting", nil)
	definitions := []object{
		{"HTTP": "https://127.0.0.1:1/", "Interval": "1h0m0s", "Timeout": "1s", "Method": "PUT", "Header": object{"X": []string{"y"}}, "Body": "b",
			"TLSServerName": "db", "TLSSkipVerify": true, "DisableRedirects": true, "DeregisterCriticalServiceAfter": "100h0m0s"},
		{"TCP": "127.0.0.1:1", "Interval": "1h0m0s", "SuccessBeforePassing": 2, "FailuresBeforeWarning": 2, "FailuresBeforeCritical": 3},
		{"GRPC": "127.0.0.1:1/db", "GRPCUseTLS": true, "Interval": "1h0m0s"},
		{"UDP": "127.0.0.1:1", "Interval": "1h0m0s"},
		{"DNS": "dns://127.0.0.1:1/db", "Interval": "1h0m0s"},
		{}, // whose status is what was set last
	}
	for n, definition := range definitions {
		put(t, here+"/v1/catalog/register", object{
			"Node": "far", "ID": "6a2f1c1e-0000-4000-8000-000000000001", "Address": "10.9.9.9", "NodeMeta": object{"rack": "7"},
			"TaggedAddresses": object{"lan": "10.9.9.9", "wan": "192.0.2.9"},
			"Service":         object{"ID": fmt.Sprint("db-", n), "Service": "db", "Port": 5432 + n, "Address": "db.example.com"},
			"Checks": []object{
				{"CheckID": "disk", "Name": "disk", "Status": "warning", "Output": "90 % full"},
				{"CheckID": fmt.Sprint("db:", n), "ServiceID": fmt.Sprint("db-", n), "Name": "alive", "Status": "passing", "Definition": definition},
			},
		})
	}
	put(t, here+"/v1/catalog/register", object{"Node": "bare", "Address": "2001:db8::5", "Check": object{"CheckID": "disk", "Name": "disk", "Status": "critical"}})
}

// TestARegistryMovesToAnotherRollcallAsItIs compares what both say over HTTP, for
// an export cannot show what it leaves out.
func TestARegistryMovesToAnotherRollcallAsItIs(t *testing.T) {
	first, second := running(t), running(t)
	everything(t, first)
	exported, _ := command(t, "export", first.api())
	command(t, "import", second.api(), file(t, exported))
	again, _ := command(t, "export", second.api())
	if diff := cmp.Diff(records(t, exported), records(t, again)); diff != "" {
		t.Errorf("what was exported first and last (-first +last):\n%s", diff)
	}
	for _, path := range []string{"/v1/health/service/web", "/v1/health/service/db", "/v1/catalog/nodes", "/v1/health/node/bare"} {
		if diff := cmp.Diff(told(t, first, path), told(t, second, path)); diff != "" {
			t.Errorf("what both say at %s (-first +last):\n%s", path, diff)
		}
	}
}

// told returns what a server says, but for indexes and what a probe may have
// found meanwhile.
func told(t *testing.T, s *server, path string) (value any) {
	t.Helper()
	response, err := http.Get("http://" + s.adminAddr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&value); err != nil {
		t.Fatal(err)
	}
	if list, ok := value.([]any); !ok || len(list) == 0 {
		t.Fatalf("%s says %v", path, value)
	}
	return withoutMoving(value)
}

func withoutMoving(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key := range value {
			value[key] = withoutMoving(value[key])
		}
		delete(value, "CreateIndex")
		delete(value, "ModifyIndex")
		if definition, ok := value["Definition"].(map[string]any); ok && definition["Interval"] != nil {
			delete(value, "Status")
			delete(value, "Output")
		}
	case []any:
		for n := range value {
			value[n] = withoutMoving(value[n])
		}
	}
	return value
}

// TestARegistryMovesToConsulAndBack takes what is registered with rollcall to a
// Consul, twice, and from there to another rollcall.
func TestARegistryMovesToConsulAndBack(t *testing.T) {
	agent := consultest.Start(t, "")
	first, second := running(t), running(t)
	everything(t, first)
	exported, _ := command(t, "export", first.api())
	const all = "imported 46 instances on 3 nodes, 49 checks in "
	for range 2 {
		if _, said := command(t, "import", "--api", agent.Address(), file(t, exported)); !strings.Contains(said, all) {
			t.Errorf("import said %s", said)
		}
	}
	back, _ := command(t, "export", "--api", agent.Address())
	command(t, "import", second.api(), file(t, back))
	again, _ := command(t, "export", second.api())
	want := records(t, exported)
	for _, record := range want {
		checks, _ := record["Checks"].([]any)
		for _, c := range checks {
			forget(c.(map[string]any)["Definition"].(map[string]any))
		}
	}
	if diff := cmp.Diff(want, records(t, again)); diff != "" {
		t.Errorf("what was exported first and last (-first +last):\n%s", diff)
	}
}

// forget takes out of a check's definition what Consul's catalog does not keep.
func forget(definition map[string]any) {
	reasons := map[string]string{
		"SuccessBeforePassing":   "the agent that runs a check counts, and the catalog has no field for it",
		"FailuresBeforeWarning":  "the same",
		"FailuresBeforeCritical": "the same",
		"DNS":                    "Consul has no such probe",
	}
	for field := range reasons {
		delete(definition, field)
	}
}

// TestImportedInstancesStayAtAnAgent moves what is on one node to that of a Consul
// agent, which would forget what it was not told.
func TestImportedInstancesStayAtAnAgent(t *testing.T) {
	agent := consultest.Start(t, "")
	file := filepath.Join(t.TempDir(), "registry.jsonl")
	line := `{"Node":"old","Address":"127.0.0.1","Service":{"ID":"web-1","Service":"web","Port":80,"Weights":{"Passing":3,"Warning":1}},` +
		`"Checks":[{"Node":"old","CheckID":"service:web-1","Name":"alive","Status":"passing","ServiceID":"web-1","Definition":{"TCP":"127.0.0.1:1","Interval":"1h"}},` +
		`{"Node":"old","CheckID":"_service_maintenance:web-1","Name":"m","Notes":"painting","Status":"critical","ServiceID":"web-1"}]}`
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "import", "--api", agent.Address(), "--rename-node", "old=n1", file)
	services, err := agent.API.Agent().Services()
	if err != nil || services["web-1"] == nil || services["web-1"].Weights.Passing != 3 {
		t.Errorf("the agent has %v, %v", services, err)
	}
	checks, err := agent.API.Agent().Checks()
	if err != nil || checks["service:web-1"] == nil || checks["service:web-1"].Type != "tcp" || checks["_service_maintenance:web-1"] == nil {
		t.Errorf("the agent has %v, %v", checks, err)
	}
}

// TestWhatAnAgentCannotRunIsNotImported finds it before anything is registered.
func TestWhatAnAgentCannotRunIsNotImported(t *testing.T) {
	agent := consultest.Start(t, "")
	lines := `{"Node":"n1","Address":"127.0.0.1","Service":{"Service":"fine"}}` + "\n" +
		`{"Node":"n1","Address":"127.0.0.1","Service":{"Service":"web"},"Checks":[{"CheckID":"c","ServiceID":"web","Definition":{"DNS":"dns://127.0.0.1/a","Interval":"10s"}}]}`
	_, _, err := tryCommand(t, "import", "--api", agent.Address(), file(t, lines))
	if err == nil || !strings.Contains(err.Error(), `:2: the check "c" asks DNS, which Consul cannot`) {
		t.Errorf("got the error %v", err)
	}
	if services, err := agent.API.Agent().Services(); err != nil || len(services) > 0 {
		t.Errorf("the agent has %v, %v", services, err)
	}
}

// TestAnImportThatMayNotAskForTheAgentsNodeChangesNothing, because an agent
// removes what is on its node and not from itself: it would be lost with no word.
func TestAnImportThatMayNotAskForTheAgentsNodeChangesNothing(t *testing.T) {
	agent := consultest.Start(t, `acl { enabled = true  default_policy = "deny"  tokens { initial_management = "root"  agent = "root" } }`)
	_, _, err := agent.API.ACL().PolicyCreate(&api.ACLPolicy{Name: "writer", Rules: `service_prefix "" { policy = "write" } node_prefix "" { policy = "write" }`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := agent.API.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: "writer"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	line := `{"Node":"n1","Address":"127.0.0.1","Service":{"ID":"web-1","Service":"web","Port":80}}`
	_, _, err = tryCommand(t, "import", "--api", agent.Address(), "--token-file", file(t, token.SecretID), file(t, line))
	if err == nil || !strings.Contains(err.Error(), "which node is the agent's own") || !strings.Contains(err.Error(), "agent:read") {
		t.Errorf("got the error %v", err)
	}
	if found, _, err := agent.API.Catalog().Service("web", "", nil); err != nil || len(found) > 0 {
		t.Errorf("the catalog has %v, %v", found, err)
	}
	command(t, "import", "--api", agent.Address(), "--token-file", file(t, "root"), file(t, line))
	if services, err := agent.API.Agent().Services(); err != nil || services["web-1"] == nil {
		t.Errorf("the agent has %v, %v", services, err)
	}
}

// TestWhatIsOnTheNodeOfAnotherAgentIsNotImported, for that agent would remove it.
func TestWhatIsOnTheNodeOfAnotherAgentIsNotImported(t *testing.T) {
	agents := consultest.Cluster(t, 3, "")
	instance := `{"Node":"fine","Address":"10.0.0.1","Service":{"Service":"web"}}` + "\n" + `{"Node":"N2","Address":"127.0.0.1","Service":{"Service":"web"}}` + "\n"
	_, _, err := tryCommand(t, "import", "--api", agents[0].Address(), file(t, instance))
	if err == nil || !strings.Contains(err.Error(), `:2: the node "N2" has a Consul agent of its own`) {
		t.Errorf("got the error %v", err)
	}
	if found, _, err := agents[0].API.Catalog().Service("web", "", nil); err != nil || len(found) > 0 {
		t.Errorf("the catalog has %v, %v", found, err)
	}
	// The node alone is there already, by its agent.
	command(t, "import", "--api", agents[0].Address(), file(t, `{"Node":"n2","Address":"127.0.0.1"}`))
}

// TestAMaintenanceWithAnEndIsImportedWithoutIt, as Consul has no place for one.
func TestAMaintenanceWithAnEndIsImportedWithoutIt(t *testing.T) {
	agent, first := consultest.Start(t, ""), running(t)
	here := "http://" + first.adminAddr().String()
	put(t, here+"/v1/catalog/register", object{"Node": "far", "Address": "10.9.9.9", "Service": object{"ID": "web-1", "Service": "web"}})
	put(t, here+"/v1/agent/service/register", object{"ID": "db-1", "Name": "db"})
	put(t, here+"/v1/agent/service/maintenance/db-1?enable=true&reason=painting&for=2h", nil)
	exported, _ := command(t, "export", first.api())
	if !strings.Contains(exported, `"Until"`) {
		t.Fatalf("no maintenance with an end was exported:\n%s", exported)
	}
	command(t, "import", "--api", agent.Address(), file(t, exported))
	entries, _, err := agent.API.Health().Service("db", "", false, nil)
	if err != nil || len(entries) != 1 || entries[0].Checks.AggregatedStatus() != api.HealthMaint {
		t.Errorf("Consul has %v, %v", entries, err)
	}
}

// TestTheSignOfAnAgentIsNotImported, because Consul removes nodes that bear it and
// have no agent.
func TestTheSignOfAnAgentIsNotImported(t *testing.T) {
	agent := consultest.Start(t, "")
	line := func(node, status string) string {
		return fmt.Sprintf(`{"Node":%q,"Address":"10.0.0.1","Service":{"Service":"web"},"Checks":[{"Node":%[1]q,"CheckID":"serfHealth","Name":"Serf Health Status","Status":%q}]}`+"\n", node, status)
	}
	command(t, "import", "--api", agent.Address(), file(t, line("well", "passing")+line("dead", "critical")))
	for node, want := range map[string]string{"well": "", "dead": "serfHealth-exported critical"} {
		checks, _, err := agent.API.Health().Node(node, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range checks {
			got += c.CheckID + " " + c.Status
		}
		if got != want {
			t.Errorf("the node %s has the checks %q, and not %q", node, got, want)
		}
	}
}

// TestALargeRegistryMovesInSeconds moves 2,000 instances to Consul and to rollcall.
func TestALargeRegistryMovesInSeconds(t *testing.T) {
	var lines strings.Builder
	for n := range 2000 {
		fmt.Fprintf(&lines, `{"Node":"node-%d","Address":"10.0.0.%[1]d","Service":{"ID":"web-%d","Service":"web-%d","Port":80,"Tags":["v1"]},"Checks":[{"CheckID":"c-%[2]d","Name":"alive","ServiceID":"web-%[2]d","Status":"passing","Definition":{"TTL":"1h"}}]}`+"\n",
			n%200+1, n, n%500)
	}
	registry := file(t, lines.String())
	move := func(name, api string) {
		began := time.Now()
		_, said := command(t, "import", api, registry)
		t.Logf("%s: %s", name, strings.TrimSpace(said))
		if !strings.Contains(said, "imported 2000 instances on 200 nodes, 2000 checks in ") {
			t.Errorf("import said %s", said)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("importing took %v", took)
		}
		began = time.Now()
		exported, _ := command(t, "export", api)
		t.Logf("%s: exported in %v", name, time.Since(began).Round(time.Millisecond))
		if got := strings.Count(exported, "\n"); got != 2000 {
			t.Errorf("%d lines were exported", got)
		}
	}
	move("rollcall", running(t).api())
	move("Consul", "--api="+consultest.Start(t, "").Address())
}

// records returns the lines of an export, but for what a probe may have found
// meanwhile.
func records(t *testing.T, exported string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(exported) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		withoutMoving(record)
		all = append(all, record)
	}
	return all
}
