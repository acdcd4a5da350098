package admin

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestWhoWatchesOverRollcallNeedsNoTokenAndGetsNothingElse(t *testing.T) {
	e := start(t, func(c *Config) { c.Tokens = oneToken(secretAll) })
	e.do("PUT", "/v1/agent/service/register", `{"Name":"secret-name"}`, "X-Consul-Token", secretAll)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.server.ServeMetrics(ctx, l) }()
	for _, row := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/metrics", 200},
		{"HEAD", "/metrics", 200},
		{"GET", "/healthz", 200},
		{"GET", "/readyz?verbose", 200},
		{"POST", "/metrics", 405},
		{"PUT", "/v1/agent/service/deregister/secret-name", 405},
		{"GET", "/v1/agent/services", 404},
		{"GET", "/v1/config", 404},
		{"GET", "/debug/pprof/", 404},
		{"GET", "/", 404},
	} {
		r, err := http.NewRequestWithContext(t.Context(), row.method, "http://"+l.Addr().String()+row.path, http.NoBody)
		check(t, err)
		r.Host = "prometheus-asks-for.example" // there is nothing to rebind to
		r.Header.Set("X-Consul-Token", secretAll)
		response, err := e.http.Do(r)
		check(t, err)
		body, err := io.ReadAll(response.Body)
		check(t, err)
		response.Body.Close()
		if response.StatusCode != row.want || strings.Contains(string(body), "secret-name") && row.want == 200 {
			t.Errorf("%s %s: %d %s, want %d", row.method, row.path, response.StatusCode, body, row.want)
		}
		diff(t, row.path, response.Header.Get("X-Content-Type-Options"), "nosniff")
	}
	e.http.CloseIdleConnections()
	stop()
	check(t, <-ended)
	if e.registry.View().Service("secret-name") == nil {
		t.Error("the service is gone")
	}
}
