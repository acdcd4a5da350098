// Package transfer hands zones on to secondary servers: whole (AXFR, RFC 5936), as
// what has changed (IXFR, RFC 1995), and by telling them that something has
// (NOTIFY, RFC 1996). It knows who may ask, by address or by key (TSIG, RFC 8945).
//
// A zone that is signed as it is asked is handed to nobody: a secondary could not
// sign it.
//
// What a zone consists of is decided in package zones. Here its list is kept from
// one transfer to the next, so that the difference is at hand: a journal, bounded in
// size, in memory alone. After a restart, or for a secondary that was away for too
// long, a whole zone takes its place. A zone that nobody has asked for is not
// listed at all.
//
// Sockets and framing are not here but in package dnsserver, which hands a request
// in and writes out what comes.
package transfer

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
)

// Config says what is handed on, and to whom.
type Config struct {
	Registry registry.Registry
	Zones    *zones.Zones
	// Freshness tells whether the registry has told yet what there is; nil: it has.
	Freshness func() *registry.Freshness

	Allow   []Rule                // whoever meets one of them may transfer; none: nobody
	Keys    Keys                  // that requests may be signed with
	Notify  []Target              // who is told of changes
	Source  netip.Addr            // where notifications come from; the zero Addr: as the system chooses
	Logger  *slog.Logger          // nil: silent
	Metrics prometheus.Registerer // nil: not measured
}

// Rule says who may transfer: whoever is in the network and has shown the key.
type Rule struct {
	Network netip.Prefix // the zero Prefix: wherever they are
	Key     string       // fully qualified, in lower case; empty: they need none
}

// Server answers requests for transfers. Its methods may be called from any
// goroutine.
type Server struct {
	config  Config
	metrics *metrics
	slots   chan struct{}                                            // as many as there may be transfers at the same time
	logged  *atomic.Int64                                            // when a refusal was logged last, Unix seconds
	send    func(context.Context, *zones.Zone, Target, uint32) error // a notification
	ask     func(context.Context, *zones.Zone, Target) (serial uint32, replied bool, err error)

	mu    sync.Mutex
	zones map[*zones.Zone]*journal // of zones that somebody has asked for
}

// maxTransfers is how many transfers there may be at the same time: each holds the
// records of a zone.
const maxTransfers = 8

// New returns a Server.
func New(config Config) (*Server, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{config: config, metrics: newMetrics(), slots: make(chan struct{}, maxTransfers), logged: new(atomic.Int64), zones: make(map[*zones.Zone]*journal)}
	s.send, s.ask = s.exchange, s.question
	if config.Metrics != nil {
		if err := config.Metrics.Register(s.metrics); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Successor returns a Server that hands on the Zones of another Config, to whom that
// says. It has the metrics and the bounds of s; what s began goes on. Its journals
// begin anew, so that each secondary takes a zone whole the first time.
func (s *Server) Successor(config Config) *Server {
	if config.Logger == nil {
		config.Logger = s.config.Logger
	}
	next := &Server{config: config, metrics: s.metrics, slots: s.slots, logged: s.logged, zones: make(map[*zones.Zone]*journal)}
	next.send, next.ask = next.exchange, next.question
	return next
}

// allows tells whether a client may transfer, who has shown a key or none.
func (s *Server) allows(from netip.Addr, key string) bool {
	from = from.Unmap().WithZone("")
	for _, rule := range s.config.Allow {
		if rule.Network == (netip.Prefix{}) && rule.Key == "" {
			continue // it says nothing
		}
		if (rule.Network == netip.Prefix{} || rule.Network.Contains(from)) && (rule.Key == "" || rule.Key == key) {
			return true
		}
	}
	return false
}

// Serve answers a request for a transfer over a stream, whose messages it hands to
// write. The error is write's own. The request has one question, for AXFR or IXFR.
func (s *Server) Serve(request []byte, from netip.Addr, write func(message []byte) error) error {
	m := new(dns.Msg)
	if err := m.Unpack(request); err != nil || len(m.Question) != 1 {
		return write(failure(request, dns.RcodeFormatError))
	}
	signer, refusal := s.Verify(request)
	if refusal != nil {
		return write(refusal)
	}
	out := &stream{request: m, signer: signer, write: write}
	rcode, err := s.answer(m, from, signer, out)
	if err == nil && rcode != dns.RcodeSuccess {
		s.metrics.refused.Inc()
		err = out.fail(rcode)
	}
	return err
}

// logRefusal logs that somebody may not transfer, once a second: anybody can ask.
func (s *Server) logRefusal(zone string, from netip.Addr, key string) {
	now := time.Now().Unix()
	if last := s.logged.Load(); now != last && s.logged.CompareAndSwap(last, now) {
		s.config.Logger.Warn("a transfer was refused", "zone", zone, "client", from, "key", key)
	}
}

// synced tells whether a zone's content is known: a secondary that gets an empty one
// in place of what it has loses it.
func (s *Server) synced(zone *zones.Zone) bool {
	return s.config.Freshness == nil || !zone.Registered() || s.config.Freshness().Synced
}

// errBusy is why a transfer has to be asked for again.
var errBusy = errors.New("too many transfers at once")

func (s *Server) answer(m *dns.Msg, from netip.Addr, signer *Signer, out *stream) (rcode int, err error) {
	q := m.Question[0]
	zone := s.config.Zones.Find(q.Name)
	switch {
	case !s.allows(from, signer.Key()), zone != nil && zone.Signer() != nil:
		s.logRefusal(q.Name, from, signer.Key())
		return dns.RcodeRefused, nil
	case zone == nil:
		return dns.RcodeNotAuth, nil
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		s.config.Logger.Warn("a transfer was put off", "zone", zone.Name, "client", from, "err", errBusy)
		return dns.RcodeServerFailure, nil
	}
	if !s.synced(zone) {
		return dns.RcodeServerFailure, nil
	}
	have, since := serialOf(m)
	if q.Qtype == dns.TypeIXFR && !since {
		return dns.RcodeFormatError, nil
	}
	j := s.journal(zone)
	p, err := j.plan(s.config.Registry.View(), have, since && q.Qtype == dns.TypeIXFR)
	if err != nil {
		s.config.Logger.Error("a zone cannot be transferred", "err", err)
		return dns.RcodeServerFailure, nil
	}
	s.metrics.transfers.WithLabelValues(p.kind).Inc()
	if err = p.send(out); err != nil {
		s.config.Logger.Warn("a transfer was broken off", "zone", zone.Name, "client", from, "kind", p.kind, "err", err)
		return dns.RcodeSuccess, err
	}
	s.config.Logger.Info("a zone was transferred", "zone", zone.Name, "client", from, "key", signer.Key(), "kind", p.kind, "serial", p.soa.Serial)
	return dns.RcodeSuccess, nil
}

// Answer answers a request that came by something other than a stream: an IXFR with
// the SOA, so that the secondary comes again (RFC 1995, section 2), anything else
// with a refusal. The request's signature is for the caller to verify.
func (s *Server) Answer(request []byte, from netip.Addr, key string) []byte {
	m := new(dns.Msg)
	if err := m.Unpack(request); err != nil || len(m.Question) != 1 {
		return failure(request, dns.RcodeFormatError)
	}
	reply := reply(m)
	zone := s.config.Zones.Find(m.Question[0].Name)
	switch {
	case m.Question[0].Qtype != dns.TypeIXFR, !s.allows(from, key), zone != nil && zone.Signer() != nil:
		s.metrics.refused.Inc()
		reply.Rcode = dns.RcodeRefused
	case zone == nil:
		reply.Rcode = dns.RcodeNotAuth
	case !s.synced(zone):
		reply.Rcode = dns.RcodeServerFailure
	default:
		s.metrics.transfers.WithLabelValues("soa").Inc()
		reply.Answer = []dns.RR{s.config.Zones.SOA(zone, s.config.Registry.View())}
		reply.Authoritative = true
	}
	packed, err := reply.Pack()
	if err != nil {
		return failure(request, dns.RcodeServerFailure)
	}
	return packed
}

// serialOf returns the serial that a secondary has.
func serialOf(m *dns.Msg) (serial uint32, ok bool) {
	for _, rr := range m.Ns {
		if soa, isSOA := rr.(*dns.SOA); isSOA {
			return soa.Serial, true
		}
	}
	return 0, false
}

// journal returns the journal of a zone, which has begun by then.
func (s *Server) journal(zone *zones.Zone) *journal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.zones[zone] == nil {
		s.zones[zone] = &journal{zones: s.config.Zones, zone: zone, most: maxJournal, contents: s.config.Zones.NewContents(zone), bytes: s.metrics.journalled.WithLabelValues(zone.Name)}
	}
	return s.zones[zone]
}

// reply returns a reply to a request, without records.
func reply(request *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(request)
	m.RecursionDesired, m.Compress = request.RecursionDesired, true
	if opt := request.IsEdns0(); opt != nil {
		m.SetEdns0(edns, false)
	}
	return m
}

// edns is the largest datagram that is taken, octets.
const edns = 1232

// failure returns a reply to a request that could not be read to its end: its
// header and a response code.
func failure(request []byte, rcode int) []byte {
	m := append([]byte(nil), request[:12]...)
	m[2], m[3] = 0x80|m[2]&0x79, byte(rcode)
	clear(m[4:])
	return m
}
