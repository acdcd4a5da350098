// Package admin is rollcall's HTTP endpoint: the part of Consul's HTTP API that
// registers, checks, lists and watches, with Consul's field names, semantics
// and headers, whichever registry stands behind it, and beside it what people
// and monitoring ask for.
//
// It speaks to a registry.Registry alone, and knows neither DNS nor how checks
// are run. A write is answered when the registry has answered it, so whoever
// was told that it is done finds it done. Bad input is answered by one sentence
// that names the field, and changes nothing.
package admin

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rollcall-dns/rollcall/registry"
)

// Config says what a Server serves.
type Config struct {
	Registry   registry.Registry
	Node       string // the own node, to which what is registered with the agent belongs
	Datacenter string
	Version    string
	Tokens     func() []Token        // one of them is asked of every request but those for health; nil: none is
	TLS        *tls.Config           // nil: HTTP is in clear
	Hosts      func() []string       // names and addresses that it is reached by, beside its own, loopback and Node; nil: no others
	Zone       string                // the DNS zone that the page for people shows names in; empty: none
	Logger     *slog.Logger          // nil: silent
	Metrics    prometheus.Registerer // nil: not measured
	Gatherer   prometheus.Gatherer   // what /metrics shows; nil: nothing
	// OnBehalf returns the context of a request for the registry to know whose it
	// is: the one who shows the token, which is empty for nobody in particular. A
	// request with one of Tokens is the endpoint's own, and OnBehalf is not asked.
	// nil: the registry does not care.
	OnBehalf func(ctx context.Context, token string) context.Context
	// Freshness tells how far the registry's View can be trusted; nil: it is the truth.
	Freshness func() *registry.Freshness
	// Ready tells why clients should go elsewhere; nil, or returning nil: they need not.
	Ready func() error
	// Explain tells how a DNS question is answered, and why an instance is not in
	// the answer; nil: nobody can say.
	Explain func(name, qtype string) (any, error)
	// Traffic tells what was answered so far, for the page to draw; nil: nobody can say.
	Traffic func() Traffic
	// Asked tells which names were asked for most since it was called last; nil:
	// nobody can say. It is called every few seconds.
	Asked func() Asked
	// Around returns a handler that does something around the one of a route, which
	// ServeMux's pattern names, such as tracing it; nil: nothing is done.
	Around func(pattern string, next http.Handler) http.Handler
	// Connections is how many may be open from one address; 0: as many as in all.
	Connections int
	// Profile has /debug/pprof/ show what the process does.
	Profile bool
	// LogLevel is the level of the log, which can be chosen; nil: it cannot.
	LogLevel *slog.LevelVar
	// Reload has the configuration read anew, and says what of it has to wait for
	// the next start; an error is about the configuration. nil: there is none.
	Reload func(context.Context) (notice string, err error)
	// Configuration tells what is in force and what became of the last Reload,
	// without a secret; nil: nobody can say.
	Configuration func() Configuration
	// Backup returns a copy of all that is registered, which the endpoint closes;
	// nil: the registry makes none.
	Backup func(context.Context) (io.ReadCloser, error)
}

// Limits of the server. That of http.Server.ReadTimeout would also end whatever
// waits for longer than it, so guard sets readTimeout for a body alone; a
// blocking query sets the time to write when it has something to.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 30 * time.Second // of a body
	refusalTimeout = 2 * time.Second  // of one that says that it is too large
	writeTimeout   = 60 * time.Second
	idleTimeout    = 60 * time.Second
	maxHeaderBytes = 32 << 10
	maxBody        = 1 << 20
)

// Server is the endpoint. Make it with New.
type Server struct {
	cfg     Config
	metrics *metrics
	mux     *http.ServeMux
	handler http.Handler
	plainly *plainPage
	traffic *trafficLog
	names   *nameLog
	guesses guesses
	cross   *http.CrossOriginProtection
	life    string        // names this one in tags: after a restart an index may stand for something else
	closing chan struct{} // closed when waiting requests must end
}

// New returns the endpoint of a Config.
func New(cfg Config) (*Server, error) {
	if cfg.Registry == nil {
		return nil, errors.New("the HTTP endpoint has no registry to serve")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Connections == 0 {
		cfg.Connections = maxConnections
	}
	cfg.Registry = governed{cfg.Registry, cfg.Node}
	plainly, err := newPlainPage()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, metrics: newMetrics(cfg.Metrics), mux: http.NewServeMux(), plainly: plainly, life: rand.Text()[:8], cross: http.NewCrossOriginProtection(), closing: make(chan struct{})}
	if cfg.Traffic != nil {
		s.traffic = newTrafficLog(cfg.Traffic)
	}
	if cfg.Asked != nil {
		s.names = newNameLog(cfg.Asked)
	}
	for pattern, h := range s.routes() {
		handler := s.metrics.measure(pattern, s.serve(h))
		if cfg.Around != nil {
			handler = cfg.Around(pattern, handler)
		}
		s.mux.Handle(pattern, handler)
	}
	if cfg.Gatherer != nil {
		s.mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Gatherer, promhttp.HandlerOpts{}))
	}
	if cfg.Profile {
		const pattern = "GET /debug/pprof/{profile...}"
		s.mux.Handle(pattern, s.metrics.measure(pattern, s.serve(s.pprof)))
	}
	s.mux.Handle("/", s.metrics.measure("other", s.serve(s.unknownPath)))
	s.handler = identify(s.guard(s.audit(s.mux)))
	return s, nil
}

// handler answers a request, or returns the error to answer it with.
type handler func(w http.ResponseWriter, r *http.Request) error

// routes is the surface of the endpoint.
func (s *Server) routes() map[string]handler {
	return map[string]handler{
		"PUT /v1/agent/service/register":         decoded(s.registerService),
		"PUT /v1/agent/service/deregister/{id}":  s.deregisterService,
		"PUT /v1/agent/service/maintenance/{id}": s.maintainService,
		"PUT /v1/agent/maintenance":              s.maintainNode,
		"PUT /v1/agent/check/register":           decoded(s.registerCheck),
		"PUT /v1/agent/check/deregister/{id...}": s.deregisterCheck,
		"PUT /v1/agent/check/pass/{id...}":       s.heartbeat(registry.Passing),
		"PUT /v1/agent/check/warn/{id...}":       s.heartbeat(registry.Warning),
		"PUT /v1/agent/check/fail/{id...}":       s.heartbeat(registry.Critical),
		"PUT /v1/agent/check/update/{id...}":     decoded(s.updateCheck),

		"GET /v1/agent/services":                   s.agentServices,
		"GET /v1/agent/service/{id}":               s.agentService,
		"GET /v1/agent/checks":                     s.agentChecks,
		"GET /v1/agent/health/service/name/{name}": s.agentHealthByName,
		"GET /v1/agent/health/service/id/{id}":     s.agentHealthByID,
		"GET /v1/agent/self":                       s.agentSelf,
		"GET /v1/agent/members":                    s.agentMembers,
		"PUT /v1/agent/reload":                     s.reload,
		"GET /v1/config":                           s.configuration,
		"GET /v1/log-level":                        s.logLevel,
		"PUT /v1/log-level":                        s.setLogLevel,

		"PUT /v1/catalog/register":             decoded(s.catalogRegister),
		"PUT /v1/catalog/deregister":           decoded(s.catalogDeregister),
		"GET /v1/catalog/services":             s.catalogServices,
		"GET /v1/catalog/service/{name}":       s.catalogService,
		"GET /v1/catalog/nodes":                s.catalogNodes,
		"GET /v1/catalog/node/{name}":          s.catalogNode,
		"GET /v1/catalog/node-services/{name}": s.catalogNodeServices,
		"GET /v1/catalog/datacenters":          s.catalogDatacenters,

		"GET /v1/health/service/{name}": s.healthService,
		"GET /v1/health/node/{name}":    s.healthNode,
		"GET /v1/health/checks/{name}":  s.healthChecks,
		"GET /v1/health/state/{state}":  s.healthState,

		"GET /v1/status/leader": s.statusLeader,
		"GET /v1/status/peers":  s.statusPeers,

		"GET /v1/explain/{name}":     s.explain,
		"GET /v1/events":             s.events,
		"GET /v1/backup":             s.backup,
		"GET /v1/prometheus/targets": s.prometheusTargets,
		"GET /openapi.json":          s.openAPI,
		"GET /healthz":               s.healthz,
		"GET /readyz":                s.readyz,

		"GET /v1/overview":                 s.overview,
		"GET /v1/overview/services":        s.overviewServices,
		"GET /v1/overview/services/{name}": s.overviewService,
		"GET /v1/overview/traffic":         s.overviewTraffic,
		"GET /v1/overview/names":           s.overviewNames,
		"GET /{$}":                         s.page,
		"GET /page/{file}":                 s.page,
		"GET /plain":                       s.plain,
	}
}

// unknownPath answers what has no route: with the methods that the path does
// have, if any.
func (s *Server) unknownPath(w http.ResponseWriter, r *http.Request) error {
	other := new(http.Request)
	*other = *r
	var methods []string
	for _, other.Method = range []string{http.MethodGet, http.MethodHead, http.MethodPut} {
		if _, pattern := s.mux.Handler(other); pattern != "/" {
			methods = append(methods, other.Method)
		}
	}
	if methods != nil {
		allow := strings.Join(methods, ", ")
		w.Header().Set("Allow", allow)
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		refuse(w, r, http.StatusMethodNotAllowed, fmt.Errorf("method %s not allowed here, but %s", r.Method, allow))
		return nil
	}
	return registry.Errorf(registry.NotFound, "there is nothing at %.200q; GET /openapi.json lists what there is", r.URL.Path)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Serve answers what comes to a listener until ctx ends; then it answers what
// is at hand, ends what waits, and closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           watchBodies(s.handler),
		ConnContext:       rememberConn,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	measuring, stop := context.WithCancel(ctx)
	measured := make(chan struct{})
	go func() { defer close(measured); s.measure(measuring) }()
	defer func() { stop(); <-measured }()
	failed := make(chan error, 1)
	limited := limitListener(l, s.cfg.Connections, s.metrics.refused)
	if s.cfg.TLS == nil {
		go func() { failed <- server.Serve(limited) }()
	} else {
		server.TLSConfig = s.cfg.TLS
		go func() { failed <- server.ServeTLS(limited, "", "") }()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	return s.end(server, limited, failed)
}
