package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
)

// endpoint is a Server on a registry in memory, reached over a loopback socket.
type endpoint struct {
	t        testing.TB
	registry *embedded.Registry
	server   *Server
	url      string
	http     *http.Client
	consul   *api.Client
	held     *held // holds what passes to the OpenAPI document
}

// start serves on the node n1 at 10.0.0.1; edit, if any, changes the Config.
func start(t testing.TB, edit func(*Config)) *endpoint {
	t.Helper()
	r, err := embedded.Open(t.Context(), embedded.Config{Node: registry.Node{Name: "n1", Address: "10.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	metrics := prometheus.NewRegistry()
	cfg := Config{Registry: r, Node: r.Node(), Datacenter: "dc1", Version: "1.2.3", Metrics: metrics, Gatherer: metrics}
	if edit != nil {
		edit(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{t: t, registry: r, server: s}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.url = "http://" + listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	transport := &http.Transport{}
	e.http = &http.Client{Transport: transport}
	if _, ok := t.(*testing.T); ok { // and no benchmark, which would measure that
		e.held = &held{RoundTripper: transport, t: t, seen: map[string]bool{}}
		e.http.Transport = e.held
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
	})
	e.consul, err = api.NewClient(&api.Config{Address: listener.Addr().String(), HttpClient: e.http, Token: secretOf(cfg)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// do sends a request and returns the status and the body of the reply.
func (e *endpoint) do(method, path, body string, header ...string) (int, string, http.Header) {
	e.t.Helper()
	request, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		request.Header.Set(header[n], header[n+1])
		if header[n] == "Host" {
			request.Host = header[n+1]
		}
	}
	response, err := e.http.Do(request)
	if err != nil {
		e.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return response.StatusCode, string(text), response.Header
}

// must does what do does, and fails the test unless the status is 200.
func (e *endpoint) must(method, path, body string) string {
	e.t.Helper()
	status, text, _ := e.do(method, path, body)
	if status != http.StatusOK {
		e.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func parse(t testing.TB, text string) (value any) {
	t.Helper()
	check(t, json.Unmarshal([]byte(text), &value))
	return value
}

func diff(t testing.TB, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestANewEndpointNeedsARegistry(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("New without a registry succeeds")
	}
}

func TestAPathThatIsNotThereIsNotFound(t *testing.T) {
	e := start(t, nil)
	for _, path := range []string{"/v1/kv/a", "/v1/agent", "/debug/pprof/", "/debug/vars", "/v2/", "/index.html"} {
		status, body, _ := e.do("GET", path, "")
		if status != http.StatusNotFound || strings.Count(body, "\n") != 1 {
			t.Errorf("%s: %d %q, want 404 and one line", path, status, body)
		}
	}
}

func TestAnotherMethodIsNotAllowed(t *testing.T) {
	e := start(t, nil)
	for _, row := range []struct{ method, path, allow string }{
		{"GET", "/v1/catalog/register", "PUT"},
		{"POST", "/v1/agent/check/register", "PUT"},
		{"POST", "/v1/agent/service/register", "GET, HEAD, PUT"}, // there may be a service of that name
		{"DELETE", "/v1/agent/services", "GET, HEAD"},
		{"PUT", "/", "GET, HEAD"},
	} {
		status, _, header := e.do(row.method, row.path, "")
		if status != http.StatusMethodNotAllowed || header.Get("Allow") != row.allow {
			t.Errorf("%s %s: %d, Allow %q, want 405, Allow %q", row.method, row.path, status, header.Get("Allow"), row.allow)
		}
		status, body, header := e.do("OPTIONS", row.path, "", "Origin", "http://evil.example", "Access-Control-Request-Method", "PUT")
		if status != http.StatusNoContent || body != "" || header.Get("Allow") != row.allow || header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("OPTIONS %s: %d %q, want 204 and the same", row.path, status, header)
		}
	}
}

func TestTheEndOfTheServerEndsWhatWaits(t *testing.T) {
	r, err := embedded.Open(t.Context(), embedded.Config{Node: registry.Node{Name: "n1", Address: "10.0.0.1"}})
	check(t, err)
	defer r.Close()
	s, err := New(Config{Registry: r, Node: "n1", Datacenter: "dc1"})
	check(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()

	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	events, err := client.Get("http://" + listener.Addr().String() + "/v1/events")
	check(t, err)
	defer events.Body.Close()
	first := make([]byte, 1)
	if _, err := events.Body.Read(first); err != nil {
		t.Fatalf("the stream does not begin: %v", err)
	}
	stop()
	select {
	case err := <-served:
		check(t, err)
	case <-time.After(4 * time.Second):
		t.Fatal("the server waits for a stream that never ends")
	}
	if _, err := io.ReadAll(events.Body); err != nil {
		t.Errorf("the stream was broken off: %v", err)
	}
}

func TestAPanicIsAnsweredCountedAndForgotten(t *testing.T) {
	e := start(t, func(c *Config) { c.Explain = func(string, string) (any, error) { panic("kaboom") } })
	status, body, _ := e.do("GET", "/v1/explain/web", "")
	if status != http.StatusInternalServerError || strings.Contains(body, "kaboom") {
		t.Errorf("%d %q, want 500 without the panic's words", status, body)
	}
	if metrics := e.must("GET", "/metrics", ""); !strings.Contains(metrics, "rollcall_http_panics_total 1\n") {
		t.Error("the panic was not counted")
	}
}

func TestStatusOfAnError(t *testing.T) {
	for _, row := range []struct {
		err  error
		want int
	}{
		{registry.Errorf(registry.Invalid, "x"), 400},
		{registry.Errorf(registry.NotFound, "x"), 404},
		{registry.Errorf(registry.Conflict, "x"), 409},
		{registry.Errorf(registry.Forbidden, "x"), 403},
		{registry.Errorf(registry.Unavailable, "x"), 503},
		{registry.Errorf(registry.Full, "x"), 507},
		{errors.New("x"), 500},
		{&http.MaxBytesError{}, 413},
	} {
		if got := statusOf(row.err); got != row.want {
			t.Errorf("%#v: %d, want %d", row.err, got, row.want)
		}
	}
}

func TestRequestsAreCountedByRoute(t *testing.T) {
	e := start(t, nil)
	e.must("GET", "/v1/health/service/secret-name", "")
	e.do("GET", "/v1/another-secret", "")
	metrics := e.must("GET", "/metrics", "")
	for _, line := range []string{
		`rollcall_http_requests_total{code="2xx",handler="/v1/health/service"} 1`,
		`rollcall_http_requests_total{code="4xx",handler="other"} 1`,
		`rollcall_http_request_duration_seconds_count{api="other"} 1`,
		`rollcall_http_inflight_requests 0`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	if strings.Contains(metrics, "secret") {
		t.Error("/metrics shows what was asked for")
	}
}

func TestAReplyIsPrettyWhenAskedTo(t *testing.T) {
	w := httptest.NewRecorder()
	check(t, reply(w, httptest.NewRequest("GET", "/?pretty", nil), map[string]int{"a": 1}))
	diff(t, "body", w.Body.String(), "{\n    \"a\": 1\n}\n")
}
