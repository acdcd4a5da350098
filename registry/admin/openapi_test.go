package admin

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
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
	} {
		got := slices.Sorted(maps.Keys(d.Components.Schemas[name].Properties))
		want := slices.Sorted(slices.Values(fields(of)))
		diff(t, name, got, want)
	}
}

// fields returns the names of the fields that something is done with.
func fields(of reflect.Type) (names []string) {
	for i := range of.NumField() {
		switch f := of.Field(i); {
		case f.Anonymous:
			names = append(names, fields(f.Type)...)
		case f.Type != reflect.TypeFor[ignored]() && f.Type != reflect.TypeFor[unsupported]():
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, cmp.Or(name, f.Name))
		}
	}
	return names
}

func TestEveryRouteOfTheDocumentAnswers(t *testing.T) {
	e := start(t, func(c *Config) { c.Explain = func(name, qtype string) (any, error) { return name + " " + qtype, nil } })
	d, _ := readDocument(t)
	for path, operations := range d.Paths {
		for method := range operations {
			if path == "/v1/events" { // which does not end
				continue
			}
			path := strings.NewReplacer("{id}", "x", "{name}", "x", "{state}", "any").Replace(path)
			status, body, _ := e.do(strings.ToUpper(method), path, "")
			if status == http.StatusMethodNotAllowed || status >= 500 || strings.HasPrefix(body, "there is nothing at") {
				t.Errorf("%s %s: %d %s", method, path, status, body)
			}
		}
	}
}
