package health

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// TestWhatATargetSaysIsBounded probes targets that say too much, too slowly, or what is
// small until it is read.
func TestWhatATargetSaysIsBounded(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 32<<20))
	_ = z.Close()
	endless := func(w http.ResponseWriter, r *http.Request) {
		for part := bytes.Repeat([]byte("x"), 1<<10); r.Context().Err() == nil; {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	}
	slow := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}
	compressed := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write(bomb.Bytes())
		w.Header().Set("Grpc-Status", "0")
	}
	wordy := func(w http.ResponseWriter, r *http.Request) {
		for n := range 100 {
			w.Header().Set(fmt.Sprint("X-", n), strings.Repeat("x", 1<<10))
		}
	}
	for name, row := range map[string]struct {
		target http.HandlerFunc
		want   map[string]registry.Status // by the kind of the check
	}{
		"endless":    {endless, map[string]registry.Status{"http": registry.Passing, "grpc": registry.Critical}},
		"slow":       {slow, map[string]registry.Status{"http": registry.Passing, "grpc": registry.Critical}},
		"compressed": {compressed, map[string]registry.Status{"http": registry.Passing, "grpc": registry.Critical}},
		"wordy":      {wordy, map[string]registry.Status{"http": registry.Critical, "grpc": registry.Critical}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(row.target)
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetHTTP1(true)
			server.Config.Protocols.SetUnencryptedHTTP2(true)
			server.Start()
			defer server.Close()
			for _, d := range []registry.Definition{{HTTP: server.URL}, {GRPC: server.Listener.Addr().String()}} {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				start := time.Now()
				found := newProber(d, new(net.Dialer))(ctx)
				took := time.Since(start)
				cancel()
				t.Logf("%s: %d octets of output, of %d at most", d.Kind(), len(found.output), maxOutput)
				if found.status != row.want[d.Kind()] || len(found.output) > maxOutput || took > 2*time.Second {
					t.Errorf("%s: %v, %d octets of output after %v: %.200s", d.Kind(), found.status, len(found.output), took, found.output)
				}
			}
		})
	}
}

// TestWhatATargetSaysIsToldApart has targets that speak another protocol than is asked
// for: what they say is nowhere but behind the words that tell so.
func TestWhatATargetSaysIsToldApart(t *testing.T) {
	const secret = "SSH-2.0-secret"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var says atomic.Value
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte(says.Load().(string)))
			conn.Close()
		}
	}()
	for _, text := range []string{
		secret + "\r\n", "HTTP/1.1 200 " + secret + "\r\n\r\n", "HTTP/1.1 " + secret + " x\r\n\r\n", "HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: " + secret + "\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + secret + "\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://%zz" + secret + "/\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n" + secret,
	} {
		says.Store(text)
		at := l.Addr().String()
		for _, d := range []registry.Definition{{HTTP: "http://" + at}, {HTTP: "https://" + at}, {GRPC: at}, {GRPC: at, GRPCUseTLS: true}, {TCP: at}} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			found := newProber(d, new(net.Dialer))(ctx)
			cancel()
			if own, _, _ := strings.Cut(found.output, registry.TargetSays); strings.Contains(own, "secret") {
				t.Errorf("a check over %s of %q: %s", d.Kind(), text, found.output)
			}
		}
	}
}
