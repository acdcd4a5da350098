package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/rollcall-dns/rollcall/dnsserver"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/admin"
)

// tracing sends OpenTelemetry traces to a collector, as the standard environment
// variables (OTEL_EXPORTER_OTLP_ENDPOINT and the others) say. Nothing of it exists
// where they name no collector: all methods of nil do nothing.
//
// The other packages know nothing of it: each offers a place for what happens
// around its work.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	headers  propagation.TraceContext
}

// flushWithin bounds how long the end of the program waits for the collector.
const flushWithin = 2 * time.Second

// openTracing returns nil where nothing is to be traced.
func openTracing(ctx context.Context, logger *slog.Logger) (*tracing, error) {
	if !tracingWanted(logger) {
		return nil, nil
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { logger.Warn("traces could not be sent", "err", err) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fail(exitUsage, "setting up traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "rollcall"), attribute.String("service.version", buildVersion().Version)),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv(),
	)
	if err != nil {
		logger.Warn("traces do not tell all of where they are from", "err", err)
	}
	t := &tracing{provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))}
	t.tracer = t.provider.Tracer("github.com/rollcall-dns/rollcall")
	return t, nil
}

// tracingWanted follows the environment. A protocol that is not spoken is no reason
// to answer nobody.
func tracingWanted(logger *slog.Logger) bool {
	value := func(names ...string) string {
		for _, name := range names {
			if v := os.Getenv(name); v != "" {
				return v
			}
		}
		return ""
	}
	if value("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") == "" ||
		strings.EqualFold(value("OTEL_SDK_DISABLED"), "true") || value("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	if p := value("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); p != "" && p != "http/protobuf" {
		logger.Warn("nothing is traced: OTEL_EXPORTER_OTLP_PROTOCOL has to be http/protobuf", "protocol", p)
		return false
	}
	return true
}

// close sends what is left.
func (t *tracing) close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what could not be sent was logged
	return nil
}

// route is admin.Config's: a span for each request to a route, within the one that
// the client tells of.
func (t *tracing) route() func(pattern string, next http.Handler) http.Handler {
	if t == nil {
		return nil
	}
	return func(pattern string, next http.Handler) http.Handler {
		method, path, _ := strings.Cut(pattern, " ")
		if path == "/healthz" || path == "/readyz" {
			return next // nobody wants to read of those
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, span := t.tracer.Start(t.headers.Extract(r.Context(), propagation.HeaderCarrier(r.Header)), pattern,
				trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
					attribute.String("http.request.method", method), attribute.String("http.route", path),
					attribute.String("url.path", r.URL.Path), attribute.String("client.address", hostOnly(r.RemoteAddr)),
					attribute.String("http.request.header.x-request-id", admin.RequestID(r)),
				))
			defer span.End()
			seen := &statusSeen{ResponseWriter: w, status: http.StatusOK}
			next.ServeHTTP(seen, r.WithContext(ctx))
			span.SetAttributes(attribute.Int("http.response.status_code", seen.status))
			if seen.status >= 500 {
				span.SetStatus(codes.Error, http.StatusText(seen.status))
			}
		})
	}
}

// statusSeen remembers the status of a reply.
type statusSeen struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusSeen) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the writer underneath.
func (w *statusSeen) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func hostOnly(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// transport is consul.Config's: a span for each request to Consul, the watches
// among them, which Consul may answer after minutes.
func (t *tracing) transport() func(http.RoundTripper) http.RoundTripper {
	if t == nil {
		return nil
	}
	return func(next http.RoundTripper) http.RoundTripper { return tracedTransport{t, next} }
}

type tracedTransport struct {
	*tracing
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper. The span ends with the answer's header.
func (t tracedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, span := t.tracer.Start(request.Context(), "consul "+request.Method+" "+endpointOf(request.URL.Path),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("http.request.method", request.Method), attribute.String("server.address", request.URL.Host),
			attribute.String("url.path", request.URL.Path), attribute.Bool("rollcall.watch", request.URL.Query().Get("index") != ""),
		))
	defer span.End()
	request = request.Clone(ctx)
	t.headers.Inject(ctx, propagation.HeaderCarrier(request.Header))
	response, err := t.next.RoundTrip(request)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		return nil, err
	}
	span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
	if response.StatusCode >= 400 {
		span.SetStatus(codes.Error, response.Status)
	}
	return response, nil
}

// endpointOf returns what of a path of Consul's API is no name of anything.
func endpointOf(path string) string {
	parts := strings.SplitN(path, "/", 5) // "", v1, health, service, web
	return strings.Join(parts[:min(len(parts), 4)], "/")
}

// check is health.Config's: a span for each probe.
func (t *tracing) check() func(context.Context, *registry.Check) (context.Context, func(registry.Status, string)) {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, c *registry.Check) (context.Context, func(registry.Status, string)) {
		ctx, span := t.tracer.Start(ctx, "check "+c.Definition.Kind(), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("rollcall.check", c.ID), attribute.String("rollcall.service", c.Service),
			attribute.String("rollcall.instance", c.InstanceID), attribute.String("rollcall.node", c.Node),
		))
		return ctx, func(status registry.Status, output string) {
			span.SetAttributes(attribute.String("rollcall.status", status.String()))
			if status == registry.Critical {
				span.SetStatus(codes.Error, output)
			}
			span.End()
		}
	}
}

// observer makes a span of one DNS query in so many.
func (t *tracing) observer(every int) []dnsserver.Observer {
	if t == nil || every <= 0 {
		return nil
	}
	return []dnsserver.Observer{{Every: every, See: t.query}}
}

func (t *tracing) query(e *dnsserver.Exchange) {
	attributes := []attribute.KeyValue{
		attribute.String("network.transport", e.Transport), attribute.String("client.address", e.From.Addr().String()),
		attribute.Int("rollcall.reply.size", len(e.Reply)),
	}
	const header = 12
	if name, end, err := dns.UnpackDomainName(e.Query, header); err == nil && len(e.Query) >= end+4 {
		qtype := dns.Type(uint16(e.Query[end])<<8 | uint16(e.Query[end+1]))
		attributes = append(attributes, attribute.String("dns.question.name", name), attribute.String("dns.question.type", qtype.String()))
	}
	if len(e.Reply) >= header {
		attributes = append(attributes, attribute.String("dns.response_code", dns.RcodeToString[int(e.Reply[3]&0xf)]))
	}
	_, span := t.tracer.Start(context.Background(), "dns", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithTimestamp(e.Began), trace.WithAttributes(attributes...))
	span.End(trace.WithTimestamp(e.Ended))
}

// registry makes a span of each write to a registry.
func (t *tracing) registry(r registry.Registry) registry.Registry {
	if t == nil {
		return r
	}
	return tracedRegistry{r, t}
}

type tracedRegistry struct {
	registry.Registry
	tracing *tracing
}

// write makes a write within a span.
func (r tracedRegistry) write(ctx context.Context, name string, attributes []attribute.KeyValue, write func(context.Context) error) error {
	ctx, span := r.tracing.tracer.Start(ctx, name, trace.WithAttributes(attributes...))
	defer span.End()
	err := write(ctx)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return err
}

// Register implements registry.Registry.
func (r tracedRegistry) Register(ctx context.Context, g registry.Registration) error {
	attributes := []attribute.KeyValue{attribute.Int("rollcall.checks", len(g.Checks))}
	if i := g.Instance; i != nil {
		attributes = append(attributes, attribute.String("rollcall.service", i.Service), attribute.String("rollcall.instance", i.ID))
	}
	return r.write(ctx, "register", attributes, func(ctx context.Context) error { return r.Registry.Register(ctx, g) })
}

// Deregister implements registry.Registry.
func (r tracedRegistry) Deregister(ctx context.Context, d registry.Deregistration) error {
	attributes := []attribute.KeyValue{
		attribute.String("rollcall.node", d.Node), attribute.String("rollcall.instance", d.InstanceID), attribute.String("rollcall.check", d.CheckID),
	}
	return r.write(ctx, "deregister", attributes, func(ctx context.Context) error { return r.Registry.Deregister(ctx, d) })
}

// SetStatus implements registry.Registry.
func (r tracedRegistry) SetStatus(ctx context.Context, u registry.StatusUpdate) error {
	attributes := []attribute.KeyValue{
		attribute.String("rollcall.node", u.Node), attribute.String("rollcall.check", u.CheckID), attribute.String("rollcall.status", u.Status.String()),
	}
	return r.write(ctx, "set status", attributes, func(ctx context.Context) error { return r.Registry.SetStatus(ctx, u) })
}
