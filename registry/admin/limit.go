package admin

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxConnections is how many may be open, of all clients. Whoever waits holds one, so a
// program that watches many services has many; Config.Connections bounds those of one.
const maxConnections = 1024

// tooMany is the reply to a connection beyond the bounds.
const tooMany = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nRetry-After: 1\r\n\r\n" +
	"there are too many connections open\n"

// limitedListener accepts connections within the bounds and turns away others.
type limitedListener struct {
	net.Listener
	most    int // of one address
	refused prometheus.Counter
	closing func() error

	late    context.Context // ends when requests that have not come whole are late
	overdue context.CancelFunc

	mu   sync.Mutex
	all  int
	from map[netip.Addr]int
	open map[*limitedConn]struct{}
}

func limitListener(l net.Listener, most int, refused prometheus.Counter) *limitedListener {
	late, overdue := context.WithCancel(context.Background())
	return &limitedListener{
		Listener: l, most: most, closing: sync.OnceValue(l.Close), refused: refused, late: late, overdue: overdue,
		from: make(map[netip.Addr]int), open: make(map[*limitedConn]struct{}),
	}
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if from := addressOf(c); l.take(from) {
			return l.limit(c, from), nil
		}
		l.refused.Inc()
		_ = c.SetDeadline(time.Now().Add(100 * time.Millisecond)) // the reply fits into what the kernel buffers
		_, _ = io.WriteString(c, tooMany)
		_ = c.Close()
	}
}

// limit returns a connection that has its place until it is closed.
func (l *limitedListener) limit(c net.Conn, from netip.Addr) *limitedConn {
	limited := &limitedConn{Conn: c, late: l.late}
	limited.release = sync.OnceFunc(func() { l.giveBack(limited, from) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[limited] = struct{}{}
	return limited
}

func (l *limitedListener) take(from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= maxConnections || l.from[from] >= l.most {
		return false
	}
	l.all++
	l.from[from]++
	return true
}

func (l *limitedListener) giveBack(c *limitedConn, from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
	l.all--
	if l.from[from]--; l.from[from] == 0 {
		delete(l.from, from)
	}
}

// Close implements net.Listener, as often as it is called.
func (l *limitedListener) Close() error { return l.closing() }

func addressOf(c net.Conn) netip.Addr {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap().WithZone("")
}

// limitedConn gives back its place when it is closed.
type limitedConn struct {
	net.Conn
	reading
	late    context.Context
	release func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
