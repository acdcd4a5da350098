package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-dns/rollcall/zones"
	"github.com/rollcall-dns/rollcall/zones/static"
)

// openZoneFiles reads the zone files that values name, each as ZONE=PATH. The error
// has a line for each that is wrong.
func openZoneFiles(values []string, logger *slog.Logger) (files static.Files, err error) {
	var mistakes []error
	for _, value := range values {
		zone, path, ok := strings.Cut(value, "=")
		if _, isName := dns.IsDomainName(zone); !ok || !isName || zone == "" || path == "" {
			mistakes = append(mistakes, fmt.Errorf("%q has not the form ZONE=PATH", value))
			continue
		}
		file, err := static.Open(zone, path, logger)
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		files = append(files, file)
	}
	return files, errors.Join(mistakes...)
}

// shadowInterval is how often the names of zone files are looked for in the
// registry, if it has changed.
const shadowInterval = 10 * time.Second

// zoneFileMetrics are the metrics of the zone files in force.
type zoneFileMetrics struct{ current *atomic.Pointer[inForce] }

// Describe implements prometheus.Collector.
func (m zoneFileMetrics) Describe(descs chan<- *prometheus.Desc) { static.Files(nil).Describe(descs) }

// Collect implements prometheus.Collector.
func (m zoneFileMetrics) Collect(found chan<- prometheus.Metric) {
	m.current.Load().settings.zoneFiles.Collect(found)
}

// followZoneFiles reads the zone files in force anew when they change, until ctx
// ends, and logs which of their names are registered, too.
func (s *server) followZoneFiles(ctx context.Context) error {
	return s.whileInForce(ctx, s.followThese)
}

func (s *server) followThese(ctx context.Context, now *inForce) error {
	group, ctx := errgroup.WithContext(ctx)
	changed := make(chan struct{}, 1)
	for _, file := range now.settings.zoneFiles {
		group.Go(func() error {
			return file.Run(ctx, func() {
				select {
				case changed <- struct{}{}:
				default:
				}
			})
		})
	}
	group.Go(func() error {
		ticker := time.NewTicker(shadowInterval)
		defer ticker.Stop()
		var told map[string]bool
		for seen := uint64(0); ; {
			view := s.registry.View()
			told, seen = s.tellShadowed(now.zones, told), view.ContentIndex()
			for waiting := true; waiting; {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-changed:
					waiting = false
				case <-ticker.C:
					waiting = s.registry.View().ContentIndex() == seen
				}
			}
		}
	})
	return group.Wait()
}

// tellShadowed logs the names of zone files that are registered and were not told
// before. It returns all that are registered now.
func (s *server) tellShadowed(z *zones.Zones, told map[string]bool) map[string]bool {
	const most = 10 // lines at once
	now, lines, more := make(map[string]bool), 0, 0
	for zone, name := range z.Shadowed(s.registry.View()) {
		now[name] = true
		switch {
		case told[name]:
		case lines < most:
			lines++
			s.settings.logger.Warn("a name in a zone file is registered, too: the registry wins", "name", name, "zone", zone.Name, "file", zone.Path())
		default:
			more++
		}
	}
	if more > 0 {
		s.settings.logger.Warn("more names in zone files are registered, too", "names", more)
	}
	return now
}
