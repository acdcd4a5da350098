package forward

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What becomes of questions.
const (
	hit        = iota // answered with what was kept
	miss              // asked of an upstream
	prefetched        // of these, before the answer ran out
	staleGiven        // answered with what had run out
	failed            // nobody answered
	refused           // not asked: too many waited
	outcomes
)

var outcomeNames = [outcomes]string{"hit", "miss", "prefetch", "stale", "failed", "refused"}

// metrics count. Their labels are upstreams, which the user names, and words of
// this file.
type metrics struct {
	counts   [outcomes]atomic.Uint64
	duration *prometheus.HistogramVec
	rebound  prometheus.Counter
	loops    prometheus.Counter
	newest   atomic.Pointer[Asker] // the one that is run; nil: none is
}

func newMetrics() *metrics {
	return &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_forward_upstream_duration_seconds", Help: "Time until an upstream replied, by its response code.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 3, 9),
		}, []string{"upstream", "rcode"}),
		rebound: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_forward_rebound_total", Help: "Private addresses that were taken out of the answers of public upstreams.",
		}),
		loops: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_forward_loops_total", Help: "Times that an upstream was found to send back here what it is asked.",
		}),
	}
}

func (m *metrics) count(outcome int) { m.counts[outcome].Add(1) }

func (m *metrics) asked(upstream, rcode string, start time.Time) {
	m.duration.WithLabelValues(upstream, rcode).Observe(time.Since(start).Seconds())
}

// register publishes the figures under rollcall_forward_.
func (m *metrics) register(r prometheus.Registerer) error {
	collectors := []prometheus.Collector{
		m.duration, m.rebound, m.loops,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "rollcall_forward_waiting", Help: "Questions that wait for an upstream.",
		}, func() float64 {
			if a := m.newest.Load(); a != nil {
				return float64(a.budget.waiting())
			}
			return 0
		}),
		upstreamsUp{m, prometheus.NewDesc("rollcall_forward_upstream_up", "Whether an upstream answers.", []string{"upstream"}, nil)},
	}
	for i := range m.counts {
		collectors = append(collectors, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "rollcall_forward_requests_total", Help: "Questions for names of others, by what became of them.",
			ConstLabels: prometheus.Labels{"outcome": outcomeNames[i]},
		}, func() float64 { return float64(m.counts[i].Load()) }))
	}
	for _, c := range collectors {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register the metrics of forwarding: %w", err)
		}
	}
	return nil
}

// upstreamsUp collects which upstreams answer.
type upstreamsUp struct {
	m    *metrics
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c upstreamsUp) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements prometheus.Collector.
func (c upstreamsUp) Collect(found chan<- prometheus.Metric) {
	a := c.m.newest.Load()
	if a == nil {
		return
	}
	up := make(map[string]float64) // one may be asked for several domains
	for _, u := range a.upstreams() {
		up[u.name] = 1
		if u.down.Load() || u.loops.Load() {
			up[u.name] = 0
		}
	}
	for name, value := range up {
		found <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, value, name)
	}
}
