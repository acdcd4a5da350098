package dnsserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits of DNS over TCP (RFC 7766, RFC 9210).
const (
	tcpIdle       = 10 * time.Second // from one query to the next
	tcpRead       = 2 * time.Second  // for a query, from its first octet to its last
	tcpWrite      = 2 * time.Second  // for a reply
	tcpTotal      = 1024             // connections
	tcpPerAddress = 64               // connections from one address
	tcpFirstRead  = 512              // octets that are set aside before a query's first one came
)

// connections are the TCP connections that are open.
type connections struct {
	ctx      context.Context // of pending queries
	pipeline *pipeline
	handlers sync.WaitGroup

	mu       sync.Mutex
	open     map[*connection]struct{}
	from     map[netip.Addr]int
	draining bool
}

// connection is one of them. Its times belong to the mutex of connections.
type connection struct {
	net.Conn
	peer netip.AddrPort
	idle time.Time // since when it waits for a query; zero: it does not
}

func newConnections(ctx context.Context, p *pipeline) *connections {
	return &connections{ctx: ctx, pipeline: p, open: make(map[*connection]struct{}), from: make(map[netip.Addr]int)}
}

// accept takes connections until the listener is closed.
func (cs *connections) accept(l *net.TCPListener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				cs.handlers.Wait()
				return nil
			}
			// Out of file descriptors, most likely: some will be free soon.
			cs.pipeline.logger.Warn("a TCP connection could not be accepted", "err", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		c := &connection{Conn: conn, peer: conn.RemoteAddr().(*net.TCPAddr).AddrPort()}
		if !cs.add(c) {
			_ = conn.Close()
			continue
		}
		cs.handlers.Go(func() {
			defer cs.remove(c)
			cs.serve(c)
		})
	}
}

// add counts a connection in. Where there are too many the one that has waited
// for the longest makes room.
func (cs *connections) add(c *connection) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	peer := c.peer.Addr()
	if cs.draining || cs.from[peer] >= tcpPerAddress {
		return false
	}
	if len(cs.open) >= tcpTotal {
		oldest := cs.oldest()
		if oldest == nil {
			return false
		}
		_ = oldest.Close()
	}
	cs.open[c] = struct{}{}
	cs.from[peer]++
	return true
}

func (cs *connections) oldest() (oldest *connection) {
	for c := range cs.open {
		if !c.idle.IsZero() && (oldest == nil || c.idle.Before(oldest.idle)) {
			oldest = c
		}
	}
	return oldest
}

func (cs *connections) remove(c *connection) {
	_ = c.Close()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
	if cs.from[c.peer.Addr()]--; cs.from[c.peer.Addr()] == 0 {
		delete(cs.from, c.peer.Addr())
	}
}

// drain ends the connections that wait for a query, and the others after the
// reply that they are at.
func (cs *connections) drain() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.draining = true
	for c := range cs.open {
		_ = c.SetReadDeadline(time.Now())
	}
}

// waits notes whether a connection waits for a query, and sets its deadline. It
// returns false when there are to be no more queries.
func (cs *connections) waits(c *connection, idle bool) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	now := time.Now()
	c.idle = time.Time{}
	limit := tcpRead
	if idle {
		c.idle, limit = now, tcpIdle
	}
	if cs.draining {
		return false
	}
	return c.SetReadDeadline(now.Add(limit)) == nil
}

// serve answers the queries of a connection, one after the other; they may come
// before their predecessors are answered. It ends with the connection, or with
// the first query that cannot be read.
func (cs *connections) serve(c *connection) {
	w := cs.pipeline.newWorker("tcp")
	defer cs.pipeline.metrics.retire(w.tally)
	query, reply := make([]byte, 0, tcpFirstRead), make([]byte, 0, tcpFirstRead)
	for {
		var err error
		if query, err = cs.readQuery(c, query[:0]); err != nil {
			return
		}
		reply = w.serve(append(reply[:0], 0, 0), query, c.peer)
		if later := w.pending(); later != nil {
			reply = append(make([]byte, 2, tcpFirstRead), later.reply(cs.ctx)...)
		}
		if reply == nil {
			reply = make([]byte, 0, tcpFirstRead)
			continue
		}
		binary.BigEndian.PutUint16(reply, uint16(len(reply)-2))
		if err := c.SetWriteDeadline(time.Now().Add(tcpWrite)); err != nil {
			return
		}
		if _, err := c.Write(reply); err != nil {
			w.errors[errorWrite].Add(1)
			return
		}
	}
}

// errShort is the error of a message that cannot be one.
var errShort = errors.New("a message shorter than its header")

// readQuery reads a message behind its length. The length is only a claim: room
// is made as the octets come.
func (cs *connections) readQuery(c *connection, query []byte) ([]byte, error) {
	var prefix [2]byte
	if !cs.waits(c, true) {
		return query, net.ErrClosed
	}
	if _, err := io.ReadFull(c, prefix[:1]); err != nil {
		return query, err
	}
	if !cs.waits(c, false) {
		return query, net.ErrClosed
	}
	if _, err := io.ReadFull(c, prefix[1:]); err != nil {
		return query, err
	}
	size := int(binary.BigEndian.Uint16(prefix[:]))
	if size < headerSize {
		return query, errShort
	}
	for len(query) < size {
		if len(query) == cap(query) {
			query = append(query, 0)[:len(query)]
		}
		n, err := c.Read(query[len(query):min(cap(query), size)])
		query = query[:len(query)+n]
		if err != nil && len(query) < size {
			return query, fmt.Errorf("read a query of %d octets: %w", size, err)
		}
	}
	return query, nil
}
