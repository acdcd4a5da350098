package admin

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
)

func TestHealthzDependsOnNothing(t *testing.T) {
	e := start(t, func(c *Config) { c.Ready = func() error { return errors.New("not yet") } })
	diff(t, "body", e.must("GET", "/healthz", ""), `{"status":"ok"}`+"\n")
}

func TestReadyzTellsWhy(t *testing.T) {
	var why error
	e := start(t, func(c *Config) { c.Ready = func() error { return why } })
	diff(t, "body", e.must("GET", "/readyz", ""), `{"status":"ready"}`+"\n")
	why = errors.New("rollcall is shutting down")
	status, body, _ := e.do("GET", "/readyz", "")
	diff(t, "status", status, 503)
	diff(t, "body", body, `{"reason":"rollcall is shutting down","status":"not ready"}`+"\n")
}

func TestReadyzTellsMoreWhenAskedTo(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/agent/service/register", `{"Name":"web"}`)
	v := e.registry.View()
	want := map[string]any{"status": "ready", "index": float64(v.Index()), "services": 1.0, "instances": 1.0}
	diff(t, "body", parse(t, e.must("GET", "/readyz?verbose", "")), any(want))
}

func TestExplainAsksForTheNameAndTheType(t *testing.T) {
	e := start(t, func(c *Config) {
		c.Explain = func(name, qtype string) (any, error) {
			if qtype == "NOPE" {
				return nil, registry.Errorf(registry.Invalid, "type %q is no type of DNS records", qtype)
			}
			return explanation(name, qtype), nil
		}
	})
	for query, qtype := range map[string]string{"?type=srv": "SRV", "": "A"} {
		var got zones.Explanation
		check(t, json.Unmarshal([]byte(e.must("GET", "/v1/explain/web.service"+query, "")), &got))
		diff(t, query, got, explanation("web.service", qtype))
	}
	status, body, _ := e.do("GET", "/v1/explain/web.service?type=nope", "")
	diff(t, "status", status, 400)
	diff(t, "body", body, `type "NOPE" is no type of DNS records`+"\n")
}

// explanation returns one of an answer with nothing in it.
func explanation(name, qtype string) zones.Explanation {
	none := []string{}
	return zones.Explanation{Name: name, Type: qtype, Rcode: "NOERROR", Answer: none, Authority: none, Additional: none, LeftOut: []zones.LeftOut{}}
}

func TestNobodyExplainsWithoutDNS(t *testing.T) {
	e := start(t, nil)
	status, _, _ := e.do("GET", "/v1/explain/web.service", "")
	diff(t, "status", status, 404)
}

func TestBothTellThatTheViewIsStale(t *testing.T) {
	now := registry.Freshness{Stale: true, Reason: "no sync yet"}
	e := start(t, func(c *Config) { c.Freshness = func() *registry.Freshness { return &now } })
	status, body, _ := e.do("GET", "/readyz", "")
	diff(t, "status before the first sync", status, 503)
	diff(t, "body", body, `{"reason":"no sync yet","stale":true,"stale_reason":"no sync yet","status":"not ready"}`+"\n")

	now = registry.Freshness{Synced: true, Stale: true, Since: time.Unix(1700000000, 0), Reason: "Consul is away"}
	diff(t, "body with an old view", e.must("GET", "/readyz", ""),
		`{"stale":true,"stale_reason":"Consul is away","stale_since":"2023-11-14T22:13:20Z","status":"ready"}`+"\n")
	diff(t, "health", e.must("GET", "/healthz", ""), `{"reason":"Consul is away","status":"degraded"}`+"\n")

	now = registry.Freshness{Synced: true}
	diff(t, "body when it is fresh again", e.must("GET", "/readyz", ""), `{"status":"ready"}`+"\n")
}
