package admin

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
	"github.com/rollcall-dns/rollcall/testdata/authority"
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

// TestWhoSendsARequestAtTheEndIsNotWaitedFor has the rest of a header come when the
// endpoint ends already, and then nothing of the body.
func TestWhoSendsARequestAtTheEndIsNotWaitedFor(t *testing.T) {
	addr, end := serveUntil(t, func(r registry.Registry) registry.Registry { return r })
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const head = "PUT /v1/agent/service/register HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n"
	_, _ = io.WriteString(c, head[:50])
	time.Sleep(100 * time.Millisecond)
	ended := make(chan time.Duration)
	go func() { ended <- end() }()
	time.Sleep(lastWords + unread/2)
	_, _ = io.WriteString(c, head[50:])
	if took := <-ended; took > lastWords+unread+time.Second {
		t.Errorf("it ended after %v", took)
	}
}

// TestAConnectionIsReadFromUntilItsRequestIsWhole follows the deadline of a connection
// whose request becomes whole before the end, at it, and never.
func TestAConnectionIsReadFromUntilItsRequestIsWhole(t *testing.T) {
	const until, later = 500 * time.Millisecond, 30 * time.Second
	for name, test := range map[string]struct {
		story func(c *limitedConn, until, later time.Time)
		want  time.Duration // 0: no deadline
	}{
		"whole before the end":    {func(c *limitedConn, u, _ time.Time) { c.setWhole(true); c.endReading(u) }, 0},
		"whole after it":          {func(c *limitedConn, u, _ time.Time) { c.endReading(u); c.setWhole(true) }, 0},
		"never whole":             {func(c *limitedConn, u, _ time.Time) { c.endReading(u) }, until},
		"answered, and kept":      {func(c *limitedConn, u, _ time.Time) { c.setWhole(true); c.setWhole(false); c.endReading(u) }, until},
		"a later deadline":        {func(c *limitedConn, u, l time.Time) { c.endReading(u); _ = c.SetReadDeadline(l) }, until},
		"a later one, whole":      {func(c *limitedConn, u, l time.Time) { _ = c.SetReadDeadline(l); c.endReading(u); c.setWhole(true) }, later},
		"none any more":           {func(c *limitedConn, u, _ time.Time) { c.endReading(u); _ = c.SetDeadline(time.Time{}) }, until},
		"one that has passed":     {func(c *limitedConn, u, _ time.Time) { c.endReading(u); _ = c.SetReadDeadline(time.Unix(1, 0)) }, -1},
		"a later one, no end yet": {func(c *limitedConn, _, l time.Time) { _ = c.SetReadDeadline(l) }, later},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			conn := &deadlineConn{}
			test.story(&limitedConn{Conn: conn}, start.Add(until), start.Add(later))
			got := conn.read.Sub(start)
			switch {
			case conn.read.IsZero():
				got = 0
			case got < 0:
				got = -1
			}
			if got != test.want {
				t.Errorf("reading ends after %v, want %v", got, test.want)
			}
		})
	}
}

// deadlineConn knows its read deadline.
type deadlineConn struct {
	net.Conn
	read time.Time
}

// SetReadDeadline implements net.Conn.
func (c *deadlineConn) SetReadDeadline(t time.Time) error { c.read = t; return nil }

// SetWriteDeadline implements net.Conn.
func (c *deadlineConn) SetWriteDeadline(time.Time) error { return nil }

// TestTheEndWaitsForNoHalfRequestBehindTLS ends an endpoint while a handshake is half
// done, and while a body comes in HTTP/2.
func TestTheEndWaitsForNoHalfRequestBehindTLS(t *testing.T) {
	a := authority.New(t)
	certificate := a.Issue("127.0.0.1").Certificate
	serve := func(t *testing.T) (addr string, end func() time.Duration) {
		return serveConfig(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}}}, func(r registry.Registry) registry.Registry { return r })
	}
	t.Run("half a handshake", func(t *testing.T) {
		t.Parallel()
		addr, end := serve(t)
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "\x16\x03\x01\x02\x00\x01")
		time.Sleep(100 * time.Millisecond)
		if took := end(); took > lastWords+unread+time.Second {
			t.Errorf("it ended after %v", took)
		}
	})
	t.Run("half a body in HTTP/2", func(t *testing.T) {
		t.Parallel()
		addr, end := serve(t)
		client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: a.Pool()}}}
		defer client.CloseIdleConnections()
		body, more := io.Pipe()
		defer more.Close()
		asked := make(chan error, 1)
		go func() {
			r, err := http.NewRequest(http.MethodPut, "https://"+addr+"/v1/agent/service/register", body)
			if err == nil {
				var reply *http.Response
				if reply, err = client.Do(r); err == nil {
					reply.Body.Close()
					if reply.ProtoMajor != 2 {
						err = fmt.Errorf("the reply came in %s", reply.Proto)
					}
				}
			}
			asked <- err
		}()
		_, _ = io.WriteString(more, "{")
		time.Sleep(100 * time.Millisecond)
		if took := end(); took > lastWords+unread+1500*time.Millisecond {
			t.Errorf("it ended after %v", took)
		}
		t.Log(<-asked)
	})
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
	return serveConfig(t, Config{}, wrap)
}

// serveConfig is serveUntil of a Config.
func serveConfig(t *testing.T, cfg Config, wrap func(registry.Registry) registry.Registry) (addr string, end func() time.Duration) {
	t.Helper()
	r, err := embedded.Open(t.Context(), embedded.Config{Node: registry.Node{Name: "n1", Address: "10.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Registry, cfg.Node = wrap(r), r.Node()
	s, err := New(cfg)
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
