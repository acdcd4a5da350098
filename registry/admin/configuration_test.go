package admin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWhoMaySeeEverythingSeesTheConfiguration(t *testing.T) {
	s, err := New(Config{
		Registry: fixed{},
		Tokens: func() []Token {
			return []Token{{Name: "reader", Secret: "reader"}, {Name: "web", Secret: "web", Write: true, Services: []string{"web"}}}
		},
		Configuration: func() Configuration {
			return Configuration{
				Settings:   []Setting{{"ttl", "5s", "rollcall.yaml:1:1"}},
				LastReload: &LastReload{Error: "rollcall.yaml:1:1: ttl: it is wrong"},
			}
		},
	})
	check(t, err)
	ask := func(token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/v1/config", nil)
		r.Header.Set("X-Consul-Token", token)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	if w := ask("reader"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"rollcall.yaml:1:1: ttl: it is wrong"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask("web"); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "and not this") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask(""); w.Code != http.StatusForbidden {
		t.Errorf("without a token: %d %s", w.Code, w.Body)
	}
}
