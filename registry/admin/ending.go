package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// The end of a Server: what waits is told to end, requests that have come are answered,
// and who is in the midst of sending one has a moment for the rest of it. net/http alone
// would drop requests that it has not read yet, and wait for the rest of others for as
// long as for an answer that is being made.
const (
	lastWords    = 100 * time.Millisecond // for what has come to be read
	unread       = 500 * time.Millisecond // for the rest of a request
	drainTimeout = 5 * time.Second        // for answers
)

// end closes the listener and ends the server on it, whose Serve tells served when it
// returns.
func (s *Server) end(server *http.Server, l *limitedListener, served <-chan error) error {
	close(s.closing)
	_ = l.Close()
	<-served // from here on Shutdown knows of every connection that was accepted
	server.SetKeepAlivesEnabled(false)
	if l.busy() {
		time.Sleep(lastWords)
		defer l.endReading(time.Now().Add(unread))()
	}
	draining, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	err := server.Shutdown(draining)
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}

// busy tells whether there are connections.
func (l *limitedListener) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all > 0
}

// endReading has requests come whole until then, on all connections. What it returns
// must be called when there are none any more.
func (l *limitedListener) endReading(until time.Time) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.endReading(until)
	}
	late := time.AfterFunc(time.Until(until), l.overdue)
	return func() { late.Stop(); l.overdue() }
}

// reading is what is to be known of a connection for the end.
type reading struct {
	mu       sync.Mutex
	whole    bool      // nothing is to be read for the answer at hand
	deadline time.Time // as net/http wants it; zero: none
	until    time.Time // by when the rest of a request must have come; zero: the end has not
}

// SetReadDeadline implements net.Conn.
func (c *limitedConn) SetReadDeadline(t time.Time) error {
	c.reading.mu.Lock()
	defer c.reading.mu.Unlock()
	c.deadline = t
	return c.boundReading()
}

// SetDeadline implements net.Conn.
func (c *limitedConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// setWhole notes whether anything is to be read for the answer at hand. An answer may
// take its time: reading goes on behind it, and net/http would take a deadline that
// passes there for a client that has gone.
func (c *limitedConn) setWhole(whole bool) {
	c.reading.mu.Lock()
	defer c.reading.mu.Unlock()
	c.whole = whole
	if whole && !c.until.IsZero() {
		_ = c.boundReading()
	}
}

func (c *limitedConn) endReading(until time.Time) {
	c.reading.mu.Lock()
	defer c.reading.mu.Unlock()
	c.until = until
	_ = c.boundReading()
}

// boundReading sets the read deadline that holds now.
func (c *limitedConn) boundReading() error {
	t := c.deadline
	if !c.until.IsZero() && !c.whole && (t.IsZero() || t.After(c.until)) {
		t = c.until
	}
	return c.Conn.SetReadDeadline(t)
}

type connKey struct{}

// rememberConn has requests know their connection.
func rememberConn(ctx context.Context, c net.Conn) context.Context {
	if encrypted, ok := c.(*tls.Conn); ok {
		c = encrypted.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// watchBodies notes when requests have been read whole. Those of HTTP/2 share a
// connection, which net/http tells to take no further ones; the end of reading is that
// of each body there.
func watchBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connKey{}).(*limitedConn)
		switch {
		case !ok:
		case r.ProtoMajor > 1:
			c.setWhole(true)
			if r.ContentLength != 0 {
				stop := context.AfterFunc(c.late, func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now()) })
				defer stop()
				r.Body = &watchedBody{r.Body, func() { stop() }}
			}
		default:
			defer c.setWhole(false)
			if r.ContentLength == 0 {
				c.setWhole(true)
			} else {
				r.Body = &watchedBody{r.Body, func() { c.setWhole(true) }}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// watchedBody says when it has been read.
type watchedBody struct {
	io.ReadCloser
	isRead func()
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.isRead()
	}
	return n, err
}
