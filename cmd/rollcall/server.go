package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/dnsserver"
	"github.com/rollcall-dns/rollcall/dnsserver/dnstap"
	"github.com/rollcall-dns/rollcall/dnsserver/forward"
	"github.com/rollcall-dns/rollcall/dnsserver/transfer"
	"github.com/rollcall-dns/rollcall/health"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/admin"
	"github.com/rollcall-dns/rollcall/zones"
)

// ownService is the service that rollcall registers itself as, so that there is
// something to find from the start. Its instances are the zone's name servers.
const ownService = "rollcall"

// cacheBytes is how much memory packed answers may take.
const cacheBytes = 64 << 20

// server is rollcall: its components, put together.
type server struct {
	settings *settings
	registry *backend
	metrics  *prometheus.Registry
	answers  *prometheus.Registry // of metrics, those of dns
	current  atomic.Pointer[inForce]
	cache    *cache.Cache          // the newest; reload replaces it
	others   *cache.ForwardedCache // nil: nobody else was asked ever
	dns      *dnsserver.Server
	admin    *admin.Server
	listener net.Listener // of admin
	watchers net.Listener // for its metrics alone; nil: there is none
	health   *health.Runner
	draining atomic.Bool

	firstAsker *forward.Asker // of those that follow each other; nil: nobody else was asked ever
	retiring   sync.WaitGroup // those that have a successor
	lives      context.Context
	die        context.CancelFunc // those at once, as Close does

	supervisor *supervisor
	reloading  sync.Mutex // there is one reload at a time
	reloads    *reloads
	lastReload atomic.Pointer[admin.LastReload] // nil: there was none
	tracing    *tracing                         // nil: nothing is traced
	firstTap   *dnstap.Tap                      // of those that follow each other; nil: nobody wanted to see queries ever
}

// newServer opens the registry, takes the addresses and registers rollcall
// itself. When it returns, clients can connect; run answers them.
func newServer(ctx context.Context, settings *settings) (_ *server, err error) {
	s := &server{settings: settings, supervisor: new(supervisor)}
	s.lives, s.die = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	metrics := newMetrics(func() *registry.View { return s.registry.View() })
	s.metrics, s.reloads = metrics, newReloads(metrics)
	if s.tracing, err = openTracing(ctx, settings.logger); err != nil {
		return nil, err
	}
	if s.registry, err = openBackend(ctx, settings, metrics, s.tracing); err != nil {
		return nil, err
	}
	if err := s.listen(metrics); err != nil {
		return nil, err
	}
	s.health = health.New(health.Config{
		Registry: s.registry, Logger: settings.logger, Metrics: metrics, Concurrency: settings.checkConcurrency,
		Repeat: settings.consul != nil, Allow: settings.checkAllow, Forbidden: s.ownAddrs(), Around: s.tracing.check(),
	})
	if settings.consul != nil {
		return s, nil // what is in somebody else's catalog is for them to say
	}
	return s, s.registerOurselves(ctx)
}

// listen takes the addresses to serve on.
func (s *server) listen(metrics *prometheus.Registry) (err error) {
	z, err := s.makeZones(s.settings)
	if err != nil {
		return err
	}
	transfers, err := transfer.New(s.transferConfig(s.settings, z))
	if err != nil {
		return fmt.Errorf("register the metrics of transfers: %w", err)
	}
	asker, err := s.openAsker(s.settings)
	if err != nil {
		return err
	}
	tap, err := s.openTap(s.settings)
	if err != nil {
		return err
	}
	s.current.Store(&inForce{settings: s.settings, zones: z, transfers: transfers, asker: asker, tap: tap, superseded: make(chan struct{})})
	metrics.MustRegister(newPanicMetric(s.registry.View, s.zones))
	s.settings.certificate.measure(metrics, "dns")
	s.settings.adminCertificate.measure(metrics, "http")
	for _, key := range s.settings.keys {
		s.settings.logger.Info("signing a zone", "zone", key.Zone(), "key", key.Tag())
	}
	if err := metrics.Register(zoneFileMetrics{&s.current}); err != nil {
		return fmt.Errorf("register the metrics of zone files: %w", err)
	}
	if s.cache, err = cache.New(cache.Config{MaxBytes: cacheBytes, MaxAnswers: s.settings.maxAnswers, Metrics: metrics}); err != nil {
		return err
	}
	s.answers = prometheus.NewRegistry()
	if s.dns, err = dnsserver.New(s.dnsConfig(s.current.Load(), s.cache)); err != nil {
		return err
	}
	metrics.MustRegister(s.answers)
	if err := s.dns.Listen(); err != nil {
		return explainListen(err, "DNS", "dns-addr")
	}
	if s.settings.givenHTTP != nil {
		s.listener = s.settings.givenHTTP
	} else if s.listener, err = net.Listen("tcp", s.settings.adminAddr); err != nil {
		return explainListen(err, "HTTP", "admin-addr")
	}
	if s.settings.metricsAddr != "" {
		if s.watchers, err = net.Listen("tcp", s.settings.metricsAddr); err != nil {
			return explainListen(err, "metrics", "metrics-addr")
		}
	}
	s.admin, err = admin.New(admin.Config{
		Registry: s.registry, Node: s.registry.node, Datacenter: s.registry.datacenter, Zone: s.registry.zones[0], Version: buildVersion().Version,
		Logger: s.settings.logger, Metrics: metrics, Gatherer: metrics,
		TLS: s.settings.adminCertificate.config(), Tokens: s.adminTokens(), Hosts: s.adminHosts, OnBehalf: s.registry.onBehalf, Freshness: s.registry.freshness,
		Ready: s.ready, Explain: s.explainDNS, Reload: s.reload, Configuration: s.configuration, Around: s.tracing.route(), Profile: s.settings.pprof, Connections: s.settings.adminConnections, Traffic: trafficOf(s.answers), Asked: askedOf(s.dns), LogLevel: s.settings.level,
		Backup: s.registry.backup,
	})
	return err
}

// explainListen says what to do about an address that cannot be listened on.
func explainListen(err error, what, flag string) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Addr == nil {
		return err
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s address %s is in use by another program: choose another with --%s", what, op.Addr, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s address %s is none of this machine's: choose another with --%s", what, op.Addr, flag)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s address %s takes a privilege: choose a port from 1024 on with --%s, or give rollcall CAP_NET_BIND_SERVICE", what, op.Addr, flag)
	}
	return err
}

// registerOurselves makes rollcall a service of its own. A registry that takes
// no writes at the moment, as on a full disk, still has answers to give.
func (s *server) registerOurselves(ctx context.Context) error {
	err := s.registry.Register(ctx, registry.Registration{Instance: &registry.Instance{
		ID: ownService, Service: ownService, Port: int(s.dns.Addrs()[0].Port()),
		Meta: map[string]string{"version": buildVersion().Version},
	}})
	switch registry.CodeOf(err) {
	case registry.Full, registry.Unavailable:
		s.settings.logger.Warn("rollcall could not register itself", "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("registering rollcall itself: %w", err)
	}
	return nil
}

// explainDNS answers /v1/explain.
func (s *server) explainDNS(name, qtype string) (any, error) {
	t, ok := typeOf(strings.ToUpper(qtype))
	if !ok {
		return nil, registry.Errorf(registry.Invalid, "type %q is no type of DNS records", qtype)
	}
	if _, ok := dns.IsDomainName(name); !ok {
		return nil, registry.Errorf(registry.Invalid, "%q is no DNS name", name)
	}
	return s.zones().Explain(s.registry.View(), dns.Fqdn(name), t), nil
}

// zones returns those that are answered for now.
func (s *server) zones() *zones.Zones { return s.current.Load().zones }

// adminTokens returns the function that knows the tokens in force; nil: none is
// asked for, now and later.
func (s *server) adminTokens() func() []admin.Token {
	if s.settings.adminTokens == nil {
		return nil
	}
	return func() []admin.Token { return s.current.Load().settings.adminTokens() }
}

// adminHosts returns the names in force that HTTP is reached by, beside its own.
func (s *server) adminHosts() []string { return s.current.Load().settings.adminHosts }

// ready tells why clients should go elsewhere, or nil.
func (s *server) ready() error {
	if s.draining.Load() {
		return errors.New("rollcall is shutting down")
	}
	return s.dns.Ready()
}

// run serves until ctx ends. Then it says that it is not ready, waits for the
// drain time, and answers what is at hand before it returns.
func (s *server) run(ctx context.Context) error {
	if err := s.supervisor.reach(); err != nil {
		return err
	}
	group, serving := errgroup.WithContext(context.WithoutCancel(ctx))
	serving, stop := context.WithCancel(serving)
	defer stop()
	group.Go(func() error { return s.dns.Run(serving) })
	group.Go(func() error { return s.admin.Serve(serving, s.listener) })
	if s.watchers != nil {
		s.settings.logger.Info("serving metrics", "http", s.watchers.Addr())
		group.Go(func() error { return s.admin.ServeMetrics(serving, s.watchers) })
	}
	group.Go(func() error { return s.health.Run(serving) })
	group.Go(func() error { return s.supervise(ctx) })
	group.Go(func() error { return s.followReloads(serving) })
	group.Go(func() error { return s.followDumps(serving) })
	group.Go(func() error { return s.followZoneFiles(serving) })
	group.Go(func() error { return s.notifySecondaries(serving) })
	group.Go(func() error { return s.ask(serving) })
	for _, c := range []*certificate{s.settings.certificate, s.settings.adminCertificate} {
		if c != nil {
			group.Go(func() error { return c.run(serving) })
		}
	}
	group.Go(func() error { return s.showQueries(serving) })
	if s.registry.run != nil {
		group.Go(func() error { return s.registry.run(serving) })
	}
	group.Go(func() error {
		defer stop()
		select {
		case <-ctx.Done():
		case <-serving.Done():
			return nil
		}
		s.draining.Store(true)
		drain := s.current.Load().settings.drain
		s.settings.logger.Info("shutting down", "drain", drain)
		select {
		case <-time.After(drain):
		case <-serving.Done():
		}
		return nil
	})
	s.settings.logger.Info("serving", "dns", s.dns.Addrs(), "http", s.adminAddr(), "zones", s.registry.zones, "index", s.registry.View().Index())
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (s *server) adminAddr() netip.AddrPort {
	return s.listener.Addr().(*net.TCPAddr).AddrPort()
}

// ownAddrs returns all addresses that rollcall itself answers at.
func (s *server) ownAddrs() []netip.AddrPort {
	ours := []netip.AddrPort{s.adminAddr()}
	if s.watchers != nil {
		ours = append(ours, s.watchers.Addr().(*net.TCPAddr).AddrPort())
	}
	return slices.Concat(ours, s.dns.AddrsOf("tcp"), s.dns.AddrsOf("tls"), s.dns.AddrsOf("https"))
}

// Close gives back what newServer took.
func (s *server) Close() error {
	if s.listener != nil {
		s.listener.Close()
	}
	if s.watchers != nil {
		s.watchers.Close()
	}
	s.die()
	s.retiring.Wait()
	if now := s.current.Load(); now != nil && now.asker != nil {
		now.asker.Close()
	}
	if s.others != nil {
		s.others.Close()
	}
	if s.cache != nil {
		s.cache.Close()
	}
	if s.registry == nil {
		return s.tracing.close()
	}
	return errors.Join(s.registry.close(), s.tracing.close())
}

// reachable is how a client on this machine reaches what listens on an address.
func reachable(a netip.AddrPort) netip.AddrPort {
	switch {
	case !a.Addr().IsUnspecified():
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	case a.Addr().Is4():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
}
