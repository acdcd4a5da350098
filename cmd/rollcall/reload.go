package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/urfave/cli/v2"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/dnsserver"
	"github.com/rollcall-dns/rollcall/dnsserver/dnstap"
	"github.com/rollcall-dns/rollcall/dnsserver/forward"
	"github.com/rollcall-dns/rollcall/dnsserver/transfer"
	"github.com/rollcall-dns/rollcall/zones"
)

// reloadable are the settings that are in force as soon as they are read anew. All
// others are in force until the program ends, as they are about what it holds: its
// addresses, its registry, its connections to others.
var reloadable = []string{
	"zone", "zone-file", "dnssec-key", "reverse-zone", "ttl", "negative-ttl", "only-passing", "panic-below", "max-answers",
	"rate-limit", "rate-limit-exempt", "udp-gso", "forward", "forward-for", "forward-private", "transfer-to", "notify", "tsig-key-file", "max-stale",
	"admin-host", "admin-token-file", "check-allow", "check-concurrency",
	"consul-token-file", "consul-ca-file", "consul-cert-file", "consul-key-file", "consul-tls-server-name", "consul-pin",
	"dnstap", "dnstap-every", "trace-queries", "drain", "log-level",
}

// inForce is what a reload replaces, all at once.
type inForce struct {
	settings   *settings
	zones      *zones.Zones
	transfers  *transfer.Server
	asker      *forward.Asker // nil: names of others are refused
	tap        *dnstap.Tap    // nil: nobody wants to see queries
	superseded chan struct{}  // closed when something else is in force
}

// reread reads the settings anew, as serve with the same arguments would.
func (s *settings) reread(ctx context.Context) (next *settings, err error) {
	app := newApp()
	app.Command("serve").Action = func(ctx *cli.Context) (err error) {
		next, err = configure(ctx, process{s.logger, s.sockets})
		return err
	}
	err = app.RunContext(ctx, append([]string{"rollcall"}, s.arguments...))
	return next, err
}

// reloadable returns the settings with those of another reading that may change
// while the program runs, the names of those that have changed, and the names of
// those that differ and may not.
func (s *settings) reloaded(next *settings) (merged *settings, changed, kept []string) {
	merged = new(settings)
	*merged = *s
	merged.values, merged.sources = maps.Clone(s.values), maps.Clone(next.sources)
	for name, value := range next.values {
		switch {
		case reflect.DeepEqual(value, s.values[name]):
		case slices.Contains(reloadable, name) && !s.refuses(name, next):
			changed = append(changed, name)
			merged.values[name] = value
		default:
			kept = append(kept, name)
			if from, known := s.sources[name]; known {
				merged.sources[name] = from
			}
		}
	}
	slices.Sort(changed)
	slices.Sort(kept)
	merged.zoneFiles, merged.keys, merged.reverse = next.zoneFiles, next.keys, next.reverse
	merged.transfers, merged.forward = next.transfers, next.forward
	merged.ttl, merged.negativeTTL = next.ttl, next.negativeTTL
	merged.onlyPassing, merged.panicBelow, merged.maxAnswers = next.onlyPassing, next.panicBelow, next.maxAnswers
	merged.rateLimit, merged.udpGSO, merged.maxStale, merged.drain = next.rateLimit, next.udpGSO, next.maxStale, next.drain
	merged.checkConcurrency, merged.adminHosts = next.checkConcurrency, next.adminHosts
	if !slices.Contains(kept, "zone") {
		merged.zones = next.zones
	}
	if !slices.Contains(kept, "admin-token-file") {
		merged.adminTokens, merged.adminTokenFile = next.adminTokens, next.adminTokenFile
	}
	merged.dnstap, merged.traceQueries = next.dnstap, next.traceQueries
	if s.consul != nil && next.consul != nil {
		consul := *s.consul
		if !slices.Contains(kept, "consul-token-file") {
			consul.token = next.consul.token
		}
		consul.caFile, consul.certFile, consul.keyFile = next.consul.caFile, next.consul.certFile, next.consul.keyFile
		consul.serverName, consul.pinned = next.consul.serverName, next.consul.pinned
		merged.consul = &consul
	}
	if !slices.Contains(kept, "admin-addr") { // its default depends on that
		merged.checkAllow = next.checkAllow
	}
	return merged, changed, kept
}

// refuses tells whether a setting, which may be reloaded, may not become that of
// other settings: the primary zone is in what clients were told, a server that asks
// for tokens goes on to, and so does one that shows a token of its own.
func (s *settings) refuses(name string, next *settings) bool {
	switch name {
	case "zone":
		return len(s.zones) == 0 || len(next.zones) == 0 || s.zones[0] != next.zones[0]
	case "admin-token-file":
		return (s.adminTokens == nil) != (next.adminTokens == nil)
	case "consul-pin", "consul-ca-file", "consul-cert-file", "consul-key-file", "consul-tls-server-name":
		return s.consul == nil || next.consul == nil
	case "consul-token-file":
		return s.consul == nil || next.consul == nil || (s.consul.token == "") != (next.consul.token == "")
	}
	return false
}

// whileInForce runs f for what is in force, and again for what is in force then,
// until ctx ends or f fails.
func (s *server) whileInForce(ctx context.Context, f func(context.Context, *inForce) error) error {
	for ctx.Err() == nil {
		now := s.current.Load()
		until, stop := context.WithCancel(ctx)
		go func() {
			defer stop()
			select {
			case <-now.superseded:
			case <-until.Done():
			}
		}()
		err := f(until, now)
		stop()
		if !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return ctx.Err()
}

// makeZones returns the zones of settings.
func (s *server) makeZones(settings *settings) (*zones.Zones, error) {
	names := settings.zones
	if names == nil {
		names = s.registry.zones
	}
	return zones.New(zones.Config{
		Zones:       names,
		Node:        s.registry.node,
		Service:     ownService,
		TTL:         settings.ttl,
		NegativeTTL: settings.negativeTTL,
		OnlyPassing: settings.onlyPassing,
		MaxAnswers:  settings.maxAnswers,
		PanicBelow:  settings.panicBelow,
		Files:       settings.zoneFiles,
		Reverse:     settings.reverse,
		Keys:        settings.keys,
		Refresh:     settings.transfers.refresh(),
	})
}

// dnsConfig says what of all that is in force concerns DNS.
func (s *server) dnsConfig(now *inForce, c *cache.Cache) dnsserver.Config {
	settings := now.settings
	return dnsserver.Config{
		Registry: s.registry, Zones: now.zones, Cache: c, Addrs: settings.dnsAddrs, Given: settings.given, Asker: now.asker,
		TLSAddrs: settings.tlsAddrs, HTTPSAddrs: settings.httpsAddrs, TLS: settings.certificate.config(),
		Freshness: s.registry.freshness, MaxStale: settings.maxStale, RateLimit: settings.rateLimit, UDPSize: settings.udpSize, Unbundled: !settings.udpGSO,
		Transfers: now.transfers, Logger: settings.logger, Metrics: s.answers, Observers: s.observers(now),
	}
}

// reload reads the settings anew and puts them in force, those that may be, with no
// query lost; the notice names the others. Where any setting is wrong, all stay as
// they were.
func (s *server) reload(ctx context.Context) (notice string, err error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if s.supervisor.told.Load() {
		s.supervisor.tell("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonic().Microseconds()))
		defer func() { s.supervisor.tell("READY=1", s.statusLine()) }()
	}
	kept, err := s.tryReload(ctx)
	s.reloads.note(err == nil)
	s.lastReload.Store(reloadResult(kept, err))
	if err != nil {
		s.settings.logger.Error("the configuration stays as it was", "err", err)
	} else if kept != nil {
		notice = strings.Join(kept, ", ") + " will be in force when rollcall is started again"
		s.settings.logger.Warn("some settings will be in force when rollcall is started again", "settings", kept)
	}
	return notice, err
}

// tryReload returns the names of the settings that have to wait.
func (s *server) tryReload(ctx context.Context) (kept []string, err error) {
	if s.settings.arguments == nil {
		return nil, errors.New("the settings of this server are from nowhere")
	}
	next, err := s.settings.reread(ctx)
	if err != nil {
		return nil, err
	}
	old := s.current.Load()
	merged, changed, kept := old.settings.reloaded(next)
	z, err := s.makeZones(merged)
	if err != nil {
		return nil, err
	}
	newest := s.cache.Successor(merged.maxAnswers)
	now := &inForce{
		settings: merged, zones: z, transfers: old.transfers.Successor(s.transferConfig(merged, z)),
		asker: old.asker, tap: old.tap, superseded: make(chan struct{}),
	}
	if slices.Contains(changed, "dnstap") {
		if now.tap, err = s.openTap(merged); err != nil {
			return nil, err
		}
	}
	follow, err := s.registry.prepared(merged)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(changed, func(name string) bool { return strings.HasPrefix(name, "forward") }) {
		if now.asker, err = s.openAsker(merged); err != nil {
			return nil, err
		}
	}
	if err := s.dns.Reconfigure(s.dnsConfig(now, newest)); err != nil {
		if now.asker != nil && now.asker != old.asker {
			now.asker.Close()
		}
		return nil, err
	}
	s.cache = newest
	s.health.Allow(merged.checkAllow)
	s.health.Limit(merged.checkConcurrency)
	follow()
	if merged.level != nil {
		merged.level.Set(next.level.Level())
	}
	s.current.Store(now)
	close(old.superseded)
	if old.asker != nil && old.asker != now.asker {
		s.retiring.Go(func() { old.asker.Retire(s.lives) })
	}
	s.settings.logger.Info("the configuration was read anew", "changed", changed)
	return kept, nil
}

// followReloads reloads whenever a signal asks for it, until ctx ends.
func (s *server) followReloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.settings.hangUps:
			_, _ = s.reload(ctx) // which has logged it
		}
	}
}

// reloads are the metrics of reloads, under the names that Prometheus' own have.
type reloads struct{ successful, last prometheus.Gauge }

func newReloads(metrics prometheus.Registerer) *reloads {
	r := &reloads{
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_config_last_reload_successful", Help: "1 where the configuration that was read last is in force, 0 where it was wrong.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_config_last_reload_success_timestamp_seconds", Help: "When the configuration in force was read.",
		}),
	}
	metrics.MustRegister(r.successful, r.last)
	r.note(true)
	return r
}

// note tells what became of a reload.
func (r *reloads) note(ok bool) {
	if !ok {
		r.successful.Set(0)
		return
	}
	r.successful.Set(1)
	r.last.Set(float64(time.Now().UnixMilli()) / 1000)
}
