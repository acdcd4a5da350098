package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/health"
)

// serveFlags are those of serve and check-config, and the keys of the configuration file.
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
		&cli.IntFlag{Name: "rate-limit", Value: 200, EnvVars: serveEnv("RATE_LIMIT"), Category: "DNS", Usage: "most replies over UDP to a /24 or /56 in a second for a name, and most denials and errors of a kind, beside those with a cookie; 0: no limit"},
		&cli.StringSliceFlag{Name: "rate-limit-exempt", DefaultText: "loopback and the private networks", EnvVars: serveEnv("RATE_LIMIT_EXEMPT"), Category: "DNS", Usage: "`NETWORK` that has no such limit (repeatable)"},

		&cli.StringSliceFlag{Name: "forward", EnvVars: serveEnv("FORWARD"), Category: "Names of others", Usage: "`UPSTREAM` to ask for names that are in none of the zones: ADDRESS[:PORT], tls://ADDRESS[:PORT][#NAME], tcp://ADDRESS[:PORT], or a file like /etc/resolv.conf; with DOMAIN= before it, for names in there alone (repeatable)"},
		&cli.StringSliceFlag{Name: "forward-for", DefaultText: "loopback and the private networks", EnvVars: serveEnv("FORWARD_FOR"), Category: "Names of others", Usage: "`NETWORK` whose clients may ask for names of others (repeatable)"},
		&cli.StringSliceFlag{Name: "forward-private", EnvVars: serveEnv("FORWARD_PRIVATE"), Category: "Names of others", Usage: "`DOMAIN` whose names may have private addresses though the upstream is a public one; . for all (repeatable)"},
		&cli.StringSliceFlag{Name: "reverse-zone", DefaultText: "the private networks", EnvVars: serveEnv("REVERSE_ZONE"), Category: "Names of others", Usage: "`NETWORK` whose addresses have no names but those that are registered (repeatable)"},
		&cli.StringSliceFlag{Name: "transfer-to", DefaultText: "nobody", EnvVars: serveEnv("TRANSFER_TO"), Category: "Secondaries", Usage: "`WHO` may transfer zones: NETWORK, key:NAME, or NETWORK=key:NAME for whoever is there and has the key (repeatable)"},
		&cli.StringSliceFlag{Name: "notify", EnvVars: serveEnv("NOTIFY"), Category: "Secondaries", Usage: "`SECONDARY` to tell of changes at once: ADDRESS[:PORT], or ADDRESS[:PORT]=key:NAME (repeatable)"},
		&cli.StringFlag{Name: "tsig-key-file", EnvVars: serveEnv("TSIG_KEY_FILE"), TakesFile: true, Category: "Secondaries", Usage: "`FILE` with the keys, as tsig-keygen writes them"},

		&cli.StringFlag{Name: "admin-addr", Value: "127.0.0.1:5380", EnvVars: serveEnv("ADMIN_ADDR"), Category: "HTTP", Usage: "`ADDRESS` to serve HTTP on"},
		&cli.StringSliceFlag{Name: "admin-host", DefaultText: "loopback, the address that a connection came to, and --node", EnvVars: serveEnv("ADMIN_HOST"), Category: "HTTP", Usage: "`NAME` or address that HTTP is reached by, as through a proxy; requests for any other are refused (repeatable)"},
		&cli.StringFlag{Name: "admin-token-file", EnvVars: serveEnv("ADMIN_TOKEN_FILE"), TakesFile: true, Category: "HTTP", Usage: "`FILE` with the token that HTTP clients have to show, or a line NAME SECRET read|write [PREFIX…] for each of several"},
		&cli.StringFlag{Name: "admin-tls-cert", EnvVars: serveEnv("ADMIN_TLS_CERT"), TakesFile: true, Category: "HTTP", Usage: "`FILE` with a certificate: HTTP becomes HTTPS"},
		&cli.StringFlag{Name: "admin-tls-key", EnvVars: serveEnv("ADMIN_TLS_KEY"), TakesFile: true, Category: "HTTP", Usage: "`FILE` with its key"},
		&cli.StringFlag{Name: "admin-client-ca", EnvVars: serveEnv("ADMIN_CLIENT_CA"), TakesFile: true, Category: "HTTP", Usage: "`FILE` with the authority whose certificates clients have to show"},
		&cli.IntFlag{Name: "admin-connections", Value: 200, EnvVars: serveEnv("ADMIN_CONNECTIONS"), Category: "HTTP", Usage: "most connections from one address, as of a proxy or of a program that watches many services, of 1,024 in all; 0: as many as in all"},
		&cli.StringFlag{Name: "metrics-addr", DefaultText: "none", EnvVars: serveEnv("METRICS_ADDR"), Category: "HTTP", Usage: "`ADDRESS` to serve /metrics, /healthz and /readyz on as well, and nothing else, to anybody and without a token"},
		&cli.BoolFlag{Name: "admin-insecure", EnvVars: serveEnv("ADMIN_INSECURE"), Category: "HTTP", Usage: "serve HTTP beyond this machine without a token: everybody may register"},

		&cli.StringFlag{Name: "registry", Value: "embedded", EnvVars: serveEnv("REGISTRY"), Category: "Registry", Usage: "`KIND` of registry: embedded, or consul to stand in front of one"},
		&cli.StringFlag{Name: "data-dir", Value: defaultDataDir(), DefaultText: "$STATE_DIRECTORY, or $XDG_STATE_HOME/rollcall, or ~/.local/state/rollcall", EnvVars: serveEnv("DATA_DIR"), TakesFile: true, Category: "Registry", Usage: "`DIRECTORY` that keeps what is registered"},
		&cli.BoolFlag{Name: "memory", EnvVars: serveEnv("MEMORY"), Category: "Registry", Usage: "keep it in memory only, to try things out"},
		&cli.StringFlag{Name: "datacenter", Value: "dc1", DefaultText: "dc1, or that of Consul's agent", EnvVars: serveEnv("DATACENTER"), Category: "Registry", Usage: "`NAME` of the datacenter, as in web.service.NAME.rollcall.internal"},
		&cli.StringFlag{Name: "node", Value: defaultNode(), DefaultText: "the host's name", EnvVars: serveEnv("NODE"), Category: "Registry", Usage: "`NAME` of this machine, which instances run on unless they say otherwise"},
		&cli.StringFlag{Name: "node-address", DefaultText: "the first --dns-addr, or the machine's private address where that is a wildcard", EnvVars: serveEnv("NODE_ADDRESS"), Category: "Registry", Usage: "`ADDRESS` of this machine, for instances without one"},
		&cli.IntFlag{Name: "check-concurrency", Value: health.DefaultConcurrency, EnvVars: serveEnv("CHECK_CONCURRENCY"), Category: "Registry", Usage: "most probes that run at the same time"},
		&cli.StringSliceFlag{Name: "check-allow", DefaultText: "loopback and the private networks while HTTP is on loopback, else none", EnvVars: serveEnv("CHECK_ALLOW"), Category: "Registry", Usage: "`NETWORK` that checks may go to, beside their instance's own address (repeatable)"},

		&cli.StringFlag{Name: "consul-addr", DefaultText: "$CONSUL_HTTP_ADDR, or 127.0.0.1:8500", EnvVars: serveEnv("CONSUL_ADDR"), Category: "Consul", Usage: "`ADDRESS` of Consul's agent: host:port, https://host:port or unix:///path"},
		&cli.StringFlag{Name: "consul-token-file", DefaultText: "$CONSUL_HTTP_TOKEN or $CONSUL_HTTP_TOKEN_FILE", EnvVars: serveEnv("CONSUL_TOKEN_FILE"), TakesFile: true, Category: "Consul", Usage: "`FILE` with the token that may read Consul's catalog"},
		&cli.StringFlag{Name: "consul-ca-file", DefaultText: "$CONSUL_CACERT", EnvVars: serveEnv("CONSUL_CA_FILE"), TakesFile: true, Category: "Consul", Usage: "`FILE` with the authority of the agent's certificate"},
		&cli.StringFlag{Name: "consul-cert-file", DefaultText: "$CONSUL_CLIENT_CERT", EnvVars: serveEnv("CONSUL_CERT_FILE"), TakesFile: true, Category: "Consul", Usage: "`FILE` with the certificate to show to the agent"},
		&cli.StringFlag{Name: "consul-key-file", DefaultText: "$CONSUL_CLIENT_KEY", EnvVars: serveEnv("CONSUL_KEY_FILE"), TakesFile: true, Category: "Consul", Usage: "`FILE` with its key"},
		&cli.StringFlag{Name: "consul-tls-server-name", DefaultText: "$CONSUL_TLS_SERVER_NAME", EnvVars: serveEnv("CONSUL_TLS_SERVER_NAME"), Category: "Consul", Usage: "`NAME` that the agent's certificate must bear"},
		&cli.IntFlag{Name: "consul-watches", Value: 150, EnvVars: serveEnv("CONSUL_WATCHES"), Category: "Consul", Usage: "most connections to the agent, which cuts off whoever has 200"},
		&cli.StringSliceFlag{Name: "consul-pin", EnvVars: serveEnv("CONSUL_PIN"), Category: "Consul", Usage: "`SERVICE` to watch whether somebody asks for it or not (repeatable)"},
		&cli.DurationFlag{Name: "max-stale", DefaultText: "as long as it takes", EnvVars: serveEnv("MAX_STALE"), Category: "Consul", Usage: "for how long, more than 0s, to answer from the last view while Consul is away"},

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
