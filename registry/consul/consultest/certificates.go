package consultest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/testdata/authority"
)

// makeCertificates makes an authority, and one certificate of it for a server
// at an address and its clients alike.
func makeCertificates(t testing.TB, host string) api.TLSConfig {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	files := api.TLSConfig{CAFile: file("ca.pem"), CertFile: file("cert.pem"), KeyFile: file("key.pem")}
	issuer := authority.New(t)
	if err := os.WriteFile(files.CAFile, issuer.Certificate().PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	issuer.Issue("server.dc1.consul", "localhost", host).Write(t, files.CertFile, files.KeyFile)
	return files
}
