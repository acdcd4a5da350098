package dnsserver

import (
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-dns/rollcall/registry"
)

// TestSizesAreMeasuredOfOneQueryInSampling asks for an answer of a known size.
func TestSizesAreMeasuredOfOneQueryInSampling(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80, Address: "10.0.0.2"})
	query, _ := question("web.service.test.", dns.TypeA, 1232).Pack()
	w := l.newWorker("udp")
	var reply []byte
	for range 1000 * sampling {
		reply = w.serve(reply[:0], query, client)
	}
	for _, row := range []struct {
		name     string
		observer prometheus.Observer
		size     int
	}{{"queries", w.asked, len(query)}, {"replies", w.replied, len(reply)}} {
		alone := prometheus.NewPedanticRegistry()
		alone.MustRegister(row.observer.(prometheus.Collector))
		found, err := alone.Gather()
		if err != nil {
			t.Fatal(err)
		}
		h := found[0].GetMetric()[0].GetHistogram()
		if n := h.GetSampleCount(); n < 500 || n > 2000 || h.GetSampleSum() != float64(n)*float64(row.size) {
			t.Errorf("%s: %d of %d were measured, with %v octets", row.name, n, 1000*sampling, h.GetSampleSum())
		}
	}
}
