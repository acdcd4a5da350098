package main

import (
	"crypto/tls"
	"log/slog"
	"path/filepath"
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
