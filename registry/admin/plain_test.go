package admin

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

func TestThePlainPageShowsTheCriticalFirst(t *testing.T) {
	e := start(t, func(c *Config) { c.Zone = "rollcall.internal." })
	for name, status := range map[string]string{"a-well": "passing", "b-so-so": "warning", "c-ill": "critical"} {
		check(t, e.consul.Agent().ServiceRegister(&api.AgentServiceRegistration{
			Name: name, Port: 80, Checks: api.AgentServiceChecks{{TTL: "30s", Status: status}},
		}))
	}
	check(t, e.consul.Agent().FailTTL("service:c-ill", "connection refused"))
	page := e.must("GET", "/plain", "")
	at := func(text string) int {
		t.Helper()
		n := strings.Index(page, text)
		if n < 0 {
			t.Fatalf("the page lacks %s:\n%s", text, page)
		}
		return n
	}
	if !(at("<b>c-ill</b>") < at("<b>b-so-so</b>") && at("<b>b-so-so</b>") < at("<b>a-well</b>")) {
		t.Error("the order is not: critical, warning, passing")
	}
	at("connection refused")
	at("10.0.0.1:80")
	at("dig c-ill.service.rollcall.internal SRV")
	at("3 services, 3 instances")
}

func TestThePlainPageOfNothing(t *testing.T) {
	e := start(t, nil)
	if page := e.must("GET", "/plain", ""); !strings.Contains(page, "Nothing is registered yet") {
		t.Errorf("the page is\n%s", page)
	}
}

func TestThePlainPageIsNarrowedToAPartOfAName(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/agent/service/register", `{"Name":"web-shop"}`)
	e.must("PUT", "/v1/agent/service/register", `{"Name":"db"}`)
	page := e.must("GET", "/plain?q=SHOP", "")
	if !strings.Contains(page, "<b>web-shop</b>") || strings.Contains(page, "<b>db</b>") {
		t.Errorf("the page is\n%s", page)
	}
	page = e.must("GET", "/plain?q="+`%22%3E%3Cscript%3E`, "")
	if !strings.Contains(page, "No service has") || strings.Contains(page, "<script") {
		t.Errorf("the page is\n%s", page)
	}
}

func TestThePlainPageEscapesWhatWasRegistered(t *testing.T) {
	e := start(t, nil)
	const markup = `<script>alert(1)</script>`
	check(t, e.consul.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: "web", Tags: []string{markup, `" onload="x`}, Checks: api.AgentServiceChecks{{TTL: "30s"}},
	}))
	check(t, e.consul.Agent().FailTTL("service:web", markup))
	if page := e.must("GET", "/plain", ""); strings.Contains(page, "<script") || strings.Contains(page, ` onload="x`) {
		t.Errorf("the page is\n%s", page)
	}
}

func TestThePlainPageOfALargeRegistryIsBounded(t *testing.T) {
	e := start(t, nil)
	for n := range plainServices + 3 {
		e.must("PUT", "/v1/agent/service/register", fmt.Sprintf(`{"Name":"s%04d"}`, n))
	}
	for n := range plainInstances + 2 {
		e.must("PUT", "/v1/agent/service/register", fmt.Sprintf(`{"Name":"s0000","ID":"i%d"}`, n))
	}
	page := e.must("GET", "/plain", "")
	diff(t, "services shown", strings.Count(page, "<details"), plainServices)
	for _, text := range []string{"203 services, 255 instances", "and 3 more services", "and 3 more: "} {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
}

func TestThePlainPageAsksForNothingElse(t *testing.T) {
	e := start(t, nil)
	_, page, header := e.do("GET", "/plain", "")
	policy := header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy: %s", policy)
	}
	if found := regexp.MustCompile(`(?i)src=|https?://|url\(|@import|<link|style="`).FindString(page); found != "" {
		t.Errorf("the page has %s", found)
	}
}

func TestThePlainPageSaysWhenClientsShouldGoElsewhere(t *testing.T) {
	e := start(t, func(c *Config) { c.Ready = func() error { return errors.New("rollcall is shutting down") } })
	if page := e.must("GET", "/plain", ""); !strings.Contains(page, "<b>Not ready.</b> rollcall is shutting down") {
		t.Errorf("the page is\n%s", page)
	}
}
