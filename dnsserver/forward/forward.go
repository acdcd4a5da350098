// Package forward asks other servers, the upstreams, for names that are in none
// of rollcall's zones, so that it can be the only server of a host.
//
// A Route says which upstreams are asked for which names. Asker.Ask goes from the
// answer that is kept, over somebody else's question that is the same and already
// on its way, to the upstreams one after the other: ask.go is to be read from top
// to bottom. upstream.go has one exchange with one of them and decides which
// packet is the reply; scrub.go decides what of a reply is believed; health.go
// which upstreams are asked last; special.go which names are nobody's.
//
// What is in rollcall's own zones, and what a client is told, is not decided here
// but in dnsserver. Whatever an upstream says ends in package cache, apart from
// rollcall's own answers, and never in their place.
package forward

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-dns/rollcall/cache"
)

// Config says who is asked, and who may ask.
type Config struct {
	Routes  []Route
	Clients []netip.Prefix // networks that may ask
	// PrivateNames are domains whose names may have addresses of private networks
	// though the upstream is on the Internet; the root stands for all.
	PrivateNames []string
	// Ours returns how many octets of a name in wire format and in lower case are the
	// name of one of our own zones; 0: it is in none.
	Ours    func(name []byte) int
	Cache   *cache.ForwardedCache
	Logger  *slog.Logger          // nil: silent
	Metrics prometheus.Registerer // nil: not measured
}

// Asker asks upstreams. Its methods may be called from any goroutine.
type Asker struct {
	cache        *cache.ForwardedCache
	clients      []netip.Prefix
	privateNames []string
	logger       *slog.Logger
	metrics      *metrics
	budget       budget

	ours func(name []byte) int

	routes atomic.Pointer[[]*route] // the longest domain first
	files  []*resolvFile
	asking sync.WaitGroup
	ctx    context.Context // of what is on its way
	end    context.CancelFunc

	mu      sync.Mutex
	flights map[string]*flight // by the key of the question
}

// route is a domain and the upstreams that are asked for its names.
type route struct {
	domain    string // in wire format and in lower case
	upstreams []*upstream
	public    bool // one of them is not in a private network
}

// Question is a name, a type and what else the answer depends on.
type Question struct {
	Name   []byte // in wire format and in lower case
	Type   uint16
	DO, CD bool
}

// New returns an Asker. Run keeps it informed about its upstreams.
func New(config Config) (*Asker, error) {
	a, err := makeAsker(config, newMetrics())
	if err != nil {
		return nil, err
	}
	a.metrics.newest.Store(a)
	if config.Metrics != nil {
		return a, a.metrics.register(config.Metrics)
	}
	return a, nil
}

// Successor returns another Asker, which counts where this one does; Config's Metrics
// are not looked at. This one answers who has it until it is closed; see Retire.
func (a *Asker) Successor(config Config) (*Asker, error) { return makeAsker(config, a.metrics) }

func makeAsker(config Config, m *metrics) (*Asker, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Asker{
		cache: config.Cache, clients: config.Clients, logger: config.Logger, metrics: m,
		ours: config.Ours, flights: make(map[string]*flight),
		budget: budget{most: 1000, mostEach: 100, each: make(map[netip.Addr]int)},
	}
	for _, name := range config.PrivateNames {
		a.privateNames = append(a.privateNames, dns.CanonicalName(name))
	}
	a.ctx, a.end = context.WithCancel(context.Background())
	var routes []*route
	for _, r := range config.Routes {
		var err error
		if routes, err = a.addRoute(routes, r); err != nil {
			return nil, err
		}
	}
	a.use(routes)
	return a, nil
}

// use makes routes the ones that are asked from now on.
func (a *Asker) use(routes []*route) {
	slices.SortStableFunc(routes, func(x, y *route) int { return len(y.domain) - len(x.domain) })
	for _, r := range routes {
		r.public = slices.ContainsFunc(r.upstreams, func(u *upstream) bool { return !isPrivate(u.addr.Addr()) })
	}
	a.routes.Store(&routes)
}

// Run looks after the upstreams until ctx ends, and then ends what is under way.
func (a *Asker) Run(ctx context.Context) error {
	a.metrics.newest.Store(a)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.probe(ctx) })
	if len(a.files) > 0 {
		group.Go(func() error { return a.followFiles(ctx) })
	}
	return group.Wait()
}

// retireTime is how long an Asker that has a successor is waited for: whoever asked it
// last has an answer by then, after a name that leads to another.
const retireTime = 3 * BudgetTime

// Retire closes an Asker that has a successor, once nobody can be waiting for its
// answer any longer, or when ctx ends.
func (a *Asker) Retire(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(retireTime):
	}
	a.Close()
}

// Close ends all exchanges, and returns when nobody is in Ask any longer.
func (a *Asker) Close() {
	a.metrics.newest.CompareAndSwap(a, nil)
	a.end()
	a.asking.Wait()
	for _, u := range a.upstreams() {
		u.close()
	}
}

// Serves tells whether a client may ask.
func (a *Asker) Serves(client netip.Addr) bool {
	client = client.Unmap()
	for _, network := range a.clients {
		if network.Contains(client) {
			return true
		}
	}
	return false
}

// Claims tells whether a Route is for a domain that the name, in wire format and in
// lower case, is in, and that domain is in a zone of ours, or is that zone: what we
// do not have there, others may.
func (a *Asker) Claims(name []byte) bool {
	r := a.route(name)
	return r != nil && len(r.domain) > 1 && len(r.domain) >= a.ours(name)
}

// route returns the one with the longest domain that the name is in; nil: none.
func (a *Asker) route(name []byte) *route {
	for _, r := range *a.routes.Load() {
		if isIn(name, r.domain) {
			return r
		}
	}
	return nil
}

// isIn tells whether a name is in a domain, both in wire format and in lower case.
func isIn(name []byte, domain string) bool {
	for len(name) > len(domain) {
		name = name[1+name[0]:]
	}
	return string(name) == domain
}

// upstreams returns those of all routes.
func (a *Asker) upstreams() (all []*upstream) {
	for _, r := range *a.routes.Load() {
		all = append(all, r.upstreams...)
	}
	return all
}

// Looped tells whether a name is one that only this process has made up: an
// upstream has sent the question back. It is not asked any more until it does so
// no longer.
func (a *Asker) Looped(name []byte) bool {
	if len(name) < 1+2*markerSize || int(name[0]) != 2*markerSize {
		return false
	}
	label := string(name[1 : 1+2*markerSize])
	for _, u := range a.upstreams() {
		if marker := u.marker.Load(); marker != nil && *marker == label {
			u.returned.Store(true)
			if !u.loops.Swap(true) {
				a.metrics.loops.Inc()
				a.logger.Error("an upstream sends back here what it is asked; it is asked no more until that has an end", "upstream", u.name)
			}
			return true
		}
	}
	return false
}

// markerSize is how many random octets the name has that shows a loop.
const markerSize = 16

func newMarker() string { return hex.EncodeToString(randomOctets(markerSize)) }

// key is what a Question is kept by: see cache.ForwardedCache.
func (q *Question) key(to []byte) []byte {
	var flags cache.ForwardedFlags
	if q.DO {
		flags |= cache.ForwardedDO
	}
	if q.CD {
		flags |= cache.ForwardedCD
	}
	return append(append(to, q.Name...), byte(q.Type>>8), byte(q.Type), byte(flags))
}

// owner returns the name as master files have it.
func (q *Question) owner() string {
	name, _, err := dns.UnpackDomainName(q.Name, 0)
	if err != nil {
		return "."
	}
	return strings.ToLower(name)
}
