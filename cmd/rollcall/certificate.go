package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificate is a server's certificate and key in files, which are read again when
// they change, so that connections go on when it is renewed. One that cannot be
// read, or does not go with its key, leaves the one before in use.
type certificate struct {
	certFile, keyFile, clientCAFile string // the last may be empty
	logger                          *slog.Logger
	current                         atomic.Pointer[pair]
	wrong                           atomic.Bool
	seen                            string // of the files, when they were read last
}

// pair is what is in the files.
type pair struct {
	certificate *tls.Certificate
	clients     *x509.CertPool // nil: clients need no certificate
}

// openCertificate reads the files.
func openCertificate(certFile, keyFile, clientCAFile string, logger *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, clientCAFile: clientCAFile, logger: logger}
	c.seen = c.look()
	p, err := c.read()
	if err != nil {
		return nil, err
	}
	c.use(p)
	return c, nil
}

// use takes what was read into use.
func (c *certificate) use(p *pair) {
	c.current.Store(p)
	if info, err := os.Stat(c.keyFile); err == nil && info.Mode().Perm()&0o077 != 0 {
		c.logger.Warn("the key of a certificate can be read by others", "file", c.keyFile, "mode", info.Mode().Perm())
	}
}

func (c *certificate) read() (*pair, error) {
	both, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the certificate %s and its key %s: %w", c.certFile, c.keyFile, err)
	}
	p := &pair{certificate: &both}
	if c.clientCAFile == "" {
		return p, nil
	}
	text, err := os.ReadFile(c.clientCAFile)
	if err != nil {
		return nil, fmt.Errorf("read the clients' authority: %w", err)
	}
	if p.clients = x509.NewCertPool(); !p.clients.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate of an authority", c.clientCAFile)
	}
	return p, nil
}

// look returns what tells of a change to the files.
func (c *certificate) look() (seen string) {
	for _, file := range []string{c.certFile, c.keyFile, c.clientCAFile} {
		if info, err := os.Stat(file); err == nil {
			seen += fmt.Sprint(info.ModTime().UnixNano(), info.Size(), ";")
		}
	}
	return seen
}

// certificateInterval is how often the files are looked at.
const certificateInterval = time.Second

// run reads the files again when they change, until ctx ends. Two files are not
// replaced at once: what does not go together is looked at once more.
func (c *certificate) run(ctx context.Context) error {
	ticker := time.NewTicker(certificateInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		c.follow()
	}
}

// follow reads the files again where they have changed.
func (c *certificate) follow() {
	seen := c.look()
	if seen == c.seen && !c.wrong.Load() {
		return
	}
	p, err := c.read()
	switch {
	case err == nil:
		c.use(p)
		c.wrong.Store(false)
		c.logger.Info("a certificate was read", "file", c.certFile, "until", p.certificate.Leaf.NotAfter)
	case seen != c.seen:
		c.wrong.Store(true)
		c.logger.Error("a certificate could not be read, and the one before stays in use", "err", err)
	}
	c.seen = seen
}

// config returns what a server needs for TLS; nil for no certificate.
func (c *certificate) config() *tls.Config {
	if c == nil {
		return nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load().certificate, nil }
	if c.clientCAFile != "" {
		config.ClientAuth = tls.RequireAnyClientCert
		config.VerifyConnection = func(state tls.ConnectionState) error { return verifyClient(state, c.current.Load().clients) }
	}
	return config
}

// verifyClient tells whether a client's certificate is from an authority.
func verifyClient(state tls.ConnectionState, authority *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the client shows no certificate")
	}
	options := x509.VerifyOptions{Roots: authority, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, c := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(options)
	return err
}

// measure tells until when a certificate is good, if there is one.
func (c *certificate) measure(metrics prometheus.Registerer, use string) {
	if c == nil {
		return
	}
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rollcall_certificate_expiry_timestamp_seconds", Help: "Unix time until which a certificate is good.",
		ConstLabels: prometheus.Labels{"use": use},
	}, func() float64 { return float64(c.current.Load().certificate.Leaf.NotAfter.Unix()) }))
}
