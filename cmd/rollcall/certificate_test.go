package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// writeCertificate puts a certificate of its own making and its key into files.
func writeCertificate(t *testing.T, name, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: certificate}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestACertificateIsRenewedAndNoConnectionEnds asks on a connection over TLS, again
// and again, while the certificate in the files becomes another.
func TestACertificateIsRenewedAndNoConnectionEnds(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, "first", certFile, keyFile)
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
	writeCertificate(t, "second", certFile, keyFile)
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
