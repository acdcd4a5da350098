package main

import (
	"compress/gzip"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collect starts a collector, which the environment names from then on, and returns
// what tells of the spans that it was sent, by name.
func collect(t *testing.T) func() map[string]*traces.Span {
	t.Helper()
	var mu sync.Mutex
	spans := make(map[string]*traces.Span)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		data, err := io.ReadAll(body)
		var request collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(data, &request) != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %d octets: %v", r.URL.Path, len(data), err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, of := range request.ResourceSpans {
			for _, kind := range of.ScopeSpans {
				for _, span := range kind.Spans {
					spans[span.Name] = span
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
	return func() map[string]*traces.Span {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(spans)
	}
}

// TestWhatHappensIsTraced follows a registration through HTTP, the registry, its
// check and a query.
func TestWhatHappensIsTraced(t *testing.T) {
	spans := collect(t)
	well := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer well.Close()
	s := start(t, &settings{
		dnsAddrs: []string{"127.0.0.1:0"}, adminAddr: "127.0.0.1:0", zones: []string{"rollcall.internal."},
		dataDir: t.TempDir(), datacenter: "dc1", node: "host-1", nodeAddress: "127.0.0.1",
		ttl: 5 * time.Second, negativeTTL: 5 * time.Second, maxAnswers: 100, logger: slog.New(slog.DiscardHandler), traceQueries: 1,
	})
	put(t, "http://"+s.adminAddr().String()+"/v1/agent/service/register",
		object{"Name": "web", "Port": 80, "Check": object{"HTTP": well.URL, "Interval": "1s"}})
	question := new(dns.Msg).SetQuestion("web.service.rollcall.internal.", dns.TypeSRV)
	if _, _, err := new(dns.Client).Exchange(question, s.dns.Addrs()[0].String()); err != nil {
		t.Fatal(err)
	}
	const request = "PUT /v1/agent/service/register"
	want := []string{request, "register", "check http", "set status", "dns"}
	missing := func() []string {
		there := spans()
		return slices.DeleteFunc(slices.Clone(want), func(name string) bool { return there[name] != nil })
	}
	for deadline := time.Now().Add(15 * time.Second); len(missing()) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("no span tells of %v", missing())
		}
		time.Sleep(10 * time.Millisecond) // waits for the collector
	}
	there := spans()
	has := func(span, key, want string) {
		t.Helper()
		for _, a := range there[span].Attributes {
			if a.Key == key && a.Value.GetStringValue() == want {
				return
			}
		}
		t.Errorf("%s has no %s of %s, but %v", span, key, want, there[span].Attributes)
	}
	has("register", "rollcall.service", "web")
	if string(there["register"].ParentSpanId) != string(there[request].SpanId) {
		t.Error("a write is not within its request")
	}
	has(request, "http.route", "/v1/agent/service/register")
	has("check http", "rollcall.service", "web")
	has("dns", "dns.question.name", "web.service.rollcall.internal.")
	has("dns", "dns.question.type", "SRV")
	has("dns", "dns.response_code", "NOERROR")
}

func TestNothingIsTracedUnlessACollectorIsNamed(t *testing.T) {
	for _, row := range []struct {
		name   string
		env    map[string]string
		traced bool
	}{
		{"nothing is set", nil, false},
		{"a collector is", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, true},
		{"one for traces is", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, true},
		{"it is disabled", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}, false},
		{"traces are not exported", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"}, false},
		{"gRPC is wanted", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
			for name, value := range row.env {
				t.Setenv(name, value)
			}
			tracing, err := openTracing(t.Context(), slog.New(slog.DiscardHandler))
			if err != nil || (tracing != nil) != row.traced {
				t.Errorf("traced: %v, %v", tracing != nil, err)
			}
			if err := tracing.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTheSpansOfConsulNameNoService keeps the names of spans few.
func TestTheSpansOfConsulNameNoService(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/health/service/web": "/v1/health/service", "/v1/catalog/services": "/v1/catalog/services", "/v1/query": "/v1/query", "": "",
	} {
		if got := endpointOf(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
