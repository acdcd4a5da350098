package consul

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/testdata/authority"
)

// TestRenewedFilesOfTLSAreShown has a server say who connects to it, and count how
// often somebody does.
func TestRenewedFilesOfTLSAreShown(t *testing.T) {
	dir := t.TempDir()
	cert, key, ca := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	var connections atomic.Int32
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, VerifyConnection: func(tls.ConnectionState) error { connections.Add(1); return nil }}
	server.StartTLS()
	defer server.Close()
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	files := api.TLSConfig{Address: "example.com", CAFile: ca, CertFile: cert, KeyFile: key}
	clients := authority.New(t)
	clients.Issue("first").Write(t, cert, key)
	config, err := readTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	r := &Registry{config: Config{tls: new(atomic.Pointer[tls.Config])}}
	r.config.tls.Store(config)
	over := &transport{tls: r.config.tls, pattern: &http.Transport{}}
	defer over.CloseIdleConnections()
	ask := func() string {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := over.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return string(text)
	}
	renew := func() {
		t.Helper()
		follow, err := r.PrepareTLS(files)
		if err != nil {
			t.Fatal(err)
		}
		follow()
	}
	expect(t, "who asks", ask(), "first")
	renew()
	expect(t, "who asks after files were read that are the same", ask(), "first")
	expect(t, "connections", connections.Load(), int32(1))
	clients.Issue("second").Write(t, cert, key)
	expect(t, "who asks before they are read", ask(), "first")
	renew()
	expect(t, "who asks then", ask(), "second")
	expect(t, "connections", connections.Load(), int32(2))
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.PrepareTLS(files); err == nil {
		t.Error("a file that holds no key is no mistake")
	}
	expect(t, "who asks while the files are wrong", ask(), "second")
}
