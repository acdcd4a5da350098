package chaos

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	random "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// authority gives a server one certificate after the other, in the files that
// rollcall reads them from, and looks that the one shown is never an older one than
// somebody has seen. Its methods may be called from any goroutine.
type authority struct {
	j           *journal
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	roots       *x509.CertPool
	writing     sync.Mutex // held while the files do not go together

	mu    sync.Mutex
	given int64 // serial number of the certificate that was made last
	shown int64 // of the newest one that somebody was shown
}

const (
	serverName   = "dns.rollcall.internal"
	renewsWithin = 4 * time.Second // rollcall looks at the files once a second
)

func newAuthority(j *journal) *authority {
	j.t.Helper()
	a := &authority{j: j, dir: j.t.TempDir(), roots: x509.NewCertPool()}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		j.t.Fatal(err)
	}
	self := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "chaos"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, self, self, &a.key.PublicKey, a.key)
	if err != nil {
		j.t.Fatal(err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		j.t.Fatal(err)
	}
	a.roots.AddCert(a.certificate)
	certificate, key, _, err := a.next()
	if err == nil {
		err = a.write(certificate, key, 0)
	}
	if err != nil {
		j.t.Fatal(err)
	}
	return a
}

func (a *authority) certFile() string { return filepath.Join(a.dir, "tls.crt") }
func (a *authority) keyFile() string  { return filepath.Join(a.dir, "tls.key") }

// flags has rollcall answer over TLS and HTTPS at these addresses.
func (a *authority) flags(tls, https string) []string {
	return []string{"--tls-addr", tls, "--https-addr", https, "--tls-cert", a.certFile(), "--tls-key", a.keyFile()}
}

// next makes a certificate with a key of its own.
func (a *authority) next() (certificate, key []byte, number int64, err error) {
	a.mu.Lock()
	a.given++
	number = a.given
	a.mu.Unlock()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, 0, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(number), DNSNames: []string{serverName}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &own.PublicKey, a.key)
	if err != nil {
		return nil, nil, 0, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return nil, nil, 0, err
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), number, nil
}

// write writes both files where they are, the second so much later.
func (a *authority) write(certificate, key []byte, later time.Duration) error {
	if err := os.WriteFile(a.certFile(), certificate, 0o600); err != nil {
		return err
	}
	time.Sleep(later)
	return os.WriteFile(a.keyFile(), key, 0o600)
}

// replace puts other files in their place, as who takes care does.
func (a *authority) replace(certificate, key []byte, later time.Duration) error {
	for name, text := range map[string][]byte{a.certFile(): certificate, a.keyFile(): key} {
		if err := os.WriteFile(name+".new", text, 0o600); err != nil {
			return err
		}
	}
	if err := os.Rename(a.certFile()+".new", a.certFile()); err != nil {
		return err
	}
	time.Sleep(later)
	return os.Rename(a.keyFile()+".new", a.keyFile())
}

// renew replaces the certificate time and again, as tools do that renew: one file
// after the other, and now and then with something that is none before. It goes on
// through all faults, and where there is none the new certificate is soon shown.
func (a *authority) renew(addr string, weather *weather, r *random.Rand, over func() bool) {
	for !over() {
		later := time.Duration(r.Float64() * float64(a.latest()))
		how, write := fmt.Sprintf("written, its key %v later", later.Round(time.Millisecond)), a.write
		if r.IntN(2) == 0 {
			how, write = fmt.Sprintf("renamed, its key %v later", later.Round(time.Millisecond)), a.replace
		}
		rubbish := r.IntN(3) == 0
		if rubbish {
			how += ", with rubbish before"
		}
		number, err := a.give(write, later, rubbish)
		if err != nil {
			a.j.wrong("wrong", "a certificate cannot be renewed: %v", err)
			return
		}
		a.await(addr, number, how, weather, over)
	}
}

// latest is how long after a certificate its key comes at the latest.
func (a *authority) latest() time.Duration {
	if a.j.long {
		return 1500 * time.Millisecond
	}
	return 300 * time.Millisecond
}

// give makes a certificate and puts it where rollcall finds it, which does not start
// meanwhile: what does not go together it does not start with.
func (a *authority) give(write func(certificate, key []byte, later time.Duration) error, later time.Duration, rubbish bool) (number int64, err error) {
	certificate, key, number, err := a.next()
	if err != nil {
		return 0, err
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	if rubbish {
		if err := os.WriteFile(a.certFile(), certificate[:len(certificate)/2], 0o600); err != nil {
			return 0, err
		}
		time.Sleep(later)
	}
	return number, write(certificate, key, later)
}

// await asks until a certificate is shown.
func (a *authority) await(addr string, number int64, how string, weather *weather, over func() bool) {
	began := time.Now()
	good, since := weather.watch(), began
	for !over() {
		err := a.look(addr)
		took := time.Since(since)
		a.mu.Lock()
		shown := a.shown
		a.mu.Unlock()
		if shown >= number {
			a.j.add("certificates renewed", 1)
			a.j.note("certificate %d, %s: shown after %v", number, how, time.Since(began).Round(time.Millisecond))
			return
		}
		time.Sleep(noticeWithin)
		if fine, _ := good(); !fine {
			good, since = weather.watch(), time.Now()
		} else if took > renewsWithin {
			a.j.wrong("wrong", "%v after certificate %d, %s, %d is shown: %v", took.Round(time.Millisecond), number, how, shown, err)
			return
		}
	}
}

// look makes a connection to see what is shown there.
func (a *authority) look(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	c, err := a.dial(ctx, addr, "dot")
	if err == nil {
		closing(c)
	}
	return err
}

// dial makes a connection to rollcall and believes nobody else. Who it is must be
// beyond doubt at all times, and so must that a certificate that was shown stays.
func (a *authority) dial(ctx context.Context, addr, protocol string) (net.Conn, error) {
	a.mu.Lock()
	least := a.shown
	a.mu.Unlock()
	config := &tls.Config{RootCAs: a.roots, ServerName: serverName, MinVersion: tls.VersionTLS12, NextProtos: []string{protocol}}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		number := state.PeerCertificates[0].SerialNumber.Int64()
		a.mu.Lock()
		a.shown = max(a.shown, number)
		a.mu.Unlock()
		if number < least {
			a.j.wrong("wrong", "certificate %d is shown at %s after %d was", number, addr, least)
		}
		return nil
	}
	a.j.add("TLS connections", 1)
	c, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	var doubted *tls.CertificateVerificationError
	if errors.As(err, &doubted) {
		a.j.wrong("wrong", "what is shown at %s: %v", addr, err)
	}
	return c, err
}
