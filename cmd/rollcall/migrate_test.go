package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// command runs a command as from the command line, and returns what it prints.
func command(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errors bytes.Buffer
	app := newApp()
	app.Writer, app.ErrWriter = &out, &errors
	args, err := reorder(app, append([]string{"rollcall"}, args...))
	if err == nil {
		err = app.RunContext(t.Context(), args)
	}
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, errors.String())
	}
	return out.String(), errors.String()
}

// TestARegistryMovesToConsulAndBack takes what is registered with rollcall to a
// Consul, and from there to another rollcall.
func TestARegistryMovesToConsulAndBack(t *testing.T) {
	agent := consultest.Start(t, "")
	first := running(t)
	here := "http://" + first.adminAddr().String()
	for n := range 40 {
		put(t, here+"/v1/agent/service/register", object{
			"ID": fmt.Sprint("web-", n), "Name": "web", "Port": 8000 + n, "Address": fmt.Sprint("10.0.0.", n), "Tags": []string{"v1", "a.b"},
			"Meta": object{"k": "v"}, "Weights": object{"Passing": n + 1, "Warning": 1}, "EnableTagOverride": n%2 == 0,
			"TaggedAddresses": object{"lan_ipv6": object{"Address": "2001:db8::1", "Port": 8000 + n}},
			"Check":           object{"HTTP": "http://10.0.0.1/", "Interval": "10s", "Timeout": "1s", "Status": "warning"},
		})
	}
	put(t, here+"/v1/catalog/register", object{"Node": "far", "Address": "10.9.9.9", "NodeMeta": object{"rack": "7"},
		"Service": object{"Service": "db", "Port": 5432}, "Checks": []object{{"Node": "far", "CheckID": "alive", "Name": "alive", "Status": "critical"}}})

	exported, _ := command(t, "export", "--api", here)
	file := filepath.Join(t.TempDir(), "registry.jsonl")
	if err := os.WriteFile(file, []byte(exported), 0o600); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	_, said := command(t, "import", "--api", agent.Address(), file)
	t.Logf("%s (%v)", strings.TrimSpace(said), time.Since(before).Round(time.Millisecond))
	if !strings.Contains(said, "41 instances registered") {
		t.Errorf("import said %s", said)
	}
	_, said = command(t, "import", "--api", agent.Address(), file) // twice does no harm
	if !strings.Contains(said, "41 instances registered") {
		t.Errorf("import said %s", said)
	}

	back, _ := command(t, "export", "--api", agent.Address())
	second := running(t)
	if err := os.WriteFile(file, []byte(back), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "import", "--api", "http://"+second.adminAddr().String(), file)
	again, _ := command(t, "export", "--api", "http://"+second.adminAddr().String())
	if diff := cmp.Diff(records(t, exported), records(t, again)); diff != "" {
		t.Errorf("what was exported first and last (-first +last):\n%s", diff)
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

// records returns the lines of an export but for the indexes, and for what a
// probe may have found meanwhile.
func records(t *testing.T, exported string) (all []map[string]any) {
	t.Helper()
	exported = regexp.MustCompile(`"(Create|Modify)Index":\d+,?`).ReplaceAllString(exported, "")
	for line := range strings.Lines(exported) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		for _, c := range record["Checks"].([]any) {
			if check := c.(map[string]any); check["Type"] == "http" {
				delete(check, "Status")
				delete(check, "Output")
			}
		}
		all = append(all, record)
	}
	return all
}
