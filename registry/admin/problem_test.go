package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/hashicorp/consul/api"
)

func TestErrorsAreTextForWhoDoesNotAskForJSON(t *testing.T) {
	e := start(t, nil)
	for _, accept := range []string{"", "*/*", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "text/plain", "text/plain, application/json;q=0.5", "application/json;q=0", "application/*", "nonsense;;"} {
		status, body, header := e.do("PUT", "/v1/agent/service/register", `{"Name":"my web"}`, "Accept", accept)
		if status != 400 || header.Get("Content-Type") != "text/plain; charset=utf-8" || body[:len("Name ")] != "Name " {
			t.Errorf("for Accept: %s: %d %s %q", accept, status, header.Get("Content-Type"), body)
		}
	}
	err := e.consul.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "my web"})
	var refused api.StatusError
	if !errors.As(err, &refused) || refused.Body != `Name "my web" must consist of letters, digits, hyphens, underscores and dots` {
		t.Errorf("Consul's client says %v", err)
	}
}

func TestErrorsAreProblemsForWhoAsksForJSON(t *testing.T) {
	e := start(t, nil)
	for _, accept := range []string{"application/problem+json", "application/json", "Application/JSON, text/plain;q=0.9, */*;q=0.1", "text/html, application/problem+json;q=0.5"} {
		status, body, header := e.do("PUT", "/v1/agent/service/register", `{"Name":"my web"}`, "Accept", accept, "X-Request-Id", "r-1")
		var got Problem
		check(t, json.Unmarshal([]byte(body), &got))
		const detail = `Name "my web" must consist of letters, digits, hyphens, underscores and dots`
		diff(t, "problem for Accept: "+accept, got, Problem{
			Type: "about:blank", Title: "Bad Request", Status: 400, Detail: detail, Instance: "/v1/agent/service/register",
			RequestID: "r-1", Errors: []FieldProblem{{"#/Name", detail}},
		})
		if status != 400 || header.Get("Content-Type") != "application/problem+json" || header.Get("Vary") != "Accept" {
			t.Errorf("%d %v", status, header)
		}
	}
}

func TestEveryKindOfErrorCanBeAProblem(t *testing.T) {
	e := start(t, func(c *Config) { c.Tokens = oneToken(secretAll) })
	for _, row := range []struct {
		method, path string
		header       []string
		status       int
	}{
		{"GET", "/v1/agent/services", nil, 403},
		{"GET", "/v1/agent/services", []string{"Host", "elsewhere.example"}, 421},
		{"PUT", "/v1/agent/service/deregister/x", []string{"Origin", "http://elsewhere.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"GET", "/nothing", []string{"X-Consul-Token", secretAll}, 404},
		{"PUT", "/v1/catalog/services", []string{"X-Consul-Token", secretAll}, 405},
		{"PUT", "/v1/agent/service/deregister/x", []string{"X-Consul-Token", secretAll}, 404},
	} {
		status, body, _ := e.do(row.method, row.path, "", append(row.header, "Accept", problemType)...)
		var got Problem
		check(t, json.Unmarshal([]byte(body), &got))
		if status != row.status || got.Status != status || got.Title != http.StatusText(status) || got.Detail == "" || got.Instance != row.path || got.Errors != nil {
			t.Errorf("%s %s: %d %s", row.method, row.path, status, body)
		}
	}
}

func TestAProblemPointsToTheFieldAtFault(t *testing.T) {
	e := start(t, nil)
	const agent, catalog = "/v1/agent/service/register", "/v1/catalog/register"
	for _, row := range []struct{ path, body, pointer string }{
		{agent, `{"name":"a b"}`, "#/name"},
		{agent, `{"Port":80}`, "#"},
		{agent, `{"Name":"web","Port":"80"}`, "#/Port"},
		{agent, `{"Name":"web","Colour":1}`, "#/Colour"},
		{agent, `{"Name":"web","[.]":1}`, "#"},
		{agent, `{"Name":"web","a/b~c d":1}`, "#/a~1b~0c%20d"},
		{agent, `{"Name":"web","Weights":{"Passing":0,"Warning":1}}`, "#/Weights/Passing"},
		{agent, `{"Name":"web","Tags":["a",1]}`, "#/Tags/1"},
		{agent, `{"Name":"web","Meta":{"a":1}}`, "#/Meta/a"},
		{agent, `{"Name":"web","Check":{"HTTP":"http://10.0.0.1/"}}`, "#/Check"},
		{agent, `{"Name":"web","Check":{"HTTP":"ftp://10.0.0.1/","Interval":"1s"}}`, "#/Check/HTTP"},
		{agent, `{"Name":"web","Checks":[{"HTTP":"ftp://10.0.0.1/","Interval":"1s"}]}`, "#/Checks/0/HTTP"},
		{agent, `{"Name":"web","Checks":[{"TTL":"1s"},{"HTTP":"ftp://10.0.0.1/","Interval":"1s"}]}`, "#/Checks"},
		{agent, `{"Name":"web","Checks":[{"TTL":"1s"},{"TTL":"soon"}]}`, "#/Checks/1/TTL"},
		{agent, `{"Name":"web","tagged_addresses":{"lan":{"Address":"0.0.0.0"}}}`, "#/tagged_addresses/lan"},
		{catalog, `{"Node":"n2","Address":"10.0.0.2","Service":{"Service":"web","Port":99999}}`, "#/Service/Port"},
		{catalog, `{"Node":"n2","Address":"10.0.0.2","Service":{"Service":"web","Port":"99"}}`, "#/Service/Port"},
		{catalog, `{"Node":"n2","Address":"10.0.0.2","Service":{"Service":"web","Address":"0.0.0.0"}}`, "#"},
		{catalog, `{"Node":"n2","Address":"10.0.0.2","NodeMeta":{"\u0000":"x"},"Service":{"Service":"web","Meta":{}}}`, "#/NodeMeta"},
	} {
		status, body, _ := e.do("PUT", row.path, row.body, "Accept", problemType)
		var got Problem
		check(t, json.Unmarshal([]byte(body), &got))
		if status != 400 || len(got.Errors) != 1 || got.Errors[0].Pointer != row.pointer || got.Errors[0].Detail != got.Detail {
			t.Errorf("of %s: %d %s, want %s", row.body, status, body, row.pointer)
		}
	}
	for _, body := range []string{"", "{", `{"Name":"web"`, "\xff"} {
		status, body, _ := e.do("PUT", agent, body, "Accept", problemType)
		var got Problem
		check(t, json.Unmarshal([]byte(body), &got))
		if status != 400 || got.Errors != nil {
			t.Errorf("%d %s", status, body)
		}
	}
}
