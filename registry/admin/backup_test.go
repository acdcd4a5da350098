package admin

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestWhoMayChangeEverythingMayBackUp(t *testing.T) {
	backup := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("all of it")), nil }
	for _, row := range []struct {
		token  string
		backup func(context.Context) (io.ReadCloser, error)
		status int
		body   string
	}{
		{"all", backup, http.StatusOK, "all of it"},
		{"some", backup, http.StatusForbidden, "the token some may change services that begin with web"},
		{"none", backup, http.StatusForbidden, "the token none may read and not write"},
		{"all", nil, http.StatusNotFound, "consul snapshot save"},
		{"all", func(context.Context) (io.ReadCloser, error) {
			return nil, registry.Errorf(registry.Unavailable, "the registry is closed")
		}, http.StatusServiceUnavailable, "the registry is closed"},
	} {
		s, err := New(Config{Registry: fixed{}, Backup: row.backup, Tokens: func() []Token {
			return []Token{
				{Name: "all", Secret: "all", Write: true},
				{Name: "some", Secret: "some", Write: true, Services: []string{"web"}},
				{Name: "none", Secret: "none"},
			}
		}})
		check(t, err)
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/v1/backup", nil)
		r.Header.Set("X-Consul-Token", row.token)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.body) {
			t.Errorf("%s: %d %s, want %d %s", row.token, w.Code, w.Body, row.status, row.body)
		}
	}
}
