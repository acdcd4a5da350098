package static

import "github.com/prometheus/client_golang/prometheus"

// Files are the zone files of a server, as a prometheus.Collector. The label zone
// has the names that the configuration gives, and no others.
type Files []*File

var (
	serialDesc  = desc("serial", "Serial of the zone as it was read last without a mistake.")
	recordsDesc = desc("records", "Records of the zone.")
	wrongDesc   = desc("wrong", "1 where the file has a mistake now, and the zone is as it was before.")
	readsDesc   = desc("reads_total", "Readings of the file.", "result")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rollcall_zone_file_"+name, help, append([]string{"zone"}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (Files) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{serialDesc, recordsDesc, wrongDesc, readsDesc} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (fs Files) Collect(found chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, f *File, value float64) {
		found <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, f.name)
	}
	for _, f := range fs {
		zone, wrong := f.Zone(), 0.0
		if f.failed.Load() {
			wrong = 1
		}
		gauge(serialDesc, f, float64(zone.Serial()))
		gauge(recordsDesc, f, float64(zone.Len()))
		gauge(wrongDesc, f, wrong)
		for i, result := range [2]string{"error", "ok"} {
			found <- prometheus.MustNewConstMetric(readsDesc, prometheus.CounterValue, float64(f.counts[i].Load()), f.name, result)
		}
	}
}
