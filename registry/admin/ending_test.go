package admin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
)

// TestTheEndWaitsForNobodyWhoHasNotAsked ends an endpoint with connections on which
// nothing is at hand.
func TestTheEndWaitsForNobodyWhoHasNotAsked(t *testing.T) {
	const host = " HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	for name, sent := range map[string]string{
		"nothing":        "",
		"half a header":  "GET /healthz HTTP/1.1\r\nHo",
		"half a body":    "PUT /v1/agent/service/register" + host + "Content-Length: 100\r\n\r\n{",
		"half a chunk":   "PUT /v1/agent/service/register" + host + "Transfer-Encoding: chunked\r\n\r\n9\r\n{",
		"a long poll":    "GET /v1/health/service/web?index=99999999999&wait=5m" + host + "\r\n",
		"events":         "GET /v1/events" + host + "\r\n",
		"one that is on": "GET /healthz" + host + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, end := serveUntil(t, func(r registry.Registry) registry.Registry { return r })
			for range 20 {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_, _ = io.WriteString(c, sent)
			}
			time.Sleep(100 * time.Millisecond) // until they are accepted
			if took := end(); took > lastWords+unread+time.Second {
				t.Errorf("it ended after %v", took)
			}
		})
	}
}

// TestARequestThatIsAtHandIsAnsweredAtTheEnd ends an endpoint whose registry takes longer
// than a request may take to come, and on another connection while the body comes.
func TestARequestThatIsAtHandIsAnsweredAtTheEnd(t *testing.T) {
	addr, end := serveUntil(t, func(r registry.Registry) registry.Registry { return slowRegistry{r} })
	const body = `{"Name":"web"}`
	head := fmt.Sprint("PUT /v1/agent/service/register HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ", len(body), "\r\n\r\n")
	var open []net.Conn
	for _, sent := range []string{head + body, head + body[:5]} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, sent)
		open = append(open, c)
	}
	time.Sleep(100 * time.Millisecond)
	ended := make(chan time.Duration)
	go func() { ended <- end() }()
	time.Sleep(lastWords + unread/2)
	_, _ = io.WriteString(open[1], body[5:])
	for n, c := range open {
		reply, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("connection %d: %v", n, err)
			continue
		}
		text, _ := io.ReadAll(reply.Body)
		if reply.StatusCode != http.StatusOK {
			t.Errorf("connection %d: %s %s", n, reply.Status, strings.TrimSpace(string(text)))
		}
	}
	t.Logf("it ended after %v", <-ended)
}

// slowRegistry takes longer than unread to register anything.
type slowRegistry struct{ registry.Registry }

// Register implements registry.Registry.
func (s slowRegistry) Register(ctx context.Context, r registry.Registration) error {
	select {
	case <-time.After(3 * unread):
		return s.Registry.Register(ctx, r)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serveUntil serves on an address until end is called, which returns how long that took.
func serveUntil(t *testing.T, wrap func(registry.Registry) registry.Registry) (addr string, end func() time.Duration) {
	t.Helper()
	r, err := embedded.Open(t.Context(), embedded.Config{Node: registry.Node{Name: "n1", Address: "10.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Registry: wrap(r), Node: r.Node()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() { stop(); r.Close() })
	return l.Addr().String(), func() time.Duration {
		start := time.Now()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		return time.Since(start)
	}
}
