package admin

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestARequestHasTheNameThatItsClientGivesIt(t *testing.T) {
	e := start(t, nil)
	for _, id := range []string{"a", "0b6d2a7e-9a2b-4a57-8f2a-0b1c2d3e4f50", "Root=1-67891233-abcdef012345678912345678", strings.Repeat("x", maxRequestID)} {
		for _, path := range []string{"/healthz", "/v1/agent/services", "/nothing"} {
			if _, _, header := e.do("GET", path, "", "X-Request-Id", id); header.Get("X-Request-Id") != id {
				t.Errorf("GET %s as %q has the name %q", path, id, header.Get("X-Request-Id"))
			}
		}
	}
}

func TestARequestWithoutASaneNameIsGivenOne(t *testing.T) {
	e := start(t, nil)
	seen := make(map[string]bool)
	for _, id := range []string{"", "two words", "a\"quote", `back\slash`, "tab\there", "höher", strings.Repeat("x", maxRequestID+1)} {
		_, _, header := e.do("GET", "/healthz", "", "X-Request-Id", id)
		got := header.Get("X-Request-Id")
		if got == id || !sane(got) || len(got) < 16 || seen[got] {
			t.Errorf("the name for %q is %q", id, got)
		}
		seen[got] = true
	}
}

func TestTheLogNamesRequests(t *testing.T) {
	var log bytes.Buffer
	e := start(t, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.Explain = func(name, _ string) (any, error) {
			if name == "panic" {
				panic("at the disco")
			}
			return nil, errors.New("a fault")
		}
	})
	e.do("PUT", "/v1/agent/service/register", `{"Name":"web"}`, "X-Request-Id", "a-write")
	e.do("GET", "/v1/explain/web", "", "X-Request-Id", "a-fault")
	e.do("GET", "/v1/explain/panic", "", "X-Request-Id", "a-panic")
	for line, id := range map[string]string{"msg=audit": "a-write", `msg="a request failed"`: "a-fault", `msg="a request ended in a panic"`: "a-panic"} {
		found := false
		for text := range strings.Lines(log.String()) {
			found = found || strings.Contains(text, line) && strings.Contains(text, "request="+id)
		}
		if !found {
			t.Errorf("no line %s names %s in\n%s", line, id, log.String())
		}
	}
}

func TestATraceKnowsTheNameOfItsRequest(t *testing.T) {
	var seen string
	e := start(t, func(c *Config) {
		c.Around = func(_ string, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen = RequestID(r)
				next.ServeHTTP(w, r)
			})
		}
	})
	_, _, header := e.do("GET", "/v1/agent/services", "")
	if seen == "" || header.Get("X-Request-Id") != seen {
		t.Errorf("around the handler it is %q, in the reply %q", seen, header.Get("X-Request-Id"))
	}
}
