package embedded

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.etcd.io/bbolt"

	"github.com/rollcall-dns/rollcall/registry"
)

// metrics counts what the registry does.
type metrics struct {
	operations *prometheus.CounterVec
	writes     prometheus.Counter
	fsync      prometheus.Histogram
	size       prometheus.Gauge
	spread     prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	with := promauto.With(r)
	return &metrics{
		operations: with.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_registry_operations_total",
			Help: "Registrations, deregistrations and status updates, by result.",
		}, []string{"operation", "result"}),
		writes: with.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_store_writes_total",
			Help: "Transactions written to disk; each holds the operations that waited for it.",
		}),
		fsync: with.NewHistogram(prometheus.HistogramOpts{
			Name:    "rollcall_store_fsync_duration_seconds",
			Help:    "Time to write a transaction and sync it to disk.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 2, 14),
		}),
		size: with.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_store_size_bytes",
			Help: "Size of the registry's file.",
		}),
		spread: with.NewHistogram(prometheus.HistogramOpts{
			Name:        "rollcall_propagation_seconds",
			Help:        "Time from when a change is known here to when answers show it.",
			ConstLabels: prometheus.Labels{"source": "embedded"},
			Buckets:     prometheus.ExponentialBuckets(25e-6, 4, 10),
		}),
	}
}

// done counts an operation.
func (m *metrics) done(kind opKind, err error) {
	result := "ok"
	if err != nil {
		result = [...]string{
			registry.Internal: "error", registry.Invalid: "invalid", registry.NotFound: "not_found", registry.Conflict: "conflict",
			registry.Forbidden: "forbidden", registry.Unavailable: "unavailable", registry.Full: "full",
		}[registry.CodeOf(err)]
	}
	m.operations.WithLabelValues(kind.String(), result).Inc()
}

// published measures how long each of a group of operations took, from its request
// to the View, that changed something.
func (m *metrics) published(group []*op) {
	now := time.Now()
	for _, o := range group {
		if o.changed {
			m.spread.Observe(now.Sub(o.now).Seconds())
		}
	}
}

// wrote counts a transaction.
func (m *metrics) wrote(took time.Duration, db *bbolt.DB) {
	m.writes.Inc()
	m.fsync.Observe(took.Seconds())
	_ = db.View(func(tx *bbolt.Tx) error {
		m.size.Set(float64(tx.Size()))
		return nil
	})
}
