package main

import (
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
)

// newMetrics returns the metrics of the process: those of Go, of the build, and
// of the registry's newest View. The components add their own.
func newMetrics(view func() *registry.View) *prometheus.Registry {
	metrics := prometheus.NewRegistry()
	b := buildVersion()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rollcall_build_info", Help: "What this rollcall was built from; the value is always 1.",
	}, []string{"version", "revision", "goversion"})
	build.WithLabelValues(b.Version, b.Revision, runtime.Version()).Set(1)
	metrics.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build,
		newViewMetrics(view),
	)
	return metrics
}

// newPanicMetric tells how many services are answered as if all were well.
func newPanicMetric(view func() *registry.View, z func() *zones.Zones) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rollcall_services_panicking", Help: "Services that are answered with all instances, as fewer than --panic-below are well.",
	}, func() float64 { return float64(z().Panicking(view())) })
}

// viewMetrics tells of the newest View, which it counts through when somebody
// asks and at no other time.
type viewMetrics struct {
	view func() *registry.View

	mu   sync.Mutex
	last *registry.View // the View that was counted last
	seen time.Time      // when that was seen first
	all  counts

	services, instances, version, age, serial *prometheus.Desc
}

// counts are the instances by their status.
type counts [registry.Critical + 1]int

func newViewMetrics(view func() *registry.View) *viewMetrics {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("rollcall_"+name, help, labels, nil)
	}
	return &viewMetrics{
		view:      view,
		services:  describe("services", "Services that are registered."),
		instances: describe("instances", "Instances that are registered, by the worst status of their checks and their node's.", "status"),
		version:   describe("view_version", "Index of the newest view of the registry."),
		age:       describe("view_age_seconds", "Seconds since a scrape first saw the newest view; it grows as long as nothing changes."),
		serial:    describe("zone_serial", "Serial number in the zones' SOA records."),
	}
}

// Describe implements prometheus.Collector.
func (m *viewMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.services, m.instances, m.version, m.age, m.serial} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (m *viewMetrics) Collect(metrics chan<- prometheus.Metric) {
	v, all, age := m.count(time.Now())
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(m.services, float64(v.ServicesLen()))
	for status := registry.Passing; status <= registry.Critical; status++ {
		gauge(m.instances, float64(all[status]), status.String())
	}
	gauge(m.version, float64(v.Index()))
	gauge(m.age, age.Seconds())
	gauge(m.serial, float64(uint32(v.ContentIndex())))
}

// count returns the newest View, its instances by status, and for how long it
// has been the newest as far as we know.
func (m *viewMetrics) count(now time.Time) (*registry.View, counts, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.view(); v != m.last {
		m.last, m.seen, m.all = v, now, counts{}
		for i := range v.Instances() {
			m.all[v.StatusOf(i)]++
		}
	}
	return m.last, m.all, now.Sub(m.seen)
}
