package admin

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProfilesAreForWhoMayChangeEverything(t *testing.T) {
	tokens := func() []Token {
		return []Token{{Name: "all", Secret: "all", Write: true}, {Name: "reader", Secret: "reader"}}
	}
	for _, row := range []struct {
		name    string
		profile bool
		tokens  func() []Token
		token   string
		path    string
		want    int
	}{
		{"off", false, nil, "", "/debug/pprof/", http.StatusNotFound},
		{"off, with a token", false, tokens, "all", "/debug/pprof/heap", http.StatusNotFound},
		{"the list", true, tokens, "all", "/debug/pprof/", http.StatusOK},
		{"one of them", true, tokens, "all", "/debug/pprof/goroutine", http.StatusOK},
		{"the command line", true, tokens, "all", "/debug/pprof/cmdline", http.StatusOK},
		{"none of them", true, tokens, "all", "/debug/pprof/nothing", http.StatusNotFound},
		{"with no token", true, tokens, "", "/debug/pprof/", http.StatusForbidden},
		{"with a token to read", true, tokens, "reader", "/debug/pprof/", http.StatusForbidden},
		{"where no token is asked for", true, nil, "", "/debug/pprof/heap", http.StatusOK},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := New(Config{Registry: fixed{}, Tokens: row.tokens, Profile: row.profile})
			check(t, err)
			r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+row.path, nil)
			r.Header.Set("X-Consul-Token", row.token)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			t.Log(w.Code)
			if w.Code != row.want {
				t.Errorf("%d %s, want %d", w.Code, w.Body, row.want)
			}
		})
	}
}
