package admin

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics counts requests, by the route that answered them and never by the path or
// the method, which may be anything: what a client has wrong makes no series that what
// it has right would not. All of HTTP has to fit beside DNS and checks into the 500
// that rollcall has.
type metrics struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	inflight  prometheus.Gauge
	panics    prometheus.Counter
	refused   prometheus.Counter
	watchers  prometheus.Gauge
	events    prometheus.Counter
	explained prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	with := promauto.With(r)
	return &metrics{
		requests: with.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_http_requests_total", Help: "Requests to the HTTP endpoint.",
		}, []string{"handler", "code"}),
		duration: with.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_http_request_duration_seconds", Help: "Time to answer a request; a blocking query's includes its wait.",
			Buckets:                     prometheus.ExponentialBuckets(1e-3, 10, 4),
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"api"}),
		inflight: with.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_http_inflight_requests", Help: "Requests being answered.",
		}),
		panics: with.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_http_panics_total", Help: "Requests that ended in a panic.",
		}),
		refused: with.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_http_refused_connections_total", Help: "Connections turned away because too many were open.",
		}),
		watchers: with.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_watch_clients", Help: "Blocking queries and event streams that are open.",
		}),
		events: with.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_watch_events_total", Help: "Events sent to event streams.",
		}),
		explained: with.NewHistogram(prometheus.HistogramOpts{
			Name: "rollcall_explain_duration_seconds", Help: "Time to explain an answer.",
			Buckets: prometheus.ExponentialBuckets(10e-6, 4, 8),
		}),
	}
}

// measure counts what a route answers.
func (m *metrics) measure(pattern string, next http.Handler) http.Handler {
	_, path, ok := strings.Cut(pattern, " ")
	if !ok {
		path = pattern
	}
	requests, duration := m.requests.MustCurryWith(prometheus.Labels{"handler": handlerOf(path)}), m.duration.WithLabelValues(apiOf(path))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.inflight.Inc()
		defer m.inflight.Dec()
		seen, start := watch(w), time.Now()
		next.ServeHTTP(seen, r)
		duration.Observe(time.Since(start).Seconds())
		requests.WithLabelValues(codeLabel(seen.status)).Inc()
	})
}

// handlerOf returns the label of a route: what of its path is before its parameters,
// three parts at most, and one for all that the page asks for. What registrations and
// checks do is counted by the registry, too.
func handlerOf(path string) string {
	if strings.HasPrefix(path, "/v1/overview") {
		return "/v1/overview"
	}
	path, _, _ = strings.Cut(path, "{")
	parts := strings.SplitN(strings.TrimSuffix(path, "/"), "/", 5)
	return cmp.Or(strings.Join(parts[:min(len(parts), 4)], "/"), "/")
}

// apiOf returns the part of the endpoint that a route belongs to. A histogram of each
// route would be more series than all others together.
func apiOf(path string) string {
	_, api, _ := strings.Cut(path, "/v1/")
	api, _, _ = strings.Cut(api, "/")
	switch api {
	case "agent", "catalog", "health":
		return api
	}
	return "other"
}

// codeLabel returns the class of a status.
func codeLabel(status int) string {
	switch {
	case status >= 500:
		return "5xx"
	case status >= 400:
		return "4xx"
	case status >= 300:
		return "3xx"
	}
	return "2xx"
}
