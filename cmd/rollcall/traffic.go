package main

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-dns/rollcall/dnsserver"
	"github.com/rollcall-dns/rollcall/registry/admin"
)

// trafficOf returns what reads the DNS server's own metrics for the page. They are
// in a registry of their own, so that reading them counts through no View.
func trafficOf(metrics prometheus.Gatherer) func() admin.Traffic {
	return func() admin.Traffic {
		t := admin.Traffic{Responses: make(map[string]uint64)}
		families, err := metrics.Gather()
		if err != nil {
			return t
		}
		for _, family := range families {
			for _, m := range family.Metric {
				switch family.GetName() {
				case "rollcall_dns_requests_total":
					t.Queries += uint64(m.Counter.GetValue())
				case "rollcall_dns_responses_total":
					for _, label := range m.Label {
						if label.GetName() == "rcode" {
							t.Responses[label.GetValue()] += uint64(m.Counter.GetValue())
						}
					}
				case "rollcall_dns_request_duration_seconds":
					for n, bucket := range m.Histogram.Bucket {
						if n == len(t.Durations) {
							t.Durations = append(t.Durations, admin.DurationCount{UpTo: time.Duration(math.Round(bucket.GetUpperBound() * 1e9))})
						}
						t.Durations[n].Count += bucket.GetCumulativeCount()
					}
				}
			}
		}
		return t
	}
}

// askedOf returns what tells the page which names are asked for.
func askedOf(s *dnsserver.Server) func() admin.Asked {
	return func() admin.Asked {
		names := s.TakeNames()
		asked := admin.Asked{Questions: names.Questions}
		for _, n := range names.Asked {
			asked.Names = append(asked.Names, admin.NameCount(n))
		}
		return asked
	}
}
