package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// TestAFaultOfRollcallsNamesItsRequest and what is the client's own does not.
func TestAFaultOfRollcallsNamesItsRequest(t *testing.T) {
	status := http.StatusInternalServerError
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "r-1")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "it is broken\n")
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{http: server.Client(), base: base}
	for _, row := range []struct {
		status int
		says   string
	}{{500, "it is broken (request r-1 in its log)"}, {400, "it is broken"}, {503, "it is broken"}} {
		status = row.status
		if _, err := c.do(t.Context(), http.MethodGet, "/", nil, nil, nil); err == nil || err.Error() != row.says {
			t.Errorf("%d: %v, want %s", row.status, err, row.says)
		}
	}
}
