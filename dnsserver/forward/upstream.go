package forward

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// upstream is a server that is asked.
type upstream struct {
	name   string // as the user has written it
	addr   netip.AddrPort
	tls    *tls.Config // nil: it is asked in clear
	stream bool        // it is asked over TCP alone
	open   func(ctx context.Context, network, address string) (net.Conn, error)

	answers  atomic.Uint64
	failures atomic.Int32 // in a row
	down     atomic.Bool  // it has failed more than once
	loops    atomic.Bool  // it asks us what we ask it
	probing  atomic.Bool

	nextLook time.Time              // of probe alone
	marker   atomic.Pointer[string] // the name that shows that it asks us; nil: none was sent yet
	returned atomic.Bool            // it has come back

	mu   sync.Mutex
	idle []*idleConn // that are open; the newest last
}

// idleConn is a connection that waits for the next question.
type idleConn struct {
	net.Conn
	since time.Time
}

const (
	mostIdle   = 8               // connections to an upstream that wait
	idleTime   = 8 * time.Second // for how long
	mostWrong  = 10              // replies to something else before it is asked over TCP
	udpReceive = 4096            // octets that are read of a datagram: more than was asked for
)

// errWrong is the error of a reply to something else.
var errWrong = errors.New("it replies to something that it was not asked")

// parseUpstream reads ADDRESS[:PORT], or tls://ADDRESS[:PORT][#NAME], where NAME
// is in the upstream's certificate, or tcp://ADDRESS[:PORT].
func parseUpstream(text string) (*upstream, error) {
	u := &upstream{name: text, open: (&net.Dialer{}).DialContext}
	rest, port := text, uint16(53)
	if after, ok := strings.CutPrefix(rest, "tls://"); ok {
		var server string
		rest, server, _ = strings.Cut(after, "#")
		port, u.stream = 853, true
		u.tls = &tls.Config{ServerName: server, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	} else if after, ok := strings.CutPrefix(rest, "tcp://"); ok {
		rest, u.stream = after, true
	}
	if addr, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		u.addr = netip.AddrPortFrom(addr.Unmap(), port)
	} else if u.addr, err = netip.ParseAddrPort(rest); err != nil || u.addr.Port() == 0 {
		return nil, fmt.Errorf("%q is no upstream, as 10.0.0.2, 10.0.0.2:5353 and tls://10.0.0.2#dns.example are", text)
	}
	if u.tls != nil && u.tls.ServerName == "" {
		u.tls.ServerName = u.addr.Addr().String()
	}
	return u, nil
}

func randomOctets(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // which never fails
	return b
}

// exchange sends a query, with an id of its own from a port of its own, and
// returns the reply. One that is cut short is asked for again over TCP, and given as
// it is where that fails; a server that does not know EDNS is asked without it.
func (u *upstream) exchange(ctx context.Context, query *dns.Msg) (reply *dns.Msg, err error) {
	defer func() {
		if fault := recover(); fault != nil { // of who reads what anybody may send
			err = fmt.Errorf("the exchange ended in a panic: %v", fault)
		}
	}()
	asked := query.Copy()
	asked.Id = binary.BigEndian.Uint16(randomOctets(2))
	reply, err = u.send(ctx, asked)
	if err == nil && asked.IsEdns0() != nil && mayNotKnowEDNS(reply) {
		asked.Extra = nil // RFC 6891, section 7
		reply, err = u.send(ctx, asked)
	}
	return reply, err
}

// mayNotKnowEDNS tells whether a reply may come from a server that does not know EDNS.
// That there is an OPT in it tells nothing: some only turn the query round.
func mayNotKnowEDNS(reply *dns.Msg) bool {
	return reply.Rcode == dns.RcodeFormatError || reply.Rcode == dns.RcodeNotImplemented
}

func (u *upstream) send(ctx context.Context, query *dns.Msg) (*dns.Msg, error) {
	packed, err := query.Pack()
	if err != nil {
		return nil, fmt.Errorf("write the query: %w", err)
	}
	var cut *dns.Msg
	if !u.stream {
		reply, err := u.overUDP(ctx, query, packed)
		if err == nil && !reply.Truncated || err != nil && !errors.Is(err, errWrong) {
			return reply, err
		}
		cut = reply
	}
	reply, err := u.overStream(ctx, query, packed)
	if err != nil && cut != nil {
		return cut, nil // a part is better than nothing
	}
	return reply, err
}

// overUDP sends a query in a datagram. The socket is connected, so that only the
// upstream's datagrams come in; those that are no reply to the query are passed
// over, as somebody else may have sent them in its name.
func (u *upstream) overUDP(ctx context.Context, query *dns.Msg, packed []byte) (*dns.Msg, error) {
	conn, err := u.open(ctx, "udp", u.addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer u.until(ctx, conn)()
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	buffer := make([]byte, udpReceive)
	for range mostWrong {
		n, err := conn.Read(buffer)
		if err != nil {
			return nil, err
		}
		if reply := replyTo(query, buffer[:n]); reply != nil {
			return reply, nil
		}
	}
	return nil, errWrong
}

// until makes a connection fail when ctx ends. What it returns undoes that.
func (u *upstream) until(ctx context.Context, conn net.Conn) (stop func() bool) {
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// replyTo reads a reply to a query, or returns nil where a packet is not that.
func replyTo(query *dns.Msg, packet []byte) *dns.Msg {
	const headerSize = 12
	if len(packet) < headerSize || binary.BigEndian.Uint16(packet) != query.Id || packet[2]&0x80 == 0 {
		return nil
	}
	reply := new(dns.Msg)
	err := reply.Unpack(packet)
	if reply.Opcode != query.Opcode {
		return nil
	}
	// A server that cannot read a query may not repeat its question.
	if len(reply.Question) == 0 && mayNotKnowEDNS(reply) && err == nil {
		return reply
	}
	if len(reply.Question) != 1 {
		return nil
	}
	is, was := reply.Question[0], query.Question[0]
	if is.Qtype != was.Qtype || is.Qclass != was.Qclass || dns.CanonicalName(is.Name) != was.Name {
		return nil
	}
	if (err != nil || !isWhole(reply, packet)) && !reply.Truncated { // what is cut short is asked for again anyway
		reply.Rcode = dns.RcodeServerFailure
	}
	return reply
}

// isWhole tells whether a reply has the records that its header counts, which
// Unpack does not mind.
func isWhole(reply *dns.Msg, packet []byte) bool {
	return len(reply.Answer) == int(binary.BigEndian.Uint16(packet[6:])) &&
		len(reply.Ns) == int(binary.BigEndian.Uint16(packet[8:])) &&
		len(reply.Extra) == int(binary.BigEndian.Uint16(packet[10:]))
}

// overStream sends a query over a connection: one that is open, or if that has
// come to its end a new one.
func (u *upstream) overStream(ctx context.Context, query *dns.Msg, packed []byte) (*dns.Msg, error) {
	if conn := u.take(); conn != nil {
		if reply, err := u.overConn(ctx, conn, query, packed); err == nil || ctx.Err() != nil {
			return reply, err
		}
	}
	conn, err := u.dial(ctx)
	if err != nil {
		return nil, err
	}
	return u.overConn(ctx, conn, query, packed)
}

func (u *upstream) dial(ctx context.Context) (net.Conn, error) {
	if u.tls == nil {
		return u.open(ctx, "tcp", u.addr.String())
	}
	return (&tls.Dialer{Config: u.tls}).DialContext(ctx, "tcp", u.addr.String())
}

func (u *upstream) overConn(ctx context.Context, conn net.Conn, query *dns.Msg, packed []byte) (reply *dns.Msg, err error) {
	stop := u.until(ctx, conn)
	reply, err = converse(conn, query, packed)
	if stopped := stop(); err != nil || !stopped {
		conn.Close()
		return reply, err
	}
	u.put(conn)
	return reply, nil
}

// converse sends a query and reads the reply, each behind its length.
func converse(conn net.Conn, query *dns.Msg, packed []byte) (*dns.Msg, error) {
	stream := &dns.Conn{Conn: conn}
	if _, err := stream.Write(packed); err != nil {
		return nil, err
	}
	buffer, err := stream.ReadMsgHeader(nil)
	if err != nil {
		return nil, err
	}
	if reply := replyTo(query, buffer); reply != nil {
		return reply, nil
	}
	return nil, errWrong
}

// take returns a connection that waits, or nil.
func (u *upstream) take() net.Conn {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.idle) > 0 {
		last := u.idle[len(u.idle)-1]
		u.idle = u.idle[:len(u.idle)-1]
		if time.Since(last.since) < idleTime {
			return last.Conn
		}
		last.Close()
	}
	return nil
}

// put lets a connection wait for the next question.
func (u *upstream) put(conn net.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.idle) == mostIdle {
		u.idle[0].Close()
		u.idle = append(u.idle[:0], u.idle[1:]...)
	}
	u.idle = append(u.idle, &idleConn{conn, time.Now()})
}

// close ends the connections that wait.
func (u *upstream) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.idle {
		c.Close()
	}
	u.idle = nil
}
