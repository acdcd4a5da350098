package main

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
	"github.com/rollcall-dns/rollcall/testdata/authority"
)

// shownConsul is a Consul of one service that asks for certificates, and remembers the
// last one that it was shown.
type shownConsul struct {
	*httptest.Server
	shown   atomic.Pointer[string]
	watched atomic.Int32 // how often the service was asked for by a blocking query
}

func newShownConsul(t *testing.T) *shownConsul {
	c := new(shownConsul)
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.TLS.PeerCertificates[0].Subject.CommonName
		c.shown.Store(&name)
		w.Header().Set("X-Consul-Index", "5")
		w.Header().Set("X-Consul-KnownLeader", "true")
		w.Header().Set("X-Consul-LastContact", "0")
		held := r.URL.Query().Get("index") != ""
		if held {
			select {
			case <-time.After(100 * time.Millisecond): // so that there is a next question soon
			case <-r.Context().Done():
			}
		}
		switch body := "[]"; r.URL.Path {
		case "/v1/agent/self":
			_, _ = io.WriteString(w, `{"Config":{"Datacenter":"dc1","NodeName":"n1"}}`)
		case "/v1/catalog/services":
			_, _ = io.WriteString(w, `{"consul":[],"web":[]}`)
		default:
			if held && r.URL.Path == "/v1/health/service/web" {
				c.watched.Add(1)
			}
			_, _ = io.WriteString(w, body)
		}
	}))
	c.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	c.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	c.StartTLS()
	t.Cleanup(c.Close)
	return c
}

// TestAReloadShowsConsulARenewedCertificate and watches what is pinned from then on; a
// file that is wrong changes nothing.
func TestAReloadShowsConsulARenewedCertificate(t *testing.T) {
	c, dir := newShownConsul(t), t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, text := range map[string]string{
		"ca.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})),
		"rollcall.yaml": fmt.Sprintf("registry: consul\nconsul-addr: %s\nconsul-tls-server-name: example.com\nconsul-ca-file: %s/ca.pem\nconsul-cert-file: %s\nconsul-key-file: %s\n",
			c.URL, dir, cert, key),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	issuer := authority.New(t)
	issuer.Issue("first").Write(t, cert, key)
	config := filepath.Join(dir, "rollcall.yaml")
	child, api, _ := startProcess(t, dir, "--config", config)
	defer kill(child)
	shows := func(name string) func() bool {
		return func() bool { shown := c.shown.Load(); return shown != nil && *shown == name }
	}
	consultest.Eventually(t, 20*time.Second, "Consul is shown the certificate", shows("first"))

	issuer.Issue("second").Write(t, cert, key)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(text, "consul-pin: [web]\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := c.watched.Load(); n != 0 {
		t.Errorf("a service that nobody asked for was watched: %d questions", n)
	}
	put(t, api+"/v1/agent/reload", nil)
	consultest.Eventually(t, 20*time.Second, "Consul is shown the renewed certificate", shows("second"))
	consultest.Eventually(t, 20*time.Second, "what is pinned is watched", func() bool { return c.watched.Load() > 0 })

	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tryPut(api+"/v1/agent/reload", nil); err == nil || !strings.Contains(err.Error(), "TLS with Consul") {
		t.Errorf("a reload with a file that holds no key: %v", err)
	}
	time.Sleep(300 * time.Millisecond) // some questions more
	if !shows("second")() {
		t.Error("after a reload that failed Consul is shown another certificate")
	}
}
