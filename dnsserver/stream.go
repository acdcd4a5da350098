package dnsserver

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// DNS over TCP (RFC 7766, RFC 9210), and over TLS (RFC 7858), which is the same in
// an envelope. HTTPS counts its connections here, too.
const (
	streamIdle      = 10 * time.Second // from one query to the next; a fifth of it while half of all places are taken
	streamRead      = 2 * time.Second  // for a query, from its first octet to its last
	streamWrite     = 2 * time.Second  // for a reply
	streamHandshake = 5 * time.Second  // for TLS to begin
	streamTotal     = 1024             // connections
	streamPerClient = 64               // connections from one address
	streamPending   = 100              // queries of a connection that wait for others: as many as a client may have, so that reading goes on
	streamFirstRead = 512              // octets that are set aside before a query's first one came
	streamUnread    = 32 << 10         // octets that the kernel keeps until the client reads them, give or take a factor of two; left alone it keeps megabytes
)

// connections are those that are open.
type connections struct {
	ctx      context.Context // of pending queries
	pipeline *pipeline
	handlers sync.WaitGroup

	mu   sync.Mutex
	open map[*connection]struct{}
	from map[netip.Addr]int
	end  time.Time // of the last query; zero: not yet
}

// connection is one of them. Its times belong to the mutex of connections.
type connection struct {
	net.Conn
	raw       net.Conn // the same without TLS
	all       *connections
	peer      netip.AddrPort
	transport string
	idle      time.Time // since when it waits for a query; zero: it does not
	halfway   time.Time // since when it is in the middle of a query, or of a handshake; zero: it is not
	answering int       // requests over HTTPS, or for a zone, that are whole; while there are any it makes no room
	leaving   bool      // it has made room
	once      sync.Once // closes it

	writing sync.Mutex // a reply
	waiting sync.WaitGroup
	places  chan struct{} // taken by pending queries
}

func newConnections(ctx context.Context, p *pipeline) *connections {
	return &connections{ctx: ctx, pipeline: p, open: make(map[*connection]struct{}), from: make(map[netip.Addr]int)}
}

// serveOn serves the connections of a listener of TCP or TLS, until that is closed or
// its time is over.
func (cs *connections) serveOn(l *listener) {
	counted := &countedListener{l.tcp, cs, l.transport}
	for {
		conn, err := counted.Accept()
		if err != nil {
			return
		}
		cs.handlers.Go(func() {
			c := conn.(*connection)
			defer c.Close()
			if l.tls != nil && c.encrypt(cs.ctx, l.tls) != nil {
				return
			}
			cs.serve(c)
		})
	}
}

// countedListener accepts the connections that there is a place for.
type countedListener struct {
	*net.TCPListener
	all       *connections
	transport string
}

// Accept implements net.Listener.
func (l *countedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.TCPListener.Accept()
		if err != nil && ended(err) {
			return nil, net.ErrClosed
		}
		if err != nil {
			// Out of file descriptors, most likely: some will be free soon.
			l.all.pipeline.logger.Warn("a TCP connection could not be accepted", "err", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		_ = conn.(*net.TCPConn).SetWriteBuffer(streamUnread) // where that fails it is as the system wants it
		c := &connection{
			Conn: conn, raw: conn, all: l.all, peer: conn.RemoteAddr().(*net.TCPAddr).AddrPort(), transport: l.transport,
			places: make(chan struct{}, streamPending),
		}
		if l.all.add(c) {
			return c, nil
		}
		_ = conn.Close()
	}
}

// encrypt puts a connection into TLS.
func (c *connection) encrypt(ctx context.Context, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, streamHandshake)
	defer cancel()
	encrypted := tls.Server(c.Conn, config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("begin TLS: %w", err)
	}
	c.Conn = encrypted
	return nil
}

// Close closes a connection, and counts it out.
func (c *connection) Close() (err error) {
	c.once.Do(func() {
		err = c.Conn.Close()
		c.all.remove(c)
	})
	return err
}

// add counts a connection in. Where there are too many, of its address or in all,
// the one of them makes room that for the longest has waited for a query, or been in
// the middle of what it has to say: who has just come, or goes on quickly, has
// nothing to fear.
func (cs *connections) add(c *connection) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	peer := c.peer.Addr()
	switch {
	case cs.from[peer] >= streamPerClient:
		if !cs.makeRoom(func(c *connection) bool { return c.peer.Addr() == peer }) {
			return false
		}
	case len(cs.open) >= streamTotal:
		if !cs.makeRoom(func(*connection) bool { return true }) {
			return false
		}
	}
	c.halfway = time.Now()
	cs.open[c] = struct{}{}
	cs.from[peer]++
	return true
}

// makeRoom closes the oldest of some connections, if there is one.
func (cs *connections) makeRoom(among func(*connection) bool) bool {
	oldest := cs.oldest(among)
	if oldest == nil {
		return false
	}
	oldest.leaving = true
	_ = oldest.raw.Close() // its own goroutine counts it out; a handshake, and net/http, heed no deadline of another's
	return true
}

func (cs *connections) oldest(among func(*connection) bool) (oldest *connection) {
	for c := range cs.open {
		if !c.since().IsZero() && among(c) && (oldest == nil || c.since().Before(oldest.since())) {
			oldest = c
		}
	}
	return oldest
}

// since returns since when the connection is as it is: idle or halfway. Zero: it makes
// no room.
func (c *connection) since() time.Time {
	switch {
	case c.leaving, c.answering > 0:
		return time.Time{}
	case c.idle.IsZero():
		return c.halfway
	}
	return c.idle
}

// answers notes that the connection has so many whole requests more, or less, whose
// replies may take long: it makes no room until they are sent.
func (c *connection) answers(more int) {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	c.answering += more
	if now := time.Now(); c.idle.IsZero() {
		c.halfway = now
	} else {
		c.idle = now
	}
}

func (cs *connections) remove(c *connection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
	if cs.from[c.peer.Addr()]--; cs.from[c.peer.Addr()] == 0 {
		delete(cs.from, c.peer.Addr())
	}
}

// drain ends the connections that wait for a query, and the others after the
// reply that they are at. A query that has come already is answered.
func (cs *connections) drain() {
	cs.mu.Lock()
	cs.end = time.Now().Add(lastWords)
	for c := range cs.open {
		if c.transport != "https" && !c.idle.IsZero() { // which ends its own
			_ = c.SetReadDeadline(cs.end)
		}
	}
	cs.mu.Unlock()
	cs.handlers.Wait()
}

// waits notes whether a connection waits for a query, and sets its deadline, which
// is over soon when there are to be no more queries.
func (cs *connections) waits(c *connection, idle bool) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	now := time.Now()
	limit := streamRead
	if !idle {
		c.idle, c.halfway = time.Time{}, now
	} else {
		c.halfway, limit = time.Time{}, cs.idleTime()
		if c.idle.IsZero() { // else it waits since its last query was whole
			c.idle = now
		}
	}
	until := now.Add(limit)
	if idle && !cs.end.IsZero() {
		until = cs.end
	}
	return c.SetReadDeadline(until) == nil
}

// idleTime is how long a connection may wait for a query, as many as there are.
func (cs *connections) idleTime() time.Duration {
	if len(cs.open) > streamTotal/2 {
		return streamIdle / 5
	}
	return streamIdle
}

// serve answers the queries of a connection. They may come before their
// predecessors are answered, and those that wait for others are answered when they
// can be. It ends with the connection, or with the first query that cannot be read,
// after the replies to those that could.
func (cs *connections) serve(c *connection) {
	w := cs.pipeline.newWorker(c.transport)
	defer cs.pipeline.metrics.retire(w.tally)
	defer c.waiting.Wait()
	query, reply := make([]byte, 0, streamFirstRead), make([]byte, 0, streamFirstRead)
	for {
		var err error
		if query, err = cs.readQuery(c, query[:0]); err != nil {
			return
		}
		if w.tick(); w.asksForZone(query) {
			if c.transfer(w, query) != nil {
				return
			}
			continue
		}
		reply = w.serve(append(reply[:0], 0, 0), query, c.peer)
		if p := w.pending(); p != nil {
			c.wait(cs.ctx, p)
		}
		if reply == nil {
			reply = make([]byte, 0, streamFirstRead)
			continue
		}
		if c.transport == "tls" && w.padded() {
			reply = pad(reply, 2, maxTCP)
		}
		if err := c.reply(reply); err != nil {
			w.errors[errorWrite].Add(1)
			return
		}
	}
}

// wait sends the reply to a pending query when it is there. Where many are pending
// no further query is read until one of them is not.
func (c *connection) wait(ctx context.Context, p *pending) {
	c.places <- struct{}{}
	c.waiting.Go(func() {
		defer func() { <-c.places }()
		reply := p.reply(ctx)
		if reply == nil {
			return
		}
		reply = append([]byte{0, 0}, reply...)
		if c.transport == "tls" && p.query.padded {
			reply = pad(reply, 2, maxTCP)
		}
		_ = c.reply(reply)
	})
}

// reply sends a reply, before which there is room for its length.
func (c *connection) reply(reply []byte) error { return c.send(reply, streamWrite) }

// send does that within a time.
func (c *connection) send(reply []byte, within time.Duration) error {
	binary.BigEndian.PutUint16(reply, uint16(len(reply)-2))
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	_, err := c.Write(reply)
	if err != nil {
		_ = c.raw.Close() // TLS would wait for five seconds more, to say goodbye
	}
	return err
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
	cs.works(c)
	return query, nil
}

// works notes that a connection has a whole query. From now on it waits for the next
// one: the reply takes no time, but where its client does not read it, who has to make
// room as others do.
func (cs *connections) works(c *connection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.idle, c.halfway = time.Now(), time.Time{}
}
