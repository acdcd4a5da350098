package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/urfave/cli/v2"

	"github.com/rollcall-dns/rollcall/dnsserver"
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
	metricsAddr      string               // empty: they are at adminAddr alone
	adminConnections int                  // from one address; 0: as many as in all
	adminHosts       []string             // that HTTP is reached by, beside its own
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
	reverse          []netip.Prefix
	dataDir          string // empty: in memory only
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
	values           map[string]any     // by the names of the flags, as those have them: what a reload compares
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

// checkHosts refuses what no request would be for.
func checkHosts(hosts []string) error {
	for _, host := range hosts {
		if _, err := netip.ParseAddr(host); err == nil {
			continue
		}
		if _, ok := dns.IsDomainName(host); !ok || host == "" || strings.ContainsAny(host, ":/*[]") {
			return fmt.Errorf("%q is neither a host name nor an address, which have no port", host)
		}
	}
	return nil
}

// canonicalZones brings the zones into lower case, with their final dot.
func canonicalZones(zones []string) error {
	for i, zone := range zones {
		if err := checkDomain(zone); err != nil || zone == "." {
			return cmp.Or(err, fmt.Errorf("%q is no domain", zone))
		}
		zones[i] = dns.CanonicalName(zone)
		if slices.Contains(zones[:i], zones[i]) {
			return fmt.Errorf("%q is there twice", zone)
		}
	}
	return nil
}

// labelOctets are what names consist of that are hosts', beside dots.
const labelOctets = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// checkDomain refuses what no name of a service can end in.
func checkDomain(name string) error {
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return fmt.Errorf("%q is no domain", name)
	}
	if strings.Trim(name, labelOctets+".") != "" {
		return fmt.Errorf("%q must consist of letters, digits, hyphens, underscores and dots", name)
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
	if len(name) > 63 || strings.Trim(name, labelOctets) != "" {
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
