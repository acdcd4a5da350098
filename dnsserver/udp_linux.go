package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenUDP returns a socket a core, all with the same address: the kernel deals
// the datagrams out by their source.
func listenUDP(addr string) (sockets []*socket, err error) {
	workers := runtime.GOMAXPROCS(0)
	config := net.ListenConfig{Control: func(_, addr string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = prepare(int(fd), workers > 1, isWildcard(addr)) })
		if err != nil {
			return err
		}
		return failed
	}}
	for range workers {
		c, err := config.ListenPacket(context.Background(), "udp", addr)
		if err != nil {
			return sockets, err
		}
		s, err := newSocket(c.(*net.UDPConn))
		_ = c.Close() // newSocket has its own
		if err != nil {
			return sockets, err
		}
		sockets = append(sockets, s)
	}
	return sockets, nil
}

// shareUDP returns a socket a core, all of them one that is open already: who opened
// it has no other of the same address for each. It closes conn.
func shareUDP(conn *net.UDPConn) (sockets []*socket, err error) {
	defer conn.Close()
	wildcard := conn.LocalAddr().(*net.UDPAddr).IP.IsUnspecified()
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = prepare(int(fd), false, wildcard) }); err != nil || failed != nil {
		return nil, errors.Join(err, failed)
	}
	for range runtime.GOMAXPROCS(0) {
		s, err := newSocket(conn)
		if err != nil {
			return sockets, err
		}
		s.kept = true
		sockets = append(sockets, s)
	}
	return sockets, nil
}

// isWildcard tells whether a socket with this address has every address.
func isWildcard(addr string) bool {
	a, err := netip.ParseAddrPort(addr)
	return err != nil || a.Addr().IsUnspecified()
}

// prepare sets a socket's options before it is bound. What is not needed is not
// asked for, as it costs the kernel time with each datagram.
func prepare(fd int, shared, wildcard bool) error {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20) // as far as the system allows
	if shared {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return fmt.Errorf("share the port: %w", err)
		}
	}
	if err := leaveWhole(fd); err != nil {
		return fmt.Errorf("forbid fragments: %w", err)
	}
	if wildcard {
		return tellDestination(fd)
	}
	return nil
}

// leaveWhole makes the kernel send a reply whole or not at all (RFC 9715, 3.1):
// fragments get lost, and others can be put in their place. A datagram that is
// never to be cut up also needs no number of its own from the kernel, which has
// to look for one otherwise.
func leaveWhole(fd int) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fmt.Errorf("ask for the socket's family: %w", err)
	}
	if domain == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO); err != nil {
			return err
		}
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
}

// tellDestination makes the kernel tell the address that a query came to, so that
// the reply leaves from there.
func tellDestination(fd int) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fmt.Errorf("ask for the socket's family: %w", err)
	}
	if domain == unix.AF_INET6 { // for IPv4 as well, on a socket that has all addresses
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

// lastBatches is how many batches are read at the end of what has come by then: more
// than a socket has room for.
const lastBatches = 256

// serve answers what comes to the socket, a batch at a time, until the reading is
// to end; what has come by then is answered, too, or left to who keeps the socket
// open. servePortable does the same elsewhere.
func (s *socket) serve(ctx context.Context, p *pipeline) error {
	b := newBatch(p.datagramSize(), s.wildcard)
	defer s.waiting.Wait()
	w := p.newWorker("udp")
	for last := lastBatches; ; {
		if s.ended.Load() {
			if last--; s.kept || last < 0 {
				return nil
			}
		}
		received, errno := b.receive(s.fd)
		switch {
		case errno == unix.EAGAIN && last < lastBatches:
			return nil
		case errno == unix.EAGAIN:
			if err := s.readable(); err != nil {
				return err
			}
		case errno != 0 && errno != unix.EINTR: // such as a port that was unreachable for an earlier reply
			w.errors[errorRead].Add(1)
		}
		queued := 0
		for from := 0; from < received; from += ahead {
			queued = s.replyAll(ctx, w, b, from, min(from+ahead, received), queued)
		}
		if err := s.send(w, b, queued); err != nil {
			return err
		}
		w.publish()
	}
}

// send sends the queued replies of a batch, in bundles where there are any and the
// kernel has them.
func (s *socket) send(w *worker, b *batch, queued int) error {
	count := queued
	if s.bundles && !w.unbundled && queued > 1 {
		count = b.bundle(queued)
	}
	if count == queued {
		return s.sendEach(w, b, 0, queued)
	}
	for sent := 0; sent < count; {
		n, errno := sendAll(s.fd, b.bundles.headers[sent:count])
		switch errno {
		case 0, unix.EINTR:
		case unix.EAGAIN:
			if err := s.writable(); err != nil {
				return err
			}
		default: // a segment is too long for the way, or the way has no bundles
			s.bundles = s.bundles && errno != unix.EIO
			for k := range queued {
				if int(b.bundles.of[k]) != sent {
					continue
				}
				if err := s.sendEach(w, b, k, k+1); err != nil {
					return err
				}
			}
			sent++
		}
		sent += n
	}
	return nil
}

// sendEach sends some of the queued replies, each alone.
func (s *socket) sendEach(w *worker, b *batch, from, to int) error {
	for from < to {
		n, errno := sendAll(s.fd, b.headers[from:to])
		switch errno {
		case 0, unix.EINTR:
		case unix.EAGAIN:
			if err := s.writable(); err != nil {
				return err
			}
		case unix.EMSGSIZE: // here, or as a router on the way has said
			if w.truncated.Add(1); b.shorten(from) {
				continue
			}
			fallthrough
		default:
			w.errors[errorWrite].Add(1)
			from++ // one that cannot be sent must not keep the others back
		}
		from += n
	}
	return nil
}

// wait sends the reply of a pending query when it is there.
func (s *socket) wait(ctx context.Context, p *pending, to *origin) {
	s.waiting.Go(func() {
		reply := p.reply(ctx)
		if reply == nil {
			return
		}
		for {
			switch errno := to.send(s.fd, reply); errno {
			case unix.EINTR:
			case unix.EAGAIN:
				if s.writable() != nil {
					return
				}
			case unix.EMSGSIZE:
				shorter := withoutRecords(reply)
				if len(shorter) == len(reply) {
					return
				}
				reply = shorter
			default:
				if errno != 0 {
					p.metrics.late(p.transport, func(t *tally) { t.errors[errorWrite].Add(1) })
				}
				return
			}
		}
	})
}

// replyAll queues the replies to some datagrams of a batch, after so many others,
// and returns how many are queued then.
func (s *socket) replyAll(ctx context.Context, w *worker, b *batch, first, end, queued int) int {
	var numbers [ahead]int
	var hashes [ahead]uint64
	n := 0
	w.tick()
	for i := first; i < end; i++ {
		if q := &w.queries[n]; w.read(q, b.query(i)) {
			numbers[n], hashes[n] = i, q.hash
			n++
		}
	}
	w.front.Warm(hashes[:n])
	for k, i := range numbers[:n] {
		q := &w.queries[k]
		var reply []byte
		if w.watches == nil {
			reply = w.reply(q, b.room(i), b.from(i))
		} else {
			reply = w.replySeen(q, b.room(i), netip.AddrPortFrom(b.from(i), b.port(i)))
		}
		if reply != nil {
			b.reply(queued, i, reply)
			queued++
		} else if q.pending != nil {
			s.wait(ctx, q.pending, b.origin(i))
		}
	}
	return queued
}
