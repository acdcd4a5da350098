package consul

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics tell how the view is kept. None is labelled with a name: the number
// of services is somebody else's to choose.
type metrics struct {
	watches     prometheus.Gauge
	connections prometheus.Gauge
	errors      *prometheus.CounterVec // by kind of failure
	lastSuccess prometheus.Gauge
	drift       prometheus.Counter
	rejected    prometheus.Counter
	stale       prometheus.Gauge
	age         prometheus.GaugeFunc
	lag         prometheus.Gauge
	answers     *prometheus.CounterVec // by whether they changed the View
	index       *prometheus.GaugeVec   // by question, of those that see the whole of Consul
	spread      prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, f *freshness) (*metrics, error) {
	m := &metrics{
		watches: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_watch_open", Help: "Services that have a blocking query of their own at Consul."}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_watch_connections", Help: "Connections to Consul that are open."}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_watch_errors_total", Help: "Questions to Consul without a usable answer, by what went wrong."}, []string{"kind"}),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_watch_last_success_timestamp_seconds", Help: "When Consul last gave a usable answer."}),
		drift: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_watch_drift_found_total", Help: "Services that a full re-listing found changed although no watch had told."}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_watch_rejected_total", Help: "Nodes and instances left out of an answer because they were malformed."}),
		stale: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_view_stale", Help: "1 while the view cannot be kept fresh, or is not complete yet."}),
	}
	m.age = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rollcall_view_stale_seconds", Help: "For how long the view could not be kept fresh; 0 while it is."},
		func() float64 { return f.age(time.Now()).Seconds() })
	m.lag = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "rollcall_watch_lag_seconds", Help: "How long before its newest answer the server that gave it had heard from its leader."})
	m.answers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rollcall_watch_answers_total", Help: "Answers of Consul, by whether they changed something."}, []string{"result"})
	m.index = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rollcall_watch_index", Help: "Consul's index of the newest answer to each question that sees all of it."}, []string{"question"})
	m.spread = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "rollcall_propagation_seconds", Help: "Time from when a change is known here to when answers show it.",
		ConstLabels: prometheus.Labels{"source": "consul"}, Buckets: prometheus.ExponentialBuckets(25e-6, 4, 10)})
	m.stale.Set(1)
	for _, result := range []string{"changed", "unchanged"} {
		m.answers.WithLabelValues(result)
	}
	for _, kind := range errorKinds {
		m.errors.WithLabelValues(kind)
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.watches, m.connections, m.errors, m.lastSuccess, m.drift, m.rejected, m.stale, m.age, m.lag, m.answers, m.index, m.spread} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of the watches: %w", err)
		}
	}
	return m, nil
}

// answered counts an answer.
func (m *metrics) answered(changed bool) {
	result := "unchanged"
	if changed {
		result = "changed"
	}
	m.answers.WithLabelValues(result).Inc()
}
