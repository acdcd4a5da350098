package admin

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheLogLevelCanBeChosenWhileTheProgramRuns(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
	s, err := New(Config{
		Registry: fixed{}, LogLevel: level,
		Tokens: func() []Token {
			return []Token{{Name: "all", Secret: "all", Write: true}, {Name: "some", Secret: "some", Write: true, Services: []string{"web"}}, {Name: "none", Secret: "none"}}
		},
	})
	check(t, err)
	ask := func(method, query, token string) (int, string) {
		r := httptest.NewRequest(method, "http://127.0.0.1/v1/log-level"+query, nil)
		r.Header.Set("X-Consul-Token", token)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		logger.Debug("after " + method + query + token)
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	expect := func(method, query, token string, status int, text string) {
		t.Helper()
		if code, body := ask(method, query, token); code != status || !strings.Contains(body, text) {
			t.Errorf("%s %s as %s: %d %s", method, query, token, code, body)
		}
	}
	expect(http.MethodGet, "", "none", 200, `{"Level":"info"}`)
	expect(http.MethodPut, "?level=debug", "none", 403, "")
	expect(http.MethodPut, "?level=debug", "some", 403, "")
	expect(http.MethodPut, "?level=loud", "all", 400, `"loud" is none of debug, info, warn and error`)
	if out.Len() > 0 {
		t.Errorf("there is a line though nobody who may has asked for it: %s", &out)
	}
	expect(http.MethodPut, "?level=DEBUG", "all", 200, `{"Level":"debug"}`)
	expect(http.MethodPut, "?level=warn", "all", 200, `{"Level":"warn"}`)
	if lines := strings.Count(out.String(), "\n"); lines != 1 {
		t.Errorf("there are %d lines:\n%s", lines, &out)
	}
}
