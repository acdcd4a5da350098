package chaos

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	random "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rollcall-dns/rollcall/testdata/authority"
)

// issuer gives a server one certificate after the other, in the files that
// rollcall reads them from, and looks that the one shown is never an older one than
// somebody has seen. Its methods may be called from any goroutine.
type issuer struct {
	j         *journal
	dir       string
	authority *authority.Authority
	writing   sync.Mutex // held while the files do not go together

	mu    sync.Mutex
	shown int64 // serial number of the newest one that somebody was shown
}

const (
	serverName   = "dns.rollcall.internal"
	renewsWithin = 4 * time.Second // rollcall looks at the files once a second
)

func newIssuer(j *journal) *issuer {
	j.t.Helper()
	a := &issuer{j: j, dir: j.t.TempDir(), authority: authority.New(j.t)}
	if err := a.write(a.authority.Issue(serverName), 0); err != nil {
		j.t.Fatal(err)
	}
	return a
}

func (a *issuer) certFile() string { return filepath.Join(a.dir, "tls.crt") }
func (a *issuer) keyFile() string  { return filepath.Join(a.dir, "tls.key") }

// flags has rollcall answer over TLS and HTTPS at these addresses.
func (a *issuer) flags(tls, https string) []string {
	return []string{"--tls-addr", tls, "--https-addr", https, "--tls-cert", a.certFile(), "--tls-key", a.keyFile()}
}

// write writes both files where they are, the second so much later.
func (a *issuer) write(c *authority.Certificate, later time.Duration) error {
	if err := os.WriteFile(a.certFile(), c.PEM(), 0o600); err != nil {
		return err
	}
	time.Sleep(later)
	return os.WriteFile(a.keyFile(), c.KeyPEM(), 0o600)
}

// replace puts other files in their place, as who takes care does.
func (a *issuer) replace(c *authority.Certificate, later time.Duration) error {
	for name, text := range map[string][]byte{a.certFile(): c.PEM(), a.keyFile(): c.KeyPEM()} {
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
func (a *issuer) renew(addr string, weather *weather, r *random.Rand, over func() bool) {
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
func (a *issuer) latest() time.Duration {
	if a.j.long {
		return 1500 * time.Millisecond
	}
	return 300 * time.Millisecond
}

// give makes a certificate and puts it where rollcall finds it, which does not start
// meanwhile: what does not go together it does not start with.
func (a *issuer) give(write func(*authority.Certificate, time.Duration) error, later time.Duration, rubbish bool) (number int64, err error) {
	c := a.authority.Issue(serverName)
	a.writing.Lock()
	defer a.writing.Unlock()
	if rubbish {
		text := c.PEM()
		if err := os.WriteFile(a.certFile(), text[:len(text)/2], 0o600); err != nil {
			return 0, err
		}
		time.Sleep(later)
	}
	return c.Leaf.SerialNumber.Int64(), write(c, later)
}

// await asks until a certificate is shown.
func (a *issuer) await(addr string, number int64, how string, weather *weather, over func() bool) {
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
func (a *issuer) look(addr string) error {
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
func (a *issuer) dial(ctx context.Context, addr, protocol string) (net.Conn, error) {
	a.mu.Lock()
	least := a.shown
	a.mu.Unlock()
	config := &tls.Config{RootCAs: a.authority.Pool(), ServerName: serverName, MinVersion: tls.VersionTLS12, NextProtos: []string{protocol}}
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
