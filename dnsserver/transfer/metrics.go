package transfer

import "github.com/prometheus/client_golang/prometheus"

// metrics are what is measured. The label zone has the names that the configuration
// gives, and no others.
type metrics struct {
	transfers     *prometheus.CounterVec
	refused       prometheus.Counter
	badSignatures *prometheus.CounterVec
	notifies      *prometheus.CounterVec
	journalled    *prometheus.GaugeVec
}

func newMetrics() *metrics {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rollcall_transfer_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		transfers: counter("replies_total", "Transfers, by what was sent: the whole zone, the changes, or the SOA alone.", "kind"),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_transfer_refused_total", Help: "Requests for transfers that were refused.",
		}),
		badSignatures: counter("bad_signatures_total", "Requests with a signature that is not good.", "error"),
		notifies:      counter("notifies_total", "Notifications, by what became of them.", "result"),
		journalled: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rollcall_transfer_journal_bytes", Help: "Memory that the changes of a zone take.",
		}, []string{"zone"}),
	}
	for vec, values := range map[*prometheus.CounterVec][]string{
		m.transfers: {"axfr", "ixfr", "soa"}, m.badSignatures: {"BADKEY", "BADSIG", "BADTIME"}, m.notifies: {"sent", "acknowledged", "given_up"},
	} {
		for _, value := range values {
			vec.WithLabelValues(value) // so that there is a zero from the start
		}
	}
	return m
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.transfers, m.refused, m.badSignatures, m.notifies, m.journalled}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(descs)
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(found chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(found)
	}
}
