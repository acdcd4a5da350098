package admin

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics counts requests, by the route that answered them and never by the
// path, which may hold anything.
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
		}, []string{"handler", "method", "code"}),
		duration: with.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_http_request_duration_seconds", Help: "Time to answer a request; a blocking query's includes its wait.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 4, 10),
		}, []string{"api", "method"}),
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
	requests, api := m.requests.MustCurryWith(prometheus.Labels{"handler": path}), apiOf(path)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.inflight.Inc()
		defer m.inflight.Dec()
		seen, start := watch(w), time.Now()
		next.ServeHTTP(seen, r)
		method := methodLabel(r.Method)
		m.duration.WithLabelValues(api, method).Observe(time.Since(start).Seconds())
		requests.WithLabelValues(method, strconv.Itoa(seen.status)).Inc()
	})
}

// apiOf returns the part of the endpoint that a route belongs to. A histogram of each
// route would be more series than all others together.
func apiOf(path string) string {
	_, api, _ := strings.Cut(path, "/v1/")
	api, _, _ = strings.Cut(api, "/")
	switch api {
	case "agent", "catalog", "health", "overview", "events":
		return api
	}
	return "other"
}

// methodLabel returns the label value of a method, which a client chooses freely.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet:
		return "get"
	case http.MethodPut:
		return "put"
	case http.MethodHead:
		return "head"
	case http.MethodPost:
		return "post"
	case http.MethodDelete:
		return "delete"
	case http.MethodOptions:
		return "options"
	}
	return "unknown"
}
