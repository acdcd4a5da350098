package admin

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// At the end, requests that have come are answered, and who is in the midst of sending
// one has unread to send the rest. net/http would wait for them for as long as for an
// answer that is being made.
const unread = 500 * time.Millisecond

// ending is what is to be known of a connection then.
type ending struct {
	whole atomic.Bool // nothing is to be read from it for the answer at hand
	over  atomic.Bool
}

// isWhole notes on a connection that nothing is to be read from it for the answer at hand.
// It is not for HTTP/2, whose requests share one: net/http tells its clients to go.
func (c *limitedConn) isWhole() {
	c.whole.Store(true)
	if c.over.Load() {
		_ = c.SetReadDeadline(time.Time{})
	}
}

// end bounds how long the rest of a request may take to come.
func (c *limitedConn) end() {
	c.over.Store(true)
	if !c.whole.Load() {
		_ = c.SetReadDeadline(time.Now().Add(unread))
	}
}

// end bounds how long requests may take to come from now on, on all connections.
func (l *limitedListener) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.end()
	}
}

type connKey struct{}

// rememberConn has requests know their connection.
func rememberConn(ctx context.Context, c net.Conn) context.Context {
	if encrypted, ok := c.(*tls.Conn); ok {
		c = encrypted.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// watchBodies notes when requests have been read whole.
func watchBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connKey{}).(*limitedConn)
		switch {
		case !ok:
		case r.ProtoMajor > 1:
			c.isWhole()
		case r.ContentLength == 0:
			c.isWhole()
			defer c.whole.Store(false)
		default:
			r.Body = &watchedBody{r.Body, c}
			defer c.whole.Store(false)
		}
		next.ServeHTTP(w, r)
	})
}

// watchedBody notes when it has been read.
type watchedBody struct {
	io.ReadCloser
	conn *limitedConn
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.conn.isWhole()
	}
	return n, err
}
