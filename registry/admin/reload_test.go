package admin

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWhoMayChangeEverythingMayReload(t *testing.T) {
	var wrong error
	reloads := 0
	s, err := New(Config{
		Registry: fixed{},
		Tokens: func() []Token {
			return []Token{
				{Name: "all", Secret: "all", Write: true},
				{Name: "some", Secret: "some", Write: true, Services: []string{"web"}},
				{Name: "none", Secret: "none"},
			}
		},
		Reload: func(context.Context) (string, error) { reloads++; return "dns-addr has to wait", wrong },
	})
	check(t, err)
	ask := func(token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPut, "http://127.0.0.1/v1/agent/reload", nil)
		r.Header.Set("X-Consul-Token", token)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	if w := ask("all"); w.Code != http.StatusOK || w.Header().Get("X-Rollcall-Notice") != "dns-addr has to wait" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
	for _, token := range []string{"some", "none"} {
		if w := ask(token); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", token, w.Code, w.Body)
		}
	}
	wrong = errors.New("rollcall.yaml:1:1: ttl: it is wrong")
	if w := ask("all"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "rollcall.yaml:1:1") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if reloads != 2 {
		t.Errorf("%d reloads", reloads)
	}
}
