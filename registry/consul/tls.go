package consul

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/consul/api"
)

// readTLS returns what connections to Consul are made with: the files of a TLSConfig,
// and of the environment where that leaves something open.
func readTLS(c api.TLSConfig) (*tls.Config, error) {
	config, err := api.SetupTLSConfig(mergeTLS(c, api.DefaultConfig().TLSConfig))
	if err != nil {
		return nil, fmt.Errorf("setting up TLS with Consul: %w", err)
	}
	return config, nil
}

// mergeTLS fills what c leaves open from Consul's environment variables.
func mergeTLS(c, env api.TLSConfig) *api.TLSConfig {
	fill := func(to *string, from string) {
		if *to == "" {
			*to = from
		}
	}
	fill(&c.Address, env.Address)
	fill(&c.CAFile, env.CAFile)
	fill(&c.CAPath, env.CAPath)
	fill(&c.CertFile, env.CertFile)
	fill(&c.KeyFile, env.KeyFile)
	c.InsecureSkipVerify = c.InsecureSkipVerify || env.InsecureSkipVerify
	return &c
}

// PrepareTLS reads the files of a TLSConfig, and returns what puts them in force, for
// connections from then on, in all datacenters. Questions that Consul holds come back
// first. Where the files hold what is in force, connections stay as they are.
func (r *Registry) PrepareTLS(c api.TLSConfig) (renew func(), err error) {
	next, err := readTLS(c)
	if err != nil {
		return nil, err
	}
	return func() {
		if !sameTLS(r.config.tls.Load(), next) {
			r.config.tls.Store(next)
		}
	}, nil
}

func sameTLS(a, b *tls.Config) bool {
	return a.ServerName == b.ServerName && a.InsecureSkipVerify == b.InsecureSkipVerify && a.RootCAs.Equal(b.RootCAs) &&
		slices.EqualFunc(a.Certificates, b.Certificates, func(a, b tls.Certificate) bool {
			return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
		})
}

// transport is an http.Transport that begins anew when there is other TLS. Connections
// of the one before end as they become idle, so that there are never more of both
// together than there are questions.
type transport struct {
	tls     *atomic.Pointer[tls.Config]
	pattern *http.Transport // all but TLS

	mu      sync.Mutex
	current *http.Transport
	with    *tls.Config // that current was made with
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	return t.newest().RoundTrip(request)
}

// CloseIdleConnections closes those that nobody needs at the moment.
func (t *transport) CloseIdleConnections() { t.newest().CloseIdleConnections() }

func (t *transport) newest() *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if want := t.tls.Load(); t.with != want {
		if t.current != nil {
			t.current.CloseIdleConnections()
		}
		t.current, t.with = t.pattern.Clone(), want
		t.current.TLSClientConfig = want.Clone()
	}
	return t.current
}
