package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/urfave/cli/v2"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/dnsserver"
	"github.com/rollcall-dns/rollcall/health"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/admin"
	"github.com/rollcall-dns/rollcall/zones"
	"github.com/rollcall-dns/rollcall/zones/dnssec"
	"github.com/rollcall-dns/rollcall/zones/static"
)

// settings are serve's flags in the terms of the program.
type settings struct {
	dnsAddrs         []string
	tlsAddrs         []string
	httpsAddrs       []string
	certificate      *certificate // for both; nil: there is none
	adminAddr        string
	adminCertificate *certificate         // nil: HTTP is in clear
	adminTokens      func() []admin.Token // nil: whoever can connect may do anything
	adminTokenFile   string
	zones            []string // with their final dot, the primary one first; nil: the registry says
	zoneFiles        static.Files
	keys             []*dnssec.Key // of signed zones
	transfers        transferSettings
	consul           *consulSettings // nil: the registry is embedded
	maxStale         time.Duration   // zero: for as long as it takes
	udpSize          int             // octets
	udpGSO           bool
	rateLimit        dnsserver.RateLimit
	forward          forwardSettings
	reverse          []netip.Prefix // nil: the private networks
	dataDir          string         // empty: in memory only
	datacenter       string
	node             string
	nodeAddress      string
	ttl, negativeTTL time.Duration
	onlyPassing      bool
	panicBelow       int // percent
	maxAnswers       int
	checkConcurrency int
	checkAllow       []netip.Prefix // where checks may go, beside their instance's own address
	drain            time.Duration
	pprof            bool // /debug/pprof/
	traceQueries     int  // one in so many; 0: none
	dnstap           dnstapSettings
	logger           *slog.Logger
	level            *slog.LevelVar     // of logger
	values           map[string]string  // by the names of the flags, as YAML: what a reload compares
	sources          map[string]source  // of values, by the same names
	arguments        []string           // of the program, for a reload
	sockets          *sockets           // that were passed to the program, and of them
	given            *dnsserver.Sockets // those for DNS; nil: none
	givenHTTP        *net.TCPListener   // that for HTTP; nil: none
	hangUps          chan os.Signal     // each asks for one
	dumps            chan os.Signal     // each asks for the View in the log
}

// consulSettings say where Consul is. What is empty in them is left to Consul's
// own environment variables.
type consulSettings struct {
	address, token            string
	caFile, certFile, keyFile string
	serverName                string
	watches                   int
	pinned                    []string
}

func serveFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", EnvVars: serveEnv("CONFIG"), TakesFile: true, Usage: "YAML `FILE` whose keys are the names of these flags; environment and flags overrule it"},

		&cli.StringSliceFlag{Name: "dns-addr", Value: cli.NewStringSlice("127.0.0.1:5300"), EnvVars: serveEnv("DNS_ADDR"), Category: "DNS", Usage: "`ADDRESS` to serve DNS on, UDP and TCP (repeatable)"},
		&cli.StringSliceFlag{Name: "tls-addr", EnvVars: serveEnv("TLS_ADDR"), Category: "DNS", Usage: "`ADDRESS` to serve DNS over TLS on, as 0.0.0.0:853 (repeatable)"},
		&cli.StringSliceFlag{Name: "https-addr", EnvVars: serveEnv("HTTPS_ADDR"), Category: "DNS", Usage: "`ADDRESS` to serve DNS over HTTPS on, at /dns-query (repeatable)"},
		&cli.StringFlag{Name: "tls-cert", EnvVars: serveEnv("TLS_CERT"), TakesFile: true, Category: "DNS", Usage: "`FILE` with the certificate for both, and those that lead to its authority; read again when it changes"},
		&cli.StringFlag{Name: "tls-key", EnvVars: serveEnv("TLS_KEY"), TakesFile: true, Category: "DNS", Usage: "`FILE` with its key"},
		&cli.StringSliceFlag{Name: "zone", Value: cli.NewStringSlice("rollcall.internal"), DefaultText: "rollcall.internal, or the domain of Consul's DNS", EnvVars: serveEnv("ZONE"), Category: "DNS", Usage: "`DOMAIN` to answer for; the first is the primary one, the others answer alike (repeatable)"},
		&cli.StringSliceFlag{Name: "zone-file", EnvVars: serveEnv("ZONE_FILE"), TakesFile: true, Category: "DNS", Usage: "`ZONE=PATH` of a master file to answer from, read anew when it changes; in a zone of services the registry wins (repeatable)"},
		&cli.StringSliceFlag{Name: "dnssec-key", EnvVars: serveEnv("DNSSEC_KEY"), TakesFile: true, Category: "DNS", Usage: "`FILE` with a key that signs its zone, as keygen makes it; the zone's others roll it over (repeatable)"},
		&cli.DurationFlag{Name: "ttl", Value: 5 * time.Second, EnvVars: serveEnv("TTL"), Category: "DNS", Usage: "how long clients may keep an answer, 1h at most"},
		&cli.DurationFlag{Name: "negative-ttl", Value: 5 * time.Second, EnvVars: serveEnv("NEGATIVE_TTL"), Category: "DNS", Usage: "how long they may keep one that says that there is nothing"},
		&cli.BoolFlag{Name: "only-passing", EnvVars: serveEnv("ONLY_PASSING"), Category: "DNS", Usage: "leave out instances in state warning, as those in critical"},
		&cli.IntFlag{Name: "panic-below", DefaultText: "0: never", EnvVars: serveEnv("PANIC_BELOW"), Category: "DNS", Usage: "`PERCENT` of a service's instances: where fewer are well, all are answered with"},
		&cli.IntFlag{Name: "max-answers", Value: 100, EnvVars: serveEnv("MAX_ANSWERS"), Category: "DNS", Usage: "most records of one type in an answer; BIND takes no more than 100"},
		&cli.IntFlag{Name: "udp-size", Value: cache.UDPSize, EnvVars: serveEnv("UDP_SIZE"), Category: "DNS", Usage: "most `OCTETS` of a reply over UDP, up to 4096, where the client takes as many; from 1233 on, replies may also be more than 25 times as long as a query without a cookie, and what is more than the network takes in one piece is asked for again over TCP"},
		&cli.BoolFlag{Name: "udp-gso", Value: true, EnvVars: serveEnv("UDP_GSO"), Category: "DNS", Usage: "have Linux cut several replies of one length to one port from one datagram; false for a network driver that does so wrongly"},
		&cli.IntFlag{Name: "rate-limit", Value: 200, EnvVars: serveEnv("RATE_LIMIT"), Category: "DNS", Usage: "most replies of a kind over UDP to a /24 or /56 in a second, beside those with a cookie; 0: no limit"},
		&cli.StringSliceFlag{Name: "rate-limit-exempt", DefaultText: "loopback and the private networks", EnvVars: serveEnv("RATE_LIMIT_EXEMPT"), Category: "DNS", Usage: "`NETWORK` that has no such limit (repeatable)"},

		&cli.StringSliceFlag{Name: "forward", EnvVars: serveEnv("FORWARD"), Category: "Names of others", Usage: "`UPSTREAM` to ask for names that are in none of the zones: ADDRESS[:PORT], tls://ADDRESS[:PORT][#NAME], tcp://ADDRESS[:PORT], or a file like /etc/resolv.conf; with DOMAIN= before it, for names in there alone (repeatable)"},
		&cli.StringSliceFlag{Name: "forward-for", DefaultText: "loopback and the private networks", EnvVars: serveEnv("FORWARD_FOR"), Category: "Names of others", Usage: "`NETWORK` whose clients may ask for names of others (repeatable)"},
		&cli.StringSliceFlag{Name: "forward-private", EnvVars: serveEnv("FORWARD_PRIVATE"), Category: "Names of others", Usage: "`DOMAIN` whose names may have private addresses though the upstream is a public one; . for all (repeatable)"},
		&cli.StringSliceFlag{Name: "reverse-zone", DefaultText: "the private networks", EnvVars: serveEnv("REVERSE_ZONE"), Category: "Names of others", Usage: "`NETWORK` whose addresses have no names but those that are registered (repeatable)"},
		&cli.StringSliceFlag{Name: "transfer-to", DefaultText: "nobody", EnvVars: serveEnv("TRANSFER_TO"), Category: "Secondaries", Usage: "`WHO` may transfer zones: NETWORK, key:NAME, or NETWORK=key:NAME for whoever is there and has the key (repeatable)"},
		&cli.StringSliceFlag{Name: "notify", EnvVars: serveEnv("NOTIFY"), Category: "Secondaries", Usage: "`SECONDARY` to tell of changes at once: ADDRESS[:PORT], or ADDRESS[:PORT]=key:NAME (repeatable)"},
		&cli.StringFlag{Name: "tsig-key-file", EnvVars: serveEnv("TSIG_KEY_FILE"), TakesFile: true, Category: "Secondaries", Usage: "`FILE` with the keys, as tsig-keygen writes them"},

		&cli.StringFlag{Name: "admin-addr", Value: "127.0.0.1:5380", EnvVars: serveEnv("ADMIN_ADDR"), Category: "HTTP", Usage: "`ADDRESS` to serve HTTP on"},
		&cli.StringFlag{Name: "admin-token-file", EnvVars: serveEnv("ADMIN_TOKEN_FILE"), TakesFile: true, Category: "HTTP", Usage: "`FILE` with the token that HTTP clients have to show, or a line NAME SECRET read|write [PREFIX…] for each of several"},
		&cli.StringFlag{Name: "admin-tls-cert", EnvVars: serveEnv("ADMIN_TLS_CERT"), TakesFile: true, Category: "HTTP", Usage: "`FILE` with a certificate: HTTP becomes HTTPS"},
		&cli.StringFlag{Name: "admin-tls-key", EnvVars: serveEnv("ADMIN_TLS_KEY"), TakesFile: true, Category: "HTTP", Usage: "`FILE` with its key"},
		&cli.StringFlag{Name: "admin-client-ca", EnvVars: serveEnv("ADMIN_CLIENT_CA"), TakesFile: true, Category: "HTTP", Usage: "`FILE` with the authority whose certificates clients have to show"},
		&cli.BoolFlag{Name: "admin-insecure", EnvVars: serveEnv("ADMIN_INSECURE"), Category: "HTTP", Usage: "serve HTTP beyond this machine without a token: everybody may register"},

		&cli.StringFlag{Name: "registry", Value: "embedded", EnvVars: serveEnv("REGISTRY"), Category: "Registry", Usage: "`KIND` of registry: embedded, or consul to stand in front of one"},
		&cli.StringFlag{Name: "data-dir", Value: defaultDataDir(), DefaultText: "$STATE_DIRECTORY, or $XDG_STATE_HOME/rollcall, or ~/.local/state/rollcall", EnvVars: serveEnv("DATA_DIR"), TakesFile: true, Category: "Registry", Usage: "`DIRECTORY` that keeps what is registered"},
		&cli.BoolFlag{Name: "memory", EnvVars: serveEnv("MEMORY"), Category: "Registry", Usage: "keep it in memory only, to try things out"},
		&cli.StringFlag{Name: "datacenter", Value: "dc1", DefaultText: "dc1, or that of Consul's agent", EnvVars: serveEnv("DATACENTER"), Category: "Registry", Usage: "`NAME` of the datacenter, as in web.service.NAME.rollcall.internal"},
		&cli.StringFlag{Name: "node", Value: defaultNode(), DefaultText: "the host's name", EnvVars: serveEnv("NODE"), Category: "Registry", Usage: "`NAME` of this machine, which instances run on unless they say otherwise"},
		&cli.StringFlag{Name: "node-address", DefaultText: "the first --dns-addr, or the machine's private address where that is a wildcard", EnvVars: serveEnv("NODE_ADDRESS"), Category: "Registry", Usage: "`ADDRESS` of this machine, for instances without one"},
		&cli.IntFlag{Name: "check-concurrency", DefaultText: "64", EnvVars: serveEnv("CHECK_CONCURRENCY"), Category: "Registry", Usage: "most probes that run at the same time"},
		&cli.StringSliceFlag{Name: "check-allow", DefaultText: "loopback and the private networks while HTTP is on loopback, else none", EnvVars: serveEnv("CHECK_ALLOW"), Category: "Registry", Usage: "`NETWORK` that checks may go to, beside their instance's own address (repeatable)"},

		&cli.StringFlag{Name: "consul-addr", DefaultText: "$CONSUL_HTTP_ADDR, or 127.0.0.1:8500", EnvVars: serveEnv("CONSUL_ADDR"), Category: "Consul", Usage: "`ADDRESS` of Consul's agent: host:port, https://host:port or unix:///path"},
		&cli.StringFlag{Name: "consul-token-file", DefaultText: "$CONSUL_HTTP_TOKEN or $CONSUL_HTTP_TOKEN_FILE", EnvVars: serveEnv("CONSUL_TOKEN_FILE"), TakesFile: true, Category: "Consul", Usage: "`FILE` with the token that may read Consul's catalog"},
		&cli.StringFlag{Name: "consul-ca-file", DefaultText: "$CONSUL_CACERT", EnvVars: serveEnv("CONSUL_CA_FILE"), TakesFile: true, Category: "Consul", Usage: "`FILE` with the authority of the agent's certificate"},
		&cli.StringFlag{Name: "consul-cert-file", DefaultText: "$CONSUL_CLIENT_CERT", EnvVars: serveEnv("CONSUL_CERT_FILE"), TakesFile: true, Category: "Consul", Usage: "`FILE` with the certificate to show to the agent"},
		&cli.StringFlag{Name: "consul-key-file", DefaultText: "$CONSUL_CLIENT_KEY", EnvVars: serveEnv("CONSUL_KEY_FILE"), TakesFile: true, Category: "Consul", Usage: "`FILE` with its key"},
		&cli.StringFlag{Name: "consul-tls-server-name", DefaultText: "$CONSUL_TLS_SERVER_NAME", EnvVars: serveEnv("CONSUL_TLS_SERVER_NAME"), Category: "Consul", Usage: "`NAME` that the agent's certificate must bear"},
		&cli.IntFlag{Name: "consul-watches", Value: 150, EnvVars: serveEnv("CONSUL_WATCHES"), Category: "Consul", Usage: "most connections to the agent, which cuts off whoever has 200"},
		&cli.StringSliceFlag{Name: "consul-pin", EnvVars: serveEnv("CONSUL_PIN"), Category: "Consul", Usage: "`SERVICE` to watch whether somebody asks for it or not (repeatable)"},
		&cli.DurationFlag{Name: "max-stale", DefaultText: "as long as it takes", EnvVars: serveEnv("MAX_STALE"), Category: "Consul", Usage: "for how long to answer from the last view while Consul is away"},

		&cli.StringFlag{Name: "dnstap", EnvVars: serveEnv("DNSTAP"), Category: "Operation", Usage: "`COLLECTOR` that is shown queries and replies in dnstap's format: unix:PATH or tcp:HOST:PORT"},
		&cli.IntFlag{Name: "dnstap-every", Value: 1, EnvVars: serveEnv("DNSTAP_EVERY"), Category: "Operation", Usage: "show it one query in `N`"},
		&cli.IntFlag{Name: "trace-queries", DefaultText: "0: none", EnvVars: serveEnv("TRACE_QUERIES"), Category: "Operation", Usage: "trace one DNS query in `N`, where OTEL_EXPORTER_OTLP_ENDPOINT names a collector; HTTP, writes and checks are traced there without it"},
		&cli.BoolFlag{Name: "pprof", EnvVars: serveEnv("PPROF"), Category: "Operation", Usage: "show profiles of the program at /debug/pprof/ of the HTTP address, to who may change everything"},
		&cli.DurationFlag{Name: "drain", EnvVars: serveEnv("DRAIN"), Category: "Operation", Usage: "how long /readyz says no before the program stops answering"},
		&cli.StringFlag{Name: "log-level", Value: "info", EnvVars: serveEnv("LOG_LEVEL"), Category: "Operation", Usage: "least `LEVEL` that is logged: debug, info, warn or error"},
		&cli.StringFlag{Name: "log-format", Value: "auto", EnvVars: serveEnv("LOG_FORMAT"), Category: "Operation", Usage: "`FORMAT` of the log: text, json, or auto, which is text on a terminal"},
	}
}

func serveEnv(name string) []string { return []string{"ROLLCALL_" + name} }

// settingError says what is wrong with the value of a flag, wherever it is from.
type settingError struct {
	flag string
	err  error
}

func (e *settingError) Error() string { return fmt.Sprintf("%s: %v", e.flag, e.err) }

func (e *settingError) Unwrap() error { return e.err }

// process is what the program has before it reads its settings.
type process struct {
	logger  *slog.Logger // nil: the flags say it
	sockets *sockets     // nil: the flags say where to listen
}

// readSettings makes settings of the flags' values. It returns every mistake, as
// settingErrors.
func readSettings(ctx *cli.Context, has process) (*settings, []*settingError) {
	s := &settings{
		dnsAddrs:         separate(ctx.StringSlice("dns-addr")),
		tlsAddrs:         separate(ctx.StringSlice("tls-addr")),
		httpsAddrs:       separate(ctx.StringSlice("https-addr")),
		adminAddr:        ctx.String("admin-addr"),
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
	var mistakes []*settingError
	check := func(flag string, err error) {
		if err != nil {
			mistakes = append(mistakes, &settingError{flag, err})
		}
	}
	level, err := parseLevel(ctx.String("log-level"))
	check("log-level", err)
	s.level = new(slog.LevelVar)
	s.level.Set(level)
	s.logger, err = newLogger(ctx.App.ErrWriter, ctx.String("log-format"), s.level)
	check("log-format", err)
	if has.logger != nil {
		s.logger = has.logger
	}
	s.sockets = has.sockets
	has.sockets.replace(s)
	switch kind := ctx.String("registry"); kind {
	case "embedded":
		for _, f := range serveFlags() {
			if name := f.Names()[0]; (strings.HasPrefix(name, "consul-") || name == "max-stale") && ctx.IsSet(name) {
				check(name, errors.New("is only for registry consul"))
			}
		}
	case "consul":
		var err error
		s.consul, err = readConsulSettings(ctx)
		check("consul-token-file", err)
		check("consul-watches", atLeast(20, s.consul.watches))
		if !ctx.IsSet("zone") {
			s.zones = nil
		}
		if !ctx.IsSet("datacenter") {
			s.datacenter = ""
		}
	default:
		check("registry", fmt.Errorf("%q is no kind of registry, but embedded and consul are", kind))
	}
	check("node", checkNode(registry.Node{Name: s.node}))
	check("node-address", checkNode(registry.Node{Address: s.nodeAddress}))
	if s.datacenter != "" {
		check("datacenter", checkDatacenter(s.datacenter))
	}
	check("dns-addr", checkAddresses(s.dnsAddrs))
	check("tls-addr", checkAddresses(s.tlsAddrs))
	check("https-addr", checkAddresses(s.httpsAddrs))
	s.certificate, err = readCertificate(ctx, "tls-cert", "tls-key", "", s.logger)
	check("tls-cert", err)
	switch {
	case s.certificate != nil && len(s.tlsAddrs)+len(s.httpsAddrs) == 0:
		check("tls-cert", errors.New("is for tls-addr and https-addr, and neither is there"))
	case s.certificate == nil && err == nil && len(s.tlsAddrs) > 0:
		check("tls-addr", errors.New("takes a certificate: tls-cert and tls-key"))
	case s.certificate == nil && err == nil && len(s.httpsAddrs) > 0:
		check("https-addr", errors.New("takes a certificate: tls-cert and tls-key"))
	}
	s.adminCertificate, err = readCertificate(ctx, "admin-tls-cert", "admin-tls-key", "admin-client-ca", s.logger)
	check("admin-tls-cert", err)
	check("admin-addr", checkAddresses([]string{s.adminAddr}))
	check("zone", canonicalZones(s.zones))
	s.zoneFiles, err = openZoneFiles(separate(ctx.StringSlice("zone-file")), s.logger)
	check("zone-file", err)
	s.keys, err = readKeys(separate(ctx.StringSlice("dnssec-key")), s.logger)
	check("dnssec-key", err)
	s.transfers = readTransfers(separate(ctx.StringSlice("transfer-to")), separate(ctx.StringSlice("notify")), ctx.String("tsig-key-file"), s.logger, check)
	check("ttl", checkTTL(s.ttl))
	check("negative-ttl", checkTTL(s.negativeTTL))
	check("max-answers", atLeast(1, s.maxAnswers))
	if s.panicBelow < 0 || s.panicBelow > 100 {
		check("panic-below", fmt.Errorf("%d must be 0 to 100 percent", s.panicBelow))
	}
	check("udp-size", within(512, s.udpSize, 4096))
	check("check-concurrency", atLeast(0, s.checkConcurrency))
	check("rate-limit", atLeast(0, ctx.Int("rate-limit")))
	s.rateLimit = dnsserver.RateLimit{PerSecond: ctx.Int("rate-limit"), Exempt: health.Private()}
	if ctx.IsSet("rate-limit-exempt") {
		var err error
		s.rateLimit.Exempt, err = parseNetworks(separate(ctx.StringSlice("rate-limit-exempt")))
		check("rate-limit-exempt", err)
	}
	s.checkAllow = defaultCheckAllow(s.adminAddr)
	if ctx.IsSet("check-allow") {
		var err error
		s.checkAllow, err = parseNetworks(separate(ctx.StringSlice("check-allow")))
		check("check-allow", err)
	}
	s.forward = readForwardSettings(ctx, s.dnsAddrs, check)
	if ctx.IsSet("reverse-zone") {
		var err error
		s.reverse, err = parseNetworks(separate(ctx.StringSlice("reverse-zone")))
		check("reverse-zone", err)
		for _, network := range s.reverse {
			check("reverse-zone", zones.CheckReverse(network))
		}
	}
	s.dnstap, err = readDnstapSettings(ctx)
	check("dnstap", err)
	check("dnstap-every", atLeast(1, s.dnstap.every))
	check("trace-queries", atLeast(0, s.traceQueries))
	check("drain", atLeast(0, s.drain))
	check("max-stale", atLeast(0, s.maxStale))
	if ctx.Bool("memory") {
		s.dataDir = ""
	} else if s.dataDir == "" {
		check("data-dir", errors.New("neither $STATE_DIRECTORY nor $HOME says where to keep data: name a directory, or set memory"))
	}
	if s.adminTokenFile != "" {
		file, err := openTokenFile(s.adminTokenFile, s.logger)
		s.adminTokens = file.tokens
		check("admin-token-file", err)
	} else if !ctx.Bool("admin-insecure") {
		check("admin-addr", admin.CheckExposure(s.adminAddr, false, ctx.String("admin-client-ca") != "", false))
	}
	if s.pprof && admin.CheckExposure(s.adminAddr, s.adminTokens != nil, ctx.String("admin-client-ca") != "", false) != nil {
		check("pprof", errors.New("takes a token where others than this machine reach HTTP"))
	}
	if s.nodeAddress == "" && mistakes == nil {
		s.nodeAddress = defaultNodeAddress(s.dnsAddrs[0])
	}
	return s, mistakes
}

// readCertificate opens the certificate that flags name; nil: they name none.
func readCertificate(ctx *cli.Context, cert, key, clientCA string, logger *slog.Logger) (*certificate, error) {
	switch {
	case ctx.String(cert) == "" && ctx.String(key) == "" && (clientCA == "" || ctx.String(clientCA) == ""):
		return nil, nil
	case ctx.String(cert) == "" || ctx.String(key) == "":
		return nil, fmt.Errorf("a certificate takes both %s and %s", cert, key)
	}
	ca := ""
	if clientCA != "" {
		ca = ctx.String(clientCA)
	}
	return openCertificate(ctx.String(cert), ctx.String(key), ca, logger)
}

// separate also takes several values in one, separated by commas, as the
// environment holds them.
func separate(values []string) []string {
	var separated []string
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			separated = append(separated, strings.TrimSpace(part))
		}
	}
	return separated
}

// readConsulSettings never returns nil.
func readConsulSettings(ctx *cli.Context) (*consulSettings, error) {
	c := &consulSettings{
		address: ctx.String("consul-addr"), serverName: ctx.String("consul-tls-server-name"),
		caFile: ctx.String("consul-ca-file"), certFile: ctx.String("consul-cert-file"), keyFile: ctx.String("consul-key-file"),
		watches: ctx.Int("consul-watches"), pinned: ctx.StringSlice("consul-pin"),
	}
	file := ctx.String("consul-token-file")
	if file == "" {
		return c, nil
	}
	var err error
	c.token, err = readToken(file)
	return c, err
}

func checkAddresses(addrs []string) error {
	for _, addr := range addrs {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return fmt.Errorf("%q has not the form ADDRESS:PORT", addr)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return fmt.Errorf("%q has no port from 1 to 65535", addr)
		}
		if _, err := netip.ParseAddr(host); host != "" && host != "localhost" && err != nil {
			return fmt.Errorf("%q begins with no IP address", addr)
		}
	}
	return nil
}

// canonicalZones brings the zones into lower case, with their final dot.
func canonicalZones(zones []string) error {
	for i, zone := range zones {
		if _, ok := dns.IsDomainName(zone); !ok || zone == "" || zone == "." {
			return fmt.Errorf("%q is no domain", zone)
		}
		zones[i] = dns.CanonicalName(zone)
		if slices.Contains(zones[:i], zones[i]) {
			return fmt.Errorf("%q is there twice", zone)
		}
	}
	return nil
}

// parseNetworks reads networks; an address is one of its own.
func parseNetworks(texts []string) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("%q is no network, as 10.0.0.0/8 is", text)
			}
			network = netip.PrefixFrom(a, a.BitLen())
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// defaultCheckAllow lets checks go as far as those are away that may register
// them: where that is this machine alone, it is known who they are.
func defaultCheckAllow(adminAddr string) []netip.Prefix {
	if admin.CheckExposure(adminAddr, false, false, false) != nil {
		return nil
	}
	return health.Private()
}

func checkTTL(ttl time.Duration) error {
	if ttl < 0 || ttl > zones.MaxTTL || ttl%time.Second != 0 {
		return fmt.Errorf("%v must be whole seconds from 0s to 1h", ttl)
	}
	return nil
}

// checkNode refuses what a registry would not register this machine as.
func checkNode(n registry.Node) error {
	r := registry.Registration{Node: n}
	var wrong *registry.Error
	if errors.As(r.Validate(), &wrong) {
		return errors.New(strings.TrimPrefix(wrong.Message, wrong.Field+" "))
	}
	return nil
}

// checkDatacenter refuses a name that names of services cannot be told apart by.
func checkDatacenter(name string) error {
	if len(name) > 63 || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return fmt.Errorf("%q must be one label of letters, digits, hyphens and underscores", name)
	}
	if zones.IsKind(name) {
		return fmt.Errorf("%q is a word of the names themselves, as in web.service.rollcall.internal", name)
	}
	return nil
}

func atLeast[T int | time.Duration](least, value T) error {
	if value < least {
		return fmt.Errorf("%v must be at least %v", value, least)
	}
	return nil
}

func within(least, value, most int) error {
	if value < least || value > most {
		return fmt.Errorf("%d must be from %d to %d", value, least, most)
	}
	return nil
}

// defaultDataDir is where systemd, the desktop or the user's home keep state.
func defaultDataDir() string {
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "rollcall")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "rollcall")
	}
	return ""
}

// defaultNode is the host's name as far as DNS can ask for it.
func defaultNode() string {
	host, _ := os.Hostname()
	labels := strings.FieldsFunc(host, func(r rune) bool { return r == '.' })
	for i, label := range labels {
		label = strings.Map(func(r rune) rune {
			if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' {
				return r
			}
			return '-'
		}, label)
		labels[i] = label[:min(len(label), 63)]
	}
	if len(labels) == 0 {
		return "rollcall"
	}
	return strings.Join(labels, ".")
}

// defaultNodeAddress is the address that DNS is served on, or the machine's
// first private one where it is served on all of them.
func defaultNodeAddress(dnsAddr string) string {
	const loopback = "127.0.0.1"
	host, _, _ := net.SplitHostPort(dnsAddr)
	if host == "localhost" {
		return loopback
	}
	if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() {
		return ip.Unmap().WithZone("").String()
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsPrivate() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return loopback
}
