package transfer

import "github.com/prometheus/client_golang/prometheus"

// metrics are what is measured. The labels zone and secondary have what the
// configuration gives, and nothing else.
type metrics struct {
	transfers     *prometheus.CounterVec
	refused       prometheus.Counter
	badSignatures *prometheus.CounterVec
	notifies      *prometheus.CounterVec
	journalled    *prometheus.GaugeVec
	reachable     *prometheus.GaugeVec
	behind        *prometheus.GaugeVec
}

func newMetrics() *metrics {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rollcall_transfer_" + name, Help: help}, []string{label})
	}
	ofSecondary := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "rollcall_transfer_secondary_" + name, Help: help}, []string{"zone", "secondary"})
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
		reachable: ofSecondary("reachable", "1 where the secondary replied when it was asked last, 0 where it did not."),
		behind:    ofSecondary("behind_seconds", "For how long the secondary has not had what the zone had then; 0 while it follows."),
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
	return []prometheus.Collector{m.transfers, m.refused, m.badSignatures, m.notifies, m.journalled, m.reachable, m.behind}
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
