package health

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/rollcall-dns/rollcall/registry"
)

// metrics counts what the Runner does.
type metrics struct {
	checks    *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	running   prometheus.Gauge
	scheduled prometheus.Gauge
	reaped    prometheus.Counter
	spared    prometheus.Gauge
	unexpired prometheus.Gauge
	held      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	with := promauto.With(r)
	return &metrics{
		checks: with.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_checks_total", Help: "Results of checks, by kind.",
		}, []string{"kind", "result"}),
		duration: with.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_check_duration_seconds", Help: "Time that a probe took.",
			Buckets: prometheus.ExponentialBuckets(1e-3, 5, 6),
		}, []string{"kind"}),
		running: with.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_checks_running", Help: "Probes that are running.",
		}),
		scheduled: with.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_checks_scheduled", Help: "Checks that are run.",
		}),
		held: with.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_checks_held_total", Help: "Times that a check was held critical because it changed too often.",
		}),
		spared: with.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_checks_deregistration_paused", Help: "Whether no critical instance is deregistered, as too many are critical at once.",
		}),
		unexpired: with.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_checks_expiry_paused", Help: "Whether no heartbeat expires, as too many are late at once.",
		}),
		reaped: with.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_checks_deregistered_total", Help: "Instances deregistered because a check stayed critical.",
		}),
	}
}

// probed counts a result. A heartbeat that did not come took no time.
func (m *metrics) probed(kind string, status registry.Status, took time.Duration) {
	m.checks.WithLabelValues(kind, status.String()).Inc()
	if kind != "ttl" {
		m.running.Dec()
		m.duration.WithLabelValues(kind).Observe(took.Seconds())
	}
}
