package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/consul"
	"github.com/rollcall-dns/rollcall/registry/embedded"
)

// backend is the registry that a server stands on, and what the rest of the
// server has to know about it.
type backend struct {
	registry.Registry
	node       string // the own one, or the one of Consul's agent
	datacenter string
	zones      []string // to answer for

	freshness func() *registry.Freshness                              // nil: its View is the truth
	onBehalf  func(ctx context.Context, token string) context.Context // nil: it does not ask whose write it is
	backup    func(context.Context) (io.ReadCloser, error)            // nil: it makes none
	prepare   func(*consulSettings) (follow func(), err error)        // reads them anew; nil: it has none
	run       func(context.Context) error                             // nil: it needs nobody to run it
	close     func() error
}

// openBackend opens the registry that the settings name.
func openBackend(ctx context.Context, s *settings, metrics prometheus.Registerer, traces *tracing) (b *backend, err error) {
	if s.consul != nil {
		b, err = openConsul(ctx, s, metrics, traces)
	} else {
		b, err = openEmbedded(ctx, s, metrics)
	}
	if err == nil {
		b.Registry = traces.registry(b.Registry)
	}
	return b, err
}

func openEmbedded(ctx context.Context, s *settings, metrics prometheus.Registerer) (*backend, error) {
	r, err := embedded.Open(ctx, embedded.Config{
		Dir:        s.dataDir,
		Node:       registry.Node{Name: s.node, Address: s.nodeAddress},
		Datacenter: s.datacenter,
		Logger:     s.logger,
		Metrics:    metrics,
	})
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return nil, fmt.Errorf("%w: name another directory with --data-dir", err)
	case err != nil:
		return nil, err
	}
	for name, help := range map[string]string{
		"rollcall_view_stale":         "1 while the view cannot be kept fresh, which an embedded registry's always is.",
		"rollcall_view_stale_seconds": "For how long the view could not be kept fresh; 0 while it is.",
	} {
		metrics.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help}))
	}
	return &backend{Registry: r, node: r.Node(), datacenter: s.datacenter, zones: s.zones, backup: r.Backup, close: r.Close}, nil
}

// openConsul follows a Consul. Its agent says what the names end in, unless the
// settings do.
func openConsul(ctx context.Context, s *settings, metrics prometheus.Registerer, traces *tracing) (*backend, error) {
	c := s.consul
	config := consul.Config{
		Address: c.address, Token: c.token, Datacenter: s.datacenter, TLS: c.tls(),
		Watches: c.watches, Pinned: c.pinned, Logger: s.logger, Metrics: metrics, Around: traces.transport(),
	}
	if s.dataDir != "" {
		config.CacheDir = filepath.Join(s.dataDir, "consul")
	}
	r, err := consul.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	b := &backend{
		Registry: r, node: r.Node(), datacenter: r.Datacenter(), zones: s.zones,
		freshness: r.Freshness, onBehalf: consul.WithToken, run: r.Run, close: r.Close,
		prepare: func(next *consulSettings) (func(), error) {
			renew, err := r.PrepareTLS(next.tls())
			return func() {
				renew()
				r.SetToken(next.token)
				r.SetPinned(next.pinned)
			}, err
		},
	}
	if b.zones == nil {
		b.zones = []string{r.Domain()}
	}
	return b, nil
}

// prepared reads anew what settings say of the registry, and returns what puts it in
// force.
func (b *backend) prepared(s *settings) (follow func(), err error) {
	if b.prepare == nil {
		return func() {}, nil
	}
	return b.prepare(s.consul)
}

// tls says which files connections to Consul are made with.
func (c *consulSettings) tls() api.TLSConfig {
	return api.TLSConfig{Address: c.serverName, CAFile: c.caFile, CertFile: c.certFile, KeyFile: c.keyFile}
}
