// Package dnsserver answers DNS queries: it owns the sockets, and the one
// pipeline that every query passes, whatever it came by.
//
// The transports, udp.go, stream.go and https.go, only read and write octets. pipeline.go is
// to be read from top to bottom, in the order in which things happen to a query:
// what must not be answered, what is malformed, whose cookie it bears, what is
// refused, the packed answer from the cache or else from a View, its size, and
// whether its network gets too much. What the names mean is not decided here but
// in package zones.
//
// A query waits for nothing: it loads one View, and takes no lock that a
// registration holds. The one exception is told in pending.go: a name of others,
// whose answer is not known, waits aside for package forward.
package dnsserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/dnsserver/forward"
	"github.com/rollcall-dns/rollcall/dnsserver/transfer"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
)

// Config says what a Server serves.
type Config struct {
	Registry registry.Registry
	Zones    *zones.Zones
	Cache    *cache.Cache
	// Freshness tells how far the registry's View can be trusted. It is asked with
	// each query, and must not block; nil: it is the truth.
	Freshness func() *registry.Freshness
	// Asker asks others for names that are in none of the zones; nil: they are
	// refused.
	Asker *forward.Asker
	// Transfers hands zones on; nil: nobody gets one.
	Transfers *transfer.Server
	// RateLimit bounds replies over UDP.
	RateLimit RateLimit
	// UDPSize bounds a reply over UDP, octets, however large a one the client takes;
	// zero: cache.UDPSize.
	UDPSize int
	// Unbundled replies are sent each alone over UDP, also where several of one length
	// go to one port; not so, the kernel is asked to cut them from one (UDP_SEGMENT).
	Unbundled bool
	// MaxStale is for how long a View that is not kept fresh is answered from;
	// zero: for as long as it takes.
	MaxStale time.Duration
	Addrs    []string // for UDP and TCP, host:port each; an empty host is every address, port 0 any free one
	Given    *Sockets // to serve on in place of Addrs; nil: Listen takes those
	// TLSAddrs and HTTPSAddrs are those for DNS over TLS and over HTTPS, which TLS is for.
	TLSAddrs   []string
	HTTPSAddrs []string
	TLS        *tls.Config
	Observers  []Observer            // of queries and replies; 8 at most
	Logger     *slog.Logger          // nil: silent
	Metrics    prometheus.Registerer // nil: not measured
}

// Sockets are open already, and stay so with somebody else when the Server ends:
// what has come to them by then is left to its successor. The Server closes its
// own ends of them.
type Sockets struct {
	UDP []*net.UDPConn
	TCP []*net.TCPListener
}

// Server answers DNS queries.
type Server struct {
	faults    faults
	newest    atomic.Pointer[pipeline]
	config    Config
	listeners []*listener
	udp       []*socket
}

// listener is where connections come in.
type listener struct {
	tcp       *net.TCPListener
	kept      bool        // somebody else has it open, too
	transport string      // tcp, tls or https
	tls       *tls.Config // nil: they are in clear
}

// New returns a Server; Listen takes its addresses, and Run serves.
func New(config Config) (*Server, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.UDPSize == 0 {
		config.UDPSize = cache.UDPSize
	}
	if config.Freshness == nil {
		config.Freshness = func() *registry.Freshness { return &always }
	}
	s := &Server{config: config}
	first := &pipeline{
		newest: &s.newest, registry: config.Registry, logger: config.Logger, freshness: config.Freshness,
		metrics: newMetrics(), nameLog: newNameLog(), cookies: newCookies(time.Now()), udpSize: config.UDPSize, faults: &s.faults,
	}
	if err := s.publish(first, config); err != nil {
		return nil, err
	}
	if config.Metrics == nil {
		return s, nil
	}
	if err := config.Metrics.Register(first.metrics); err != nil {
		return nil, fmt.Errorf("register the metrics of DNS: %w", err)
	}
	if err := config.Metrics.Register(signaturesMade(&s.newest)); err != nil {
		return nil, fmt.Errorf("register the metrics of signatures: %w", err)
	}
	return s, nil
}

// Listen takes all addresses. From then on queries queue up.
func (s *Server) Listen() error {
	addrs := s.config.Addrs
	if s.config.Given != nil {
		addrs = nil
		if err := s.share(s.config.Given); err != nil {
			s.close()
			return err
		}
	}
	for _, addr := range addrs {
		if err := s.listen(addr); err != nil {
			s.close()
			return fmt.Errorf("listen for DNS on %s: %w", addr, err)
		}
	}
	for transport, addrs := range map[string][]string{"tls": s.config.TLSAddrs, "https": s.config.HTTPSAddrs} {
		for _, addr := range addrs {
			if _, err := s.listenTCP(addr, transport, s.config.TLS.Clone()); err != nil {
				s.close()
				return fmt.Errorf("listen for DNS over %s on %s: %w", strings.ToUpper(transport), addr, err)
			}
		}
	}
	return nil
}

// share takes sockets that are open.
func (s *Server) share(given *Sockets) error {
	for _, l := range given.TCP {
		s.listeners = append(s.listeners, &listener{tcp: l, kept: true, transport: "tcp"})
	}
	for _, conn := range given.UDP {
		sockets, err := shareUDP(conn)
		s.udp = append(s.udp, sockets...)
		if err != nil {
			return fmt.Errorf("take over the socket of %s: %w", conn.LocalAddr(), err)
		}
	}
	return nil
}

// listen takes an address. TCP comes first: it finds out whether somebody else
// has it, which UDP sockets that share a port do not. Where the system chooses the
// port, and UDP has not got the one of TCP, it has to choose another one.
func (s *Server) listen(addr string) error {
	const tries = 16
	for n := 1; ; n++ {
		port, err := s.listenTCP(addr, "tcp", nil)
		if err != nil {
			return err
		}
		sockets, err := listenUDP(net.JoinHostPort(hostOf(addr), strconv.Itoa(port)))
		if err == nil || !strings.HasSuffix(addr, ":0") || n == tries {
			s.udp = append(s.udp, sockets...)
			return err
		}
		for _, u := range sockets {
			u.close()
		}
		last := len(s.listeners) - 1
		defer s.listeners[last].tcp.Close() // until then nobody is given it again
		s.listeners = s.listeners[:last]
	}
}

func (s *Server) listenTCP(addr, transport string, config *tls.Config) (port int, err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return 0, err
	}
	if transport == "tls" {
		config.NextProtos = []string{"dot"}
	}
	s.listeners = append(s.listeners, &listener{tcp: l.(*net.TCPListener), transport: transport, tls: config})
	return l.Addr().(*net.TCPAddr).Port, nil
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return strings.Trim(addr, "[]")
	}
	return host
}

// Addrs returns the addresses that Listen took for UDP and TCP.
func (s *Server) Addrs() []netip.AddrPort { return s.AddrsOf("tcp") }

// AddrsOf returns those that it took for a transport: tcp, tls or https.
func (s *Server) AddrsOf(transport string) (addrs []netip.AddrPort) {
	for _, l := range s.listeners {
		if l.transport == transport {
			addrs = append(addrs, l.tcp.Addr().(*net.TCPAddr).AddrPort())
		}
	}
	return addrs
}

// pendingTime is how long queries that wait for others may go on to at the end.
const pendingTime = 2 * time.Second

// What came before the end is read at the end: connections and, on those, queries.
const (
	lastConnections = 20 * time.Millisecond
	lastWords       = 100 * time.Millisecond
)

// Run answers queries until ctx ends; then it answers those that have come.
func (s *Server) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	patient, hurry := context.WithCancel(context.WithoutCancel(ctx))
	defer hurry()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(pendingTime, hurry) })()
	for _, socket := range s.udp {
		group.Go(func() error { return socket.serve(patient, s.newest.Load()) })
	}
	connections := newConnections(patient, s.newest.Load())
	var accepting sync.WaitGroup
	for _, l := range s.listeners {
		if l.transport == "https" {
			group.Go(func() error { return connections.serveHTTPS(l) })
		} else {
			accepting.Go(func() { connections.serveOn(l) })
		}
	}
	group.Go(func() error {
		<-ctx.Done()
		for _, socket := range s.udp {
			socket.end()
		}
		for _, l := range s.listeners {
			if l.kept || l.transport == "https" || l.tcp.SetDeadline(time.Now().Add(lastConnections)) != nil {
				_ = l.tcp.Close()
			}
		}
		accepting.Wait()
		connections.drain()
		return nil
	})
	err := group.Wait()
	s.close()
	return err
}

func (s *Server) close() {
	for _, l := range s.listeners {
		_ = l.tcp.Close()
	}
	for _, socket := range s.udp {
		socket.close()
	}
	s.udp = nil // their numbers may be others' from now on
}

// ended tells whether an error of a socket means that it was told to stop.
func ended(err error) bool {
	var timeout net.Error
	return errors.Is(err, net.ErrClosed) || errors.As(err, &timeout) && timeout.Timeout()
}
