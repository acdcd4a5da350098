package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// hidden is in all that a token with the prefix a- is not to see.
const hidden = "of-team-b"

// twoTeams serves a service of the prefix a- and one of the prefix b-, and three
// tokens: for everything, and for reading or writing what begins with a-.
func twoTeams(t *testing.T) *endpoint {
	t.Helper()
	e := start(t, func(c *Config) {
		c.Explain = func(_, qtype string) (any, error) { return explanation(hidden, qtype), nil }
		c.Tokens = func() []Token {
			return []Token{
				{Name: "admin", Secret: secretAll, Write: true},
				{Name: "team-a", Secret: secretTeam, Write: true, Services: []string{"a-"}},
				{Name: "reader-a", Secret: secretRead, Services: []string{"a-"}},
			}
		}
	})
	for _, body := range []string{
		`{"Name":"a-1","Port":80,"Tags":["seen"],"Check":{"TTL":"1h"}}`,
		`{"Name":"b-` + hidden + `","ID":"b-1","Port":80,"Tags":["` + hidden + `"],"Meta":{"` + hidden + `":"x"},"Check":{"TTL":"1h","Notes":"` + hidden + `"}}`,
	} {
		if status, text, _ := e.do("PUT", "/v1/agent/service/register", body, "X-Consul-Token", secretAll); status != http.StatusOK {
			t.Fatal(status, text)
		}
	}
	if status, text, _ := e.do("PUT", "/v1/agent/check/register", `{"Name":"disk","TTL":"1h"}`, "X-Consul-Token", secretAll); status != http.StatusOK {
		t.Fatal(status, text)
	}
	return e
}

// TestATokenSeesItsServicesAndNoOthers reads all that there is to be read, by every
// name that is hidden and by one that is not.
func TestATokenSeesItsServicesAndNoOthers(t *testing.T) {
	e := twoTeams(t)
	shown, kept := 0, 0
	for pattern := range e.server.routes() {
		method, path, _ := strings.Cut(pattern, " ")
		if method != http.MethodGet || path == "/v1/events" {
			continue
		}
		for _, id := range []string{"b-1", "b-" + hidden, "a-1", "n1"} {
			at := strings.NewReplacer("{name}", id, "{id}", id, "{state}", "any", "{$}", "", "{file}", "page.css").Replace(path)
			_, all, _ := e.do(http.MethodGet, at, "", "X-Consul-Token", secretAll)
			if !strings.Contains(all, hidden) || strings.Contains(all, "not found") || strings.Contains(all, "unknown service") {
				continue // there is nothing to hide
			}
			shown++
			for _, secret := range []string{secretTeam, secretRead} {
				status, got, header := e.do(http.MethodGet, at, "", "X-Consul-Token", secret)
				words := strings.ReplaceAll(got, "b-"+hidden, "") // who asks for a name may get that back
				if status == http.StatusOK && strings.Contains(got, hidden) || strings.Contains(words, hidden) {
					t.Errorf("GET %s shows %s", at, got)
				}
				if header.Get("X-Consul-Results-Filtered-By-ACLs") == "true" || status >= 400 {
					kept++
				}
			}
		}
	}
	t.Logf("%d replies show something to who may see all; what of it was another's was left out", shown)
	if shown < 20 || kept < 20 {
		t.Errorf("only %d replies had anything to hide, and %d said so", shown, kept)
	}
	for path, seen := range map[string]bool{"/v1/health/node/n1": false, "/v1/health/state/any": false, "/v1/agent/checks": false, "/v1/health/service/a-1": true} {
		if _, got, _ := e.do("GET", path, "", "X-Consul-Token", secretRead); strings.Contains(got, "disk") != seen {
			t.Errorf("GET %s shows of the node's check: %s", path, got)
		}
	}
	_, own, _ := e.do("GET", "/v1/health/service/a-1", "", "X-Consul-Token", secretRead)
	if !strings.Contains(own, `"a-1"`) || !strings.Contains(own, "seen") {
		t.Errorf("it does not see its own: %s", own)
	}
	if _, listed, _ := e.do("GET", "/v1/catalog/services", "", "X-Consul-Token", secretRead); strings.TrimSpace(listed) != `{"a-1":["seen"]}` {
		t.Errorf("the list of services is %s", listed)
	}
}

// TestWhatATargetSaysIsForWhoMaySeeEverything has a probe read a secret from its target,
// and looks for it in all that there is to be read, and with filters.
func TestWhatATargetSaysIsForWhoMaySeeEverything(t *testing.T) {
	e := twoTeams(t)
	const secret = "of-the-target"
	if status, text, _ := e.do("PUT", "/v1/agent/check/register", `{"ID":"c","Name":"c","ServiceID":"a-1","HTTP":"http://10.0.0.1/","Interval":"1h"}`, "X-Consul-Token", secretTeam); status != http.StatusOK {
		t.Fatal(status, text)
	}
	err := e.registry.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "c", Status: registry.Critical, Output: "HTTP GET http://10.0.0.1/: 500 Internal Server Error" + registry.TargetSays + secret})
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for pattern := range e.server.routes() {
		method, path, _ := strings.Cut(pattern, " ")
		if method != http.MethodGet || path == "/v1/events" {
			continue
		}
		at := strings.NewReplacer("{name}", "a-1", "{id}", "a-1", "{state}", "any", "{$}", "", "{file}", "page.css").Replace(path)
		if strings.Contains(path, "/health/node/") {
			at = "/v1/health/node/n1"
		}
		if _, all, _ := e.do(http.MethodGet, at, "", "X-Consul-Token", secretAll); !strings.Contains(all, secret) {
			continue
		}
		shown++
		for _, token := range []string{secretTeam, secretRead} {
			if _, got, _ := e.do(http.MethodGet, at, "", "X-Consul-Token", token); strings.Contains(got, secret) {
				t.Errorf("GET %s shows %s", at, got)
			}
		}
	}
	t.Logf("%d replies show what a target said to who may see all, and to nobody else", shown)
	if shown < 8 {
		t.Errorf("only %d replies show what a target said", shown)
	}
	for _, at := range []string{`/v1/agent/checks?filter=Output+contains+"` + secret + `"`, `/v1/health/state/any?filter=Output+contains+"` + secret + `"`, `/v1/health/checks/a-1?filter=Output+matches+".*` + secret + `"`} {
		if _, all, _ := e.do("GET", at, "", "X-Consul-Token", secretAll); !strings.Contains(all, secret) {
			t.Errorf("GET %s: %s", at, all)
		}
		if _, got, _ := e.do("GET", at, "", "X-Consul-Token", secretTeam); strings.Contains(got, "10.0.0.1") {
			t.Errorf("GET %s tells that it is so: %s", at, got)
		}
	}
}

// TestEventsOfOthersAreNotTold changes what is hidden, and then what is not: all that
// comes is the latter.
func TestEventsOfOthersAreNotTold(t *testing.T) {
	e := twoTeams(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Consul-Token", secretRead)
	request.Header.Set("Last-Event-ID", fmt.Sprint(e.registry.View().Index()))
	response, err := e.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for _, i := range []registry.Instance{
		{ID: "b-1", Service: "b-" + hidden, Port: 81}, {ID: "x", Service: "a-2", Port: 1}, {ID: "x", Service: "b-" + hidden, Port: 1}, {ID: "last", Service: "a-3", Port: 1},
	} {
		if err := e.registry.Register(ctx, registry.Registration{Instance: &i}); err != nil {
			t.Fatal(err)
		}
	}
	told := ""
	for part := make([]byte, 4096); !strings.Contains(told, "a-3"); {
		n, err := response.Body.Read(part)
		if told += string(part[:n]); err != nil {
			t.Fatalf("%v after %s", err, told)
		}
	}
	if strings.Contains(told, hidden) {
		t.Errorf("events of others are told: %s", told)
	}
	if !strings.Contains(told, `"Service":"a-2"`) || !strings.Contains(told, `"Gone":true`) {
		t.Errorf("that an instance went to a service of others is not told: %s", told)
	}
}
