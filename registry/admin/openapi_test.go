package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/zones"
)

// document is what the tests read of the OpenAPI document.
type document struct {
	Paths map[string]map[string]struct {
		Summary    string
		Parameters []struct {
			Ref      string `json:"$ref"`
			Name, In string
		}
	}
	Components struct {
		Parameters map[string]struct{ Name, In string }
		Schemas    map[string]struct{ Properties map[string]any }
	}
}

func readDocument(t *testing.T) (d document, text string) {
	e := start(t, nil)
	text = e.must("GET", "/openapi.json", "")
	check(t, json.Unmarshal([]byte(text), &d))
	return d, text
}

func TestTheDocumentDescribesTheRoutes(t *testing.T) {
	d, _ := readDocument(t)
	var described []string
	for path, operations := range d.Paths {
		for method := range operations {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	s, err := New(Config{Registry: fixed{}})
	check(t, err)
	routes := []string{"GET /metrics"}
	for pattern := range s.routes() {
		routes = append(routes, strings.NewReplacer("...", "", "{$}", "").Replace(pattern))
	}
	slices.Sort(described)
	slices.Sort(routes)
	diff(t, "routes", described, routes)
}

func TestTheDocumentNamesTheParametersOfAPath(t *testing.T) {
	d, _ := readDocument(t)
	for path, operations := range d.Paths {
		var want []string
		for _, match := range regexp.MustCompile(`{(\w+)}`).FindAllStringSubmatch(path, -1) {
			want = append(want, match[1])
		}
		for _, o := range operations {
			var got []string
			for _, p := range o.Parameters {
				if _, name, ok := strings.Cut(p.Ref, "#/components/parameters/"); ok {
					p.Name, p.In = d.Components.Parameters[name].Name, d.Components.Parameters[name].In
				}
				if p.In == "path" {
					got = append(got, p.Name)
				}
			}
			diff(t, path, got, want)
		}
	}
}

func TestTheDocumentRefersToWhatIsThere(t *testing.T) {
	_, text := readDocument(t)
	var all map[string]any
	check(t, json.Unmarshal([]byte(text), &all))
	for _, match := range regexp.MustCompile(`"\$ref": "#/([^"]+)"`).FindAllStringSubmatch(text, -1) {
		var at any = all
		for part := range strings.SplitSeq(match[1], "/") {
			at = at.(map[string]any)[part]
		}
		if at == nil {
			t.Errorf("there is no %s", match[1])
		}
	}
}

func TestTheDocumentNamesTheFieldsThatAreReadAndWritten(t *testing.T) {
	d, _ := readDocument(t)
	for name, of := range map[string]reflect.Type{
		"ServiceRegistration":        reflect.TypeFor[serviceRequest](),
		"CheckRegistration":          reflect.TypeFor[checkRequest](),
		"CheckUpdate":                reflect.TypeFor[checkUpdate](),
		"CatalogRegistration":        reflect.TypeFor[catalogRequest](),
		"CatalogServiceRegistration": reflect.TypeFor[catalogServiceRequest](),
		"CatalogCheckRegistration":   reflect.TypeFor[catalogCheckRequest](),
		"CatalogDefinition":          reflect.TypeFor[catalogDefinition](),
		"CatalogDeregistration":      reflect.TypeFor[catalogDeregistration](),
		"Node":                       reflect.TypeFor[Node](),
		"AgentService":               reflect.TypeFor[AgentService](),
		"HealthCheck":                reflect.TypeFor[HealthCheck](),
		"Definition":                 reflect.TypeFor[definition](),
		"AgentHealth":                reflect.TypeFor[agentHealth](),
		"ServiceEntry":               reflect.TypeFor[ServiceEntry](),
		"CatalogService":             reflect.TypeFor[CatalogService](),
		"Overview":                   reflect.TypeFor[Overview](),
		"Staleness":                  reflect.TypeFor[Staleness](),
		"ServiceSummary":             reflect.TypeFor[ServiceSummary](),
		"ServiceDetail":              reflect.TypeFor[ServiceDetail](),
		"InstanceDetail":             reflect.TypeFor[InstanceDetail](),
		"CheckDetail":                reflect.TypeFor[CheckDetail](),
		"Sample":                     reflect.TypeFor[Sample](),
		"Configuration":              reflect.TypeFor[Configuration](),
		"Setting":                    reflect.TypeFor[Setting](),
		"LastReload":                 reflect.TypeFor[LastReload](),
		"LogLevel":                   reflect.TypeFor[LogLevel](),
		"TopNames":                   reflect.TypeFor[TopNames](),
		"NameWindow":                 reflect.TypeFor[NameWindow](),
		"NameShare":                  reflect.TypeFor[NameShare](),
		"Problem":                    reflect.TypeFor[Problem](),
		"FieldProblem":               reflect.TypeFor[FieldProblem](),
		"Explanation":                reflect.TypeFor[zones.Explanation](),
		"LeftOut":                    reflect.TypeFor[zones.LeftOut](),
	} {
		var got []string
		for field, schema := range d.Components.Schemas[name].Properties {
			if reference, _ := schema.(map[string]any)["$ref"].(string); strings.HasSuffix(reference, "/Unsupported") || strings.HasSuffix(reference, "/Ignored") {
				field += path.Ext(strings.ReplaceAll(reference, "/", "."))
			}
			got = append(got, field)
		}
		slices.Sort(got)
		want := slices.Sorted(slices.Values(fields(of)))
		diff(t, name, got, want)
	}
}

// fields returns the names of the fields, and of those that nothing is done with why.
func fields(of reflect.Type) (names []string) {
	for i := range of.NumField() {
		switch f := of.Field(i); {
		case f.Anonymous:
			names = append(names, fields(f.Type)...)
		case f.Type == reflect.TypeFor[ignored]():
			names = append(names, f.Name+".Ignored")
		case f.Type == reflect.TypeFor[unsupported]():
			names = append(names, f.Name+".Unsupported")
		default:
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, cmp.Or(name, f.Name))
		}
	}
	return names
}

// TestEveryOperationIsAsTheDocumentSays has all that the document names succeed once, and
// fail in one line of text and as a problem. What is sent and what comes is held to it
// by the client, as it is in every other test.
func TestEveryOperationIsAsTheDocumentSays(t *testing.T) {
	explain := explains(t)
	e := start(t, func(c *Config) {
		explain(c)
		c.Backup = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("all of it")), nil }
		c.Configuration = func() Configuration {
			return Configuration{[]Setting{{"ttl", "5s", "default"}}, &LastReload{At: time.Now(), Error: "ttl: no duration", Waiting: []string{"zone"}}}
		}
		c.Reload = func(context.Context) (string, error) { return "zone waits for the next start", nil }
		c.LogLevel = new(slog.LevelVar)
		c.Traffic = func() Traffic { return Traffic{} }
		c.Asked = func() Asked { return Asked{} }
	})
	const check = `"Checks": [{"HTTP": "http://10.0.0.1/", "Interval": "10s", "Header": {"Host": ["web"]}}, {"CheckID": "beat", "TTL": "1h", "Status": "critical"}]`
	for _, request := range []struct{ method, path, body string }{
		{"PUT", "/v1/agent/service/register", `{"ID": "web-1", "Name": "web", "Tags": ["v1", "rule=Host(a)"], "Port": 80, "Meta": {"k": "v"}, "Weights": {"Passing": 3}, ` + check + `}`},
		{"PUT", "/v1/agent/check/register", `{"ID": "node/beat", "Name": "beat", "TTL": "1h"}`},
		{"PUT", "/v1/agent/check/pass/node/beat", ""},
		{"PUT", "/v1/agent/check/warn/node/beat?note=slow", ""},
		{"PUT", "/v1/agent/check/fail/node/beat", ""},
		{"PUT", "/v1/agent/check/update/node/beat", `{"Status": "passing", "Output": "well"}`},
		{"PUT", "/v1/catalog/register", `{"Node": "db1", "Address": "10.0.0.5", "NodeMeta": {"k": "v"}, "Service": {"Service": "pg", "Port": 5432}, "Check": {"CheckID": "c", "Status": "passing", "Definition": {"TCP": "10.0.0.5:5432", "IntervalDuration": "10s"}}}`},
		{"PUT", "/v1/agent/service/maintenance/web-1?enable=true&reason=disk&for=2h", ""},
		{"PUT", "/v1/agent/maintenance?enable=true&for=2h", ""},
		{"GET", "/v1/agent/services", ""},
		{"GET", "/v1/agent/service/web-1", ""},
		{"GET", "/v1/agent/checks", ""},
		{"GET", "/v1/agent/health/service/name/web", ""}, // 503
		{"PUT", "/v1/agent/maintenance?enable=false", ""},
		{"PUT", "/v1/agent/service/maintenance/web-1?enable=false", ""},
		{"PUT", "/v1/agent/service/register?replace-existing-checks=true", `{"ID": "web-1", "Name": "web", "Port": 80}`},
		{"GET", "/v1/agent/health/service/name/web", ""},
		{"GET", "/v1/agent/health/service/id/web-1", ""},
		{"GET", "/v1/agent/health/service/id/web-1?format=text", ""},
		{"GET", "/v1/agent/self", ""},
		{"GET", "/v1/agent/members", ""},
		{"PUT", "/v1/agent/reload", ""},
		{"GET", "/v1/config", ""},
		{"GET", "/v1/log-level", ""},
		{"PUT", "/v1/log-level?level=debug", ""},
		{"GET", "/v1/catalog/services", ""},
		{"GET", "/v1/catalog/service/web", ""},
		{"GET", "/v1/catalog/nodes", ""},
		{"GET", "/v1/catalog/node/db1", ""},
		{"GET", "/v1/catalog/node/nobody", ""},
		{"GET", "/v1/catalog/node-services/db1", ""},
		{"GET", "/v1/catalog/datacenters", ""},
		{"GET", "/v1/health/service/web", ""},
		{"GET", "/v1/health/node/n1", ""},
		{"GET", "/v1/health/checks/pg", ""},
		{"GET", "/v1/health/state/any", ""},
		{"GET", "/v1/status/leader", ""},
		{"GET", "/v1/status/peers", ""},
		{"GET", "/v1/explain/web.service.rollcall.internal?type=SRV", ""},
		{"GET", "/v1/explain/v2.web.service.rollcall.internal", ""},
		{"GET", "/v1/prometheus/targets", ""},
		{"GET", "/v1/backup", ""},
		{"GET", "/v1/overview", ""},
		{"GET", "/v1/overview/services", ""},
		{"GET", "/v1/overview/services/web", ""},
		{"GET", "/v1/overview/traffic", ""},
		{"GET", "/v1/overview/names", ""},
		{"GET", "/metrics", ""},
		{"GET", "/healthz", ""},
		{"GET", "/readyz?verbose", ""},
		{"GET", "/openapi.json", ""},
		{"GET", "/", ""},
		{"GET", "/page/theme.css", ""},
		{"GET", "/plain", ""},
		{"PUT", "/v1/agent/check/deregister/node/beat", ""},
		{"PUT", "/v1/agent/service/deregister/web-1", ""},
		{"PUT", "/v1/catalog/deregister", `{"Node": "db1"}`},
	} {
		if status, text, _ := e.do(request.method, request.path, request.body); status >= 400 && status != http.StatusServiceUnavailable {
			t.Errorf("%s %s: %d %s", request.method, request.path, status, text)
		}
	}
	e.events("")()
	for _, o := range described() {
		at := strings.NewReplacer("{id}", "x", "{name}", "x", "{state}", "any", "{file}", "x").Replace(o.name)
		method, at, _ := strings.Cut(at, " ")
		for _, accept := range []string{"*/*", problemType} {
			if status, text, _ := e.do(method, at, "", "Host", "evil.example", "Accept", accept); status != http.StatusMisdirectedRequest {
				t.Errorf("%s %s for another host: %d %s", method, at, status, text)
			}
		}
		if o.request != nil {
			if status, text, _ := e.do(method, at, `{"Nmae": 1}`, "Accept", problemType); status != http.StatusBadRequest || !strings.Contains(text, `"pointer"`) {
				t.Errorf("%s %s with a field that there is not: %d %s", method, at, status, text)
			}
		}
		for _, class := range []string{" 2xx", " 4xx"} {
			if !e.held.seen[o.name+class] {
				t.Errorf("%s%s was not seen", o.name, class)
			}
		}
	}
}

// TestTheDocumentIsNotAllPermitting shows requests and replies to it that are none.
func TestTheDocumentIsNotAllPermitting(t *testing.T) {
	for _, row := range []struct{ method, path, sent, kind, body string }{
		{"PUT", "/v1/agent/service/register", `{"Name": 1}`, "", ""},
		{"PUT", "/v1/agent/service/register", `{"Name": "web", "Proxy": {"Port": 1}}`, "", ""},
		{"PUT", "/v1/agent/service/register", `{"Name": "web", "Nmae": "web"}`, "", ""},
		{"GET", "/v1/agent/self", "", "application/json", `{}`},
		{"GET", "/v1/agent/members", "", "application/json", `[{"Name": "n1"}]`},
		{"GET", "/v1/explain/x", "", "application/json", `"x"`},
		{"GET", "/v1/catalog/nodes", "", "application/json", `null`},
		{"GET", "/v1/catalog/nodes", "", "application/json", `[{"Nmae": "n1"}]`},
		{"GET", "/v1/catalog/nodes", "", "text/plain", `[]`},
	} {
		response := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {row.kind}}}
		if err := described().operation(row.method, row.path).hold(row.method, []byte(row.sent), response, []byte(row.body)); err == nil {
			t.Errorf("%s %s %s is granted, and answered with %s %s", row.method, row.path, row.sent, row.kind, row.body)
		}
	}
}
