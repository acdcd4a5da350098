package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/urfave/cli/v2"

	"github.com/rollcall-dns/rollcall/dnsserver"
	"github.com/rollcall-dns/rollcall/health"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/admin"
	"github.com/rollcall-dns/rollcall/zones"
)

// readSettings makes settings of the flags' values. It returns every mistake, as
// settingErrors.
func readSettings(ctx *cli.Context, has process) (*settings, []*settingError) {
	r := &settingsReader{ctx: ctx, s: plainSettings(ctx)}
	r.log(has)
	r.s.sockets = has.sockets
	has.sockets.replace(r.s)
	r.registry()
	r.names()
	r.addresses()
	r.zones()
	r.bounds()
	r.networks()
	r.observers()
	r.places()
	r.access()
	if r.s.nodeAddress == "" && r.mistakes == nil {
		r.s.nodeAddress = defaultNodeAddress(r.s.dnsAddrs[0])
	}
	return r.s, r.mistakes
}

// plainSettings returns those that are flags' values as they are.
func plainSettings(ctx *cli.Context) *settings {
	return &settings{
		dnsAddrs:         separate(ctx.StringSlice("dns-addr")),
		tlsAddrs:         separate(ctx.StringSlice("tls-addr")),
		httpsAddrs:       separate(ctx.StringSlice("https-addr")),
		adminAddr:        ctx.String("admin-addr"),
		metricsAddr:      ctx.String("metrics-addr"),
		adminConnections: ctx.Int("admin-connections"),
		adminHosts:       separate(ctx.StringSlice("admin-host")),
		adminTokenFile:   ctx.String("admin-token-file"),
		zones:            separate(ctx.StringSlice("zone")),
		dataDir:          ctx.String("data-dir"),
		datacenter:       ctx.String("datacenter"),
		node:             ctx.String("node"),
		nodeAddress:      ctx.String("node-address"),
		ttl:              ctx.Duration("ttl"),
		negativeTTL:      ctx.Duration("negative-ttl"),
		onlyPassing:      ctx.Bool("only-passing"),
		maxAnswers:       ctx.Int("max-answers"),
		panicBelow:       ctx.Int("panic-below"),
		udpSize:          ctx.Int("udp-size"),
		udpGSO:           ctx.Bool("udp-gso"),
		checkConcurrency: ctx.Int("check-concurrency"),
		drain:            ctx.Duration("drain"),
		pprof:            ctx.Bool("pprof"),
		traceQueries:     ctx.Int("trace-queries"),
		maxStale:         ctx.Duration("max-stale"),
	}
}

// settingsReader makes the other ones, and judges all.
type settingsReader struct {
	ctx      *cli.Context
	s        *settings
	mistakes []*settingError
}

// check notes a mistake in the value of a flag, if there is one.
func (r *settingsReader) check(flag string, err error) {
	if err != nil {
		r.mistakes = append(r.mistakes, &settingError{flag, err})
	}
}

func (r *settingsReader) log(has process) {
	level, err := parseLevel(r.ctx.String("log-level"))
	r.check("log-level", err)
	r.s.level = new(slog.LevelVar)
	r.s.level.Set(level)
	r.s.logger, err = newLogger(r.ctx.App.ErrWriter, r.ctx.String("log-format"), r.s.level)
	r.check("log-format", err)
	if has.logger != nil {
		r.s.logger = has.logger
	}
}

func (r *settingsReader) registry() {
	switch kind := r.ctx.String("registry"); kind {
	case "embedded":
		for _, name := range consulOnly() {
			if r.ctx.IsSet(name) {
				r.check(name, errors.New("is only for registry consul"))
			}
		}
	case "consul":
		var err error
		r.s.consul, err = readConsulSettings(r.ctx)
		r.check("consul-token-file", err)
		r.check("consul-watches", atLeast(20, r.s.consul.watches))
		if !r.ctx.IsSet("zone") {
			r.s.zones = nil
		}
		if !r.ctx.IsSet("datacenter") {
			r.s.datacenter = ""
		}
	default:
		r.check("registry", fmt.Errorf("%q is no kind of registry, but embedded and consul are", kind))
	}
}

func (r *settingsReader) names() {
	r.check("node", checkNode(registry.Node{Name: r.s.node}))
	r.check("node-address", checkNode(registry.Node{Address: r.s.nodeAddress}))
	if r.s.datacenter != "" {
		r.check("datacenter", checkDatacenter(r.s.datacenter))
	}
}

func (r *settingsReader) addresses() {
	s := r.s
	r.check("dns-addr", checkAddresses(s.dnsAddrs))
	r.check("tls-addr", checkAddresses(s.tlsAddrs))
	r.check("https-addr", checkAddresses(s.httpsAddrs))
	var err error
	s.certificate, err = readCertificate(r.ctx, "tls-cert", "tls-key", "", s.logger)
	r.check("tls-cert", err)
	switch {
	case s.certificate != nil && len(s.tlsAddrs)+len(s.httpsAddrs) == 0:
		r.check("tls-cert", errors.New("is for tls-addr and https-addr, and neither is there"))
	case s.certificate == nil && err == nil && len(s.tlsAddrs) > 0:
		r.check("tls-addr", errors.New("takes a certificate: tls-cert and tls-key"))
	case s.certificate == nil && err == nil && len(s.httpsAddrs) > 0:
		r.check("https-addr", errors.New("takes a certificate: tls-cert and tls-key"))
	}
	s.adminCertificate, err = readCertificate(r.ctx, "admin-tls-cert", "admin-tls-key", "admin-client-ca", s.logger)
	r.check("admin-tls-cert", err)
	r.check("admin-addr", checkAddresses([]string{s.adminAddr}))
	if s.metricsAddr != "" {
		r.check("metrics-addr", checkAddresses([]string{s.metricsAddr}))
	}
	r.check("admin-host", checkHosts(s.adminHosts))
}

func (r *settingsReader) zones() {
	r.check("zone", canonicalZones(r.s.zones))
	var err error
	r.s.zoneFiles, err = openZoneFiles(r.list("zone-file"), r.s.logger)
	r.check("zone-file", err)
	r.s.keys, err = readKeys(r.list("dnssec-key"), r.s.logger)
	r.check("dnssec-key", err)
	r.s.transfers = readTransfers(r.list("transfer-to"), r.list("notify"), r.ctx.String("tsig-key-file"), r.s.logger, r.check)
	r.check("ttl", checkTTL(r.s.ttl))
	r.check("negative-ttl", checkTTL(r.s.negativeTTL))
}

func (r *settingsReader) bounds() {
	r.check("max-answers", atLeast(1, r.s.maxAnswers))
	if r.s.panicBelow < 0 || r.s.panicBelow > 100 {
		r.check("panic-below", fmt.Errorf("%d must be 0 to 100 percent", r.s.panicBelow))
	}
	r.check("admin-connections", atLeast(0, r.s.adminConnections))
	r.check("udp-size", within(512, r.s.udpSize, 4096))
	r.check("check-concurrency", atLeast(1, r.s.checkConcurrency))
	r.check("rate-limit", atLeast(0, r.ctx.Int("rate-limit")))
}

// networks are whom something is for.
func (r *settingsReader) networks() {
	exempt := r.networksOr("rate-limit-exempt", health.Private())
	r.s.rateLimit = dnsserver.RateLimit{PerSecond: r.ctx.Int("rate-limit"), Exempt: exempt}
	r.s.checkAllow = r.networksOr("check-allow", defaultCheckAllow(r.s.adminAddr))
	r.s.forward = readForwardSettings(r.ctx, r.s.dnsAddrs, r.check)
	r.s.reverse = r.networksOr("reverse-zone", zones.PrivateNetworks())
	for _, network := range r.s.reverse {
		r.check("reverse-zone", zones.CheckReverse(network))
	}
}

// networksOr returns the networks that a flag names, or others where it is not set.
func (r *settingsReader) networksOr(flag string, others []netip.Prefix) []netip.Prefix {
	if !r.ctx.IsSet(flag) {
		return others
	}
	named, err := parseNetworks(r.list(flag))
	r.check(flag, err)
	return named
}

func (r *settingsReader) list(flag string) []string { return separate(r.ctx.StringSlice(flag)) }

func (r *settingsReader) observers() {
	var err error
	r.s.dnstap, err = readDnstapSettings(r.ctx)
	r.check("dnstap", err)
	r.check("dnstap-every", atLeast(1, r.s.dnstap.every))
	r.check("trace-queries", atLeast(0, r.s.traceQueries))
}

func (r *settingsReader) places() {
	r.check("drain", atLeast(0, r.s.drain))
	if r.ctx.IsSet("max-stale") && r.s.maxStale <= 0 {
		r.check("max-stale", fmt.Errorf("%v must be more than nothing; without max-stale there is no end", r.s.maxStale))
	}
	if r.ctx.Bool("memory") {
		r.s.dataDir = ""
	} else if r.s.dataDir == "" {
		r.check("data-dir", errors.New("neither $STATE_DIRECTORY nor $HOME says where to keep data: name a directory, or set memory"))
	}
}

// access is who may do what over HTTP.
func (r *settingsReader) access() {
	s, asksForOne := r.s, r.ctx.String("admin-client-ca") != ""
	if s.adminTokenFile != "" {
		file, err := openTokenFile(s.adminTokenFile, s.logger)
		s.adminTokens = file.tokens
		r.check("admin-token-file", err)
	} else if !r.ctx.Bool("admin-insecure") {
		r.check("admin-addr", admin.CheckExposure(s.adminAddr, false, asksForOne, false))
	}
	if s.pprof && admin.CheckExposure(s.adminAddr, s.adminTokens != nil, asksForOne, false) != nil {
		r.check("pprof", errors.New("takes a token where others than this machine reach HTTP"))
	}
}
