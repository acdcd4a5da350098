package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rollcall-dns/rollcall/registry"
)

// ServeMetrics answers what comes to a listener for those who watch over rollcall, until
// ctx ends: its metrics and its health and nothing else, to anybody and in clear, so that
// they need no token and the endpoint itself may stay on loopback. No name of what is
// registered is in it.
func (s *Server) ServeMetrics(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:        s.forWatchers(),
		ReadTimeout:    headerTimeout,
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	limited := limitListener(l, s.cfg.Connections, s.metrics.refused)
	go func() { failed <- server.Serve(limited) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	_ = limited.Close()
	<-failed // from here on Shutdown knows of every connection
	draining, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := server.Shutdown(draining); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}

// forWatchers is the surface of ServeMetrics.
func (s *Server) forWatchers() http.Handler {
	mux := http.NewServeMux()
	if s.cfg.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 10, Timeout: 10 * time.Second}))
	}
	mux.Handle("GET /healthz", s.serve(s.healthz))
	mux.Handle("GET /readyz", s.serve(s.readyz))
	mux.Handle("/", s.serve(func(w http.ResponseWriter, r *http.Request) error {
		if !onlyReads(r) {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, r, http.StatusMethodNotAllowed, fmt.Errorf("method %.20s not allowed here, but GET, HEAD", r.Method))
			return nil
		}
		return registry.Errorf(registry.NotFound, "there is nothing at %.200q, but /metrics, /healthz and /readyz are here", r.URL.Path)
	}))
	return identify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	}))
}
