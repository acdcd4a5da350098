package main

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
	"github.com/rollcall-dns/rollcall/testdata/authority"
)

// TestACertificateIsRenewedAndNoConnectionEnds asks on a connection over TLS, again
// and again, while the certificate in the files becomes another.
func TestACertificateIsRenewedAndNoConnectionEnds(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	issuer := authority.New(t)
	issuer.Issue("first").Write(t, certFile, keyFile)
	c, err := openCertificate(certFile, keyFile, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, &settings{
		dnsAddrs: []string{"127.0.0.1:0"}, adminAddr: "127.0.0.1:0", zones: []string{"rollcall.internal."}, tlsAddrs: []string{"127.0.0.1:0"}, certificate: c,
		dataDir: t.TempDir(), datacenter: "dc1", node: "host-1", nodeAddress: "127.0.0.1",
		ttl: 5 * time.Second, negativeTTL: 5 * time.Second, maxAnswers: 100, logger: slog.New(slog.DiscardHandler),
	})
	addr, config := s.dns.AddrsOf("tls")[0].String(), &tls.Config{InsecureSkipVerify: true}
	conn, err := dns.DialWithTLS("tcp-tls", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	asked := 0
	query := func() {
		t.Helper()
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion("rollcall.internal.", dns.TypeSOA)); err != nil {
			t.Fatal(err)
		}
		if m, err := conn.ReadMsg(); err != nil || len(m.Answer) != 1 {
			t.Fatalf("after %d questions: %v, %v", asked, m, err)
		}
		asked++
	}
	query()
	issuer.Issue("second").Write(t, certFile, keyFile)
	consultest.Eventually(t, 10*time.Second, "new connections see the new certificate", func() bool {
		query()
		other, err := tls.Dial("tcp", addr, config)
		if err != nil {
			return false
		}
		defer other.Close()
		return other.ConnectionState().PeerCertificates[0].Subject.CommonName == "second"
	})
	query()
	t.Logf("%d questions on a connection while the certificate was renewed, and all answered", asked)
}

// TestHTTPIsForWhomTheAuthorityVouches asks HTTP with certificates of all kinds, and again
// when the server's and the clients' authority have become others, without a restart.
func TestHTTPIsForWhomTheAuthorityVouches(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, caFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	server, clients, later := authority.New(t), authority.New(t), authority.New(t)
	trust := func(a *authority.Authority) {
		t.Helper()
		if err := os.WriteFile(caFile, a.Certificate().PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server.Issue("127.0.0.1").Write(t, certFile, keyFile)
	trust(clients)
	c, err := openCertificate(certFile, keyFile, caFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, &settings{
		dnsAddrs: []string{"127.0.0.1:0"}, adminAddr: "127.0.0.1:0", zones: []string{"rollcall.internal."}, adminCertificate: c,
		dataDir: t.TempDir(), datacenter: "dc1", node: "host-1", nodeAddress: "127.0.0.1",
		ttl: 5 * time.Second, negativeTTL: 5 * time.Second, maxAnswers: 100, logger: slog.New(slog.DiscardHandler),
	})
	serial := int64(0)
	asks := func(version uint16, shown ...tls.Certificate) bool {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: server.Pool(), MinVersion: version, MaxVersion: version,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // also where it is asked for another's
				if len(shown) == 0 {
					return new(tls.Certificate), nil
				}
				return &shown[0], nil
			},
		}}}
		defer client.CloseIdleConnections()
		reply, err := client.Get("https://" + s.adminAddr().String() + "/healthz")
		if err != nil {
			return false
		}
		reply.Body.Close()
		serial = reply.TLS.PeerCertificates[0].SerialNumber.Int64()
		return reply.StatusCode == http.StatusOK
	}
	good := clients.Issue("client").Certificate
	answered := 0
	for name, row := range map[string]struct {
		version uint16
		shown   []tls.Certificate
		want    bool
	}{
		"the authority's":        {tls.VersionTLS13, []tls.Certificate{good}, true},
		"in an older version":    {tls.VersionTLS12, []tls.Certificate{good}, true},
		"in too old a version":   {tls.VersionTLS11, []tls.Certificate{good}, false},
		"none":                   {tls.VersionTLS13, nil, false},
		"none, an older version": {tls.VersionTLS12, nil, false},
		"another authority's":    {tls.VersionTLS13, []tls.Certificate{later.Issue("client").Certificate}, false},
		"one that is over":       {tls.VersionTLS13, []tls.Certificate{clients.IssueUntil(time.Now().Add(-time.Minute), "client").Certificate}, false},
	} {
		got := asks(row.version, row.shown...)
		if got != row.want {
			t.Errorf("with a certificate of %s: answered %v", name, got)
		}
		if got && !row.want {
			answered++
		}
	}
	t.Logf("TLS 1.1, none, another's and one that is over: %d of 5 are answered", answered)
	renewed := time.Now()
	server.Issue("127.0.0.1").Write(t, certFile, keyFile)
	trust(later)
	consultest.Eventually(t, 10*time.Second, "the new authority's client is answered, with the new certificate", func() bool {
		return asks(tls.VersionTLS13, later.Issue("client").Certificate) && serial == 3
	})
	t.Logf("both files are read again after %v", time.Since(renewed).Round(time.Millisecond))
	if asks(tls.VersionTLS13, good) {
		t.Error("who showed a certificate of the authority before is answered still")
	}
}

// TestAKeyThatOthersCanReadIsWarnedOf opens a certificate whose key is for all to read, and
// renews it so.
func TestAKeyThatOthersCanReadIsWarnedOf(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	issuer := authority.New(t)
	renew := func(mode os.FileMode) {
		t.Helper()
		issuer.Issue("127.0.0.1").Write(t, certFile, keyFile)
		if err := os.Chmod(keyFile, mode); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	warned := func() int { return strings.Count(log.String(), "can be read by others") }
	renew(0o644)
	c, err := openCertificate(certFile, keyFile, "", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if warned() != 1 {
		t.Errorf("at the start: %s", &log)
	}
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 1} {
		log.Reset()
		renew(mode)
		c.seen = "" // as if the files had another time
		if c.follow(); warned() != want {
			t.Errorf("renewed with mode %v: %s", mode, &log)
		}
		t.Logf("%v: %d warnings", mode, warned())
	}
}
