// Package consul is a Registry that is a Consul cluster. Consul's catalog is the
// truth, writes go to its agent, and the View follows it by blocking queries,
// so that no reader of the View ever waits for Consul.
//
// It keeps the invariant that losing the registry is not losing discovery: when
// Consul is away, has no leader, or hides what it showed before, the last View
// stays, Status says since when it is stale, and a restart begins with the View
// that was kept on disk. What Consul says is compared before it is published: an
// answer that changes nothing supersedes nothing.
//
// Connections are few, because Consul cuts off a client that has 200. Three
// questions see everything (sync.go), and a service that somebody asked for
// lately has one of its own within the budget (watch.go). How answers are
// ordered and what they may delete is in apply.go. Other datacenters and prepared
// queries, which somebody has to ask for first, are in elsewhere.go.
//
// Nothing of DNS or of the admin endpoint may live here.
package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-dns/rollcall/registry"
)

// Config says where Consul is and how it is watched. The zero value follows
// Consul's own environment variables, CONSUL_HTTP_ADDR and the others.
type Config struct {
	Address    string        // of the agent: host:port, http://…, https://… or unix://…; empty: from the environment
	Token      string        // empty: from the environment
	TLS        api.TLSConfig // what is empty in it comes from the environment
	Datacenter string        // empty: the agent's own

	CacheDir string   // where the last view is kept for a restart without Consul; empty: it is not kept
	Watches  int      // how many connections to Consul there may be; zero: 150, and never fewer than 20
	Pinned   []string // services that are watched whether somebody asks for them or not

	Logger  *slog.Logger          // nil: nothing is logged
	Metrics prometheus.Registerer // nil: nothing is registered

	// Around returns a transport that does something around each request to Consul,
	// such as tracing it; nil: nothing is done.
	Around func(http.RoundTripper) http.RoundTripper

	own     *atomic.Pointer[string]     // Token, for all datacenters; nil: it is made
	tls     *atomic.Pointer[tls.Config] // TLS, likewise, as its files were read last
	alone   bool                        // it is one that another stands in front of a datacenter with
	network http.RoundTripper           // in tests, what stands in for Consul
}

const (
	defaultWatches = 150
	leastWatches   = reserve + 4
	askAgentWithin = 500 * time.Millisecond // at the start, when there is a view on disk
	amnesty        = 90 * time.Second
)

// Registry is a Consul cluster, seen through one of its agents.
type Registry struct {
	*registry.Feed
	config    Config
	log       *slog.Logger
	metrics   *metrics
	client    *api.Client
	transport *transport
	fresh     *freshness
	agent     atomic.Pointer[agent]
	elsewhere *elsewhere // what lies beyond; nil for one that is alone
	cache     string     // the file the view is kept in; empty: none
	unsaved   atomic.Bool

	clock     atomic.Int64 // seconds that Run has run for, plus one
	tracked   atomic.Pointer[map[string]*tracked]
	watching  atomic.Int32
	returning queue
	wanted    chan struct{} // somebody asked for a service that is not watched
	queued    chan struct{} // there is something in queue
	round     chan struct{} // all services are to be looked at soon

	mu         sync.Mutex
	reserved   reserved
	services   floor
	nodes      floor
	checks     floor
	nodeChecks map[string][]*registry.Check // by node, as all checks were last time
	pins       []string                     // services that are watched whether somebody asks for them or not
	queue      []*tracked
	awaiting   int             // services that the first sync waits for
	settled    map[string]bool // wide questions that were answered
	complete   bool            // the first sync is done
	condemned  condemned
	amnesty    time.Duration
}

var _ registry.Registry = (*Registry)(nil)

// Open returns a Registry in front of Consul. It asks the agent who it is, until
// that succeeds or ctx ends; where there is a view on disk it asks only once
// and goes on without an answer. The View is empty or old until Run has synced it.
func Open(ctx context.Context, c Config) (*Registry, error) {
	if c.Watches == 0 {
		c.Watches = defaultWatches
	}
	if c.Watches < leastWatches {
		return nil, registry.Errorf(registry.Invalid, "%d connections to Consul are too few: at least %d are needed", c.Watches, leastWatches)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.own == nil {
		c.own = new(atomic.Pointer[string])
		c.own.Store(&c.Token)
	}
	if c.tls == nil {
		config, err := readTLS(c.TLS)
		if err != nil {
			return nil, err
		}
		c.tls = new(atomic.Pointer[tls.Config])
		c.tls.Store(config)
	}
	fresh := newFreshness(c.Logger)
	m, err := newMetrics(c.Metrics, fresh)
	if err != nil {
		return nil, err
	}
	fresh.metrics = m
	r := &Registry{
		config: c, log: c.Logger, metrics: m, fresh: fresh, amnesty: amnesty,
		wanted: make(chan struct{}, 1), queued: make(chan struct{}, 1), round: make(chan struct{}, 1),
		settled: make(map[string]bool), pins: c.Pinned,
	}
	r.clock.Store(1)
	r.tracked.Store(&map[string]*tracked{})
	if r.client, r.transport, err = newClient(c, m.connections); err != nil {
		return nil, err
	}
	if c.CacheDir != "" {
		r.cache = filepath.Join(c.CacheDir, cacheName(c))
		r.reserved.file = strings.TrimSuffix(r.cache, viewSuffix) + ".index"
	}
	if !c.alone {
		r.elsewhere = newElsewhere(r)
	}
	if err := r.begin(ctx); err != nil {
		r.transport.CloseIdleConnections()
		return nil, err
	}
	return r, nil
}

// begin finds out who the agent is and what there is on disk.
func (r *Registry) begin(ctx context.Context) error {
	if err := r.reserved.read(); err != nil {
		r.log.Warn("the index of the view may fall", "err", err)
	}
	kept, err := r.loadCache()
	if err != nil {
		r.log.Warn("the view on disk cannot be used", "file", r.cache, "err", err)
	}
	self, err := r.meet(ctx, kept != nil)
	switch {
	case err != nil && kept == nil:
		return registry.Errorf(registry.Unavailable, "asking Consul's agent who it is: %w", err)
	case err != nil:
		r.log.Warn("Consul does not answer, the view is from disk", "written", kept.Written, "err", err)
		self = kept.Agent
	case kept != nil && kept.Agent.Datacenter != self.Datacenter:
		r.log.Warn("the view on disk is another datacenter's", "file", r.cache, "datacenter", kept.Agent.Datacenter)
		kept = nil
	}
	r.agent.Store(&self)
	if kept == nil {
		r.Feed = registry.NewFeed(r.beside(registry.NewView(self.Datacenter).Txn(r.reserved.upTo + 1).Commit().View))
		return nil
	}
	r.Feed = registry.NewFeed(r.beside(kept.view))
	r.services = floor{kept.ConsulIndex, kept.Filtered}
	r.nodes.filtered, r.checks.filtered = kept.Filtered, kept.Filtered
	listed := make(map[string]string)
	for s := range kept.view.Services() {
		listed[lower(s.Name)] = s.Name + "\x00"
	}
	r.track(listed)
	r.fresh.loaded(kept.Written)
	return nil
}

// beside returns a View with what lies beyond it.
func (r *Registry) beside(v *registry.View) *registry.View {
	if r.elsewhere == nil {
		return v // and no Elsewhere that is a nil pointer
	}
	return v.Beside(r.elsewhere)
}

// agent is what Consul's agent says of itself.
type agent struct {
	Node       string // where agent-local writes go; empty: not known, or in another datacenter
	Datacenter string // that the View is of
	Domain     string // of its DNS, with a final dot
}

// meet asks the agent who it is: until it answers, or once.
func (r *Registry) meet(ctx context.Context, once bool) (agent, error) {
	within := answerWithin
	if once {
		within = askAgentWithin
	}
	retry := backoff{most: retryWide}
	for {
		self, err := r.askAgent(ctx, within)
		if err == nil || once {
			return self, err
		}
		if kind, _ := kindOf(err); kind == kindACL {
			r.log.Warn("the token may not read the agent: Consul's default domain is assumed", "err", err)
			return agent{Datacenter: r.config.Datacenter, Domain: "consul."}, nil
		}
		if retry.failures == 0 {
			r.log.Warn("waiting for Consul's agent", "err", err)
		}
		if sleep(ctx, retry.failed(0)) != nil {
			return agent{}, err
		}
	}
}

func (r *Registry) askAgent(ctx context.Context, within time.Duration) (agent, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var self struct {
		Config      struct{ Datacenter, NodeName string }
		DebugConfig struct{ DNSDomain string }
	}
	options := (&api.QueryOptions{}).WithContext(ctx)
	if _, err := r.client.Raw().Query("/v1/agent/self", &self, options); err != nil {
		return agent{}, err
	}
	a := agent{Node: self.Config.NodeName, Datacenter: self.Config.Datacenter, Domain: self.DebugConfig.DNSDomain}
	if a.Domain == "" {
		a.Domain = "consul."
	}
	if dc := r.config.Datacenter; dc != "" && dc != a.Datacenter {
		a.Node, a.Datacenter = "", dc
	}
	return a, nil
}

// Domain returns the domain of Consul's own DNS, with a final dot.
func (r *Registry) Domain() string { return r.agent.Load().Domain }

// Node returns the name of the agent's node, which is where instances without a
// node are registered. It is empty where the agent does not say.
func (r *Registry) Node() string { return r.agent.Load().Node }

// Freshness tells how far the View can be trusted. It never blocks, and allocates
// nothing: what it returns is not to be changed.
func (r *Registry) Freshness() *registry.Freshness { return r.fresh.status.Load() }

// Datacenter returns the name of the datacenter that the View is of.
func (r *Registry) Datacenter() string { return r.agent.Load().Datacenter }

// Run keeps the View fresh until ctx ends, and then writes it to disk.
func (r *Registry) Run(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{
		r.followServices, r.followNodes, r.followChecks, r.schedule, r.refresh, r.rounds, r.keepCache, r.meetAgain, r.pulse,
	} {
		group.Go(func() error { return part(running) })
	}
	if r.elsewhere != nil {
		group.Go(func() error { return r.elsewhere.run(running) })
	}
	err := group.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	_, saveErr := r.saveCache()
	return errors.Join(err, saveErr)
}

// meetAgain learns, after a start from disk, what the agent says of itself now.
func (r *Registry) meetAgain(ctx context.Context) error {
	if !r.Freshness().Synced {
		return nil
	}
	if _, err := r.fresh.wait(ctx); err != nil {
		return err
	}
	self, err := r.meet(ctx, false)
	if err != nil {
		return err
	}
	if before := r.agent.Swap(&self); *before != self {
		r.log.Warn("Consul's agent is not who it was", "before", fmt.Sprint(*before), "now", fmt.Sprint(self))
	}
	return nil
}

// SetToken replaces Config's Token. Questions that Consul holds come back first.
func (r *Registry) SetToken(token string) { r.config.own.Store(&token) }

// Close gives back the connections. Run must have returned.
func (r *Registry) Close() error {
	r.transport.CloseIdleConnections()
	return nil
}

// SetPinned replaces Config's Pinned. Services that are pinned no longer are watched
// as long as somebody asks for them.
func (r *Registry) SetPinned(names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pins = names
	for _, t := range *r.tracked.Load() {
		t.pinned = r.pinned(t.key)
	}
	signal(r.wanted)
}

// pinned tells whether a service is. The caller holds mu.
func (r *Registry) pinned(key string) bool {
	return slices.ContainsFunc(r.pins, func(name string) bool { return lower(name) == key })
}
