// Package authority makes the certificates that tests need: an authority, and what it
// vouches for. It is not part of rollcall.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// Authority vouches for certificates. Its methods may be called from any goroutine.
type Authority struct {
	own    *Certificate
	issued atomic.Int64
}

// New returns an Authority.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{own: make509(1, nil, time.Now().Add(lifetime), "authority")}
	a.issued.Store(1)
	return a
}

// Issue makes a certificate for servers and clients of these names, of which some may
// be addresses. The first one is its common name, too, and its serial number is one
// more than that of the one before.
func (a *Authority) Issue(names ...string) *Certificate {
	return a.IssueUntil(time.Now().Add(lifetime), names...)
}

// IssueUntil is Issue of a certificate that is good until then.
func (a *Authority) IssueUntil(until time.Time, names ...string) *Certificate {
	return make509(a.issued.Add(1), a.own, until, names...)
}

// Certificate returns the Authority's own one.
func (a *Authority) Certificate() *Certificate { return a.own }

// Pool returns who is to be believed by whoever believes the Authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.own.Leaf)
	return pool
}

// Certificate is one with its key.
type Certificate struct{ tls.Certificate }

// PEM returns the certificate as it is in files.
func (c *Certificate) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Leaf.Raw})
}

// KeyPEM returns the key as it is in files.
func (c *Certificate) KeyPEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Write writes the certificate and its key into files.
func (c *Certificate) Write(t testing.TB, certFile, keyFile string) {
	t.Helper()
	for file, text := range map[string][]byte{certFile: c.PEM(), keyFile: c.KeyPEM()} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// lifetime is for how long certificates are good, and as long they have been before.
const lifetime = 48 * time.Hour

// make509 makes a certificate that another one vouches for; nil: itself, for others.
func make509(serial int64, by *Certificate, until time.Time, names ...string) *Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: names[0]}, BasicConstraintsValid: true,
		NotBefore: until.Add(-2 * lifetime), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey.(*ecdsa.PrivateKey)
	} else {
		template.IsCA, template.KeyUsage, template.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(err)
	leaf, err := x509.ParseCertificate(der)
	must(err)
	return &Certificate{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}
}

// must is for what fails on no machine that could go on with the test.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
