package dnsserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenUDP returns a socket a core, all with the same address: the kernel deals
// the datagrams out by their source.
func listenUDP(addr string) (conns []*net.UDPConn, err error) {
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
			return conns, err
		}
		conns = append(conns, c.(*net.UDPConn))
	}
	return conns, nil
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
	if wildcard {
		return tellDestination(fd)
	}
	return nil
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

// serveUDP answers what comes to a socket, a batch at a time. It returns when
// the socket is told to stop reading. servePortable does the same elsewhere.
func (p *pipeline) serveUDP(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("serve UDP: %w", err)
	}
	b := newBatch(conn.LocalAddr().(*net.UDPAddr).IP.IsUnspecified())
	w := p.newWorker("udp")
	var received, queued, sent int
	var errno syscall.Errno
	read := func(fd uintptr) bool { // the poller waits where there is nothing to read
		received, errno = b.receive(fd)
		return errno != unix.EAGAIN
	}
	write := func(fd uintptr) bool {
		for sent < queued {
			n, failed := b.send(fd, sent, queued)
			switch {
			case failed == unix.EAGAIN:
				return false
			case failed != 0 && failed != unix.EINTR:
				w.errors[errorWrite].Add(1)
				sent++ // one that cannot be sent must not keep the others back
			}
			sent += n
		}
		return true
	}
	for {
		if err := raw.Read(read); err != nil {
			if ended(err) {
				return nil
			}
			return fmt.Errorf("read UDP: %w", err)
		}
		if errno != 0 && errno != unix.EINTR {
			w.errors[errorRead].Add(1)
		}
		queued, sent = 0, 0
		for from := 0; from < received; from += ahead {
			queued = w.replyAll(b, from, min(from+ahead, received), queued)
		}
		if queued > 0 {
			if err := raw.Write(write); err != nil {
				return fmt.Errorf("answer over UDP: %w", err)
			}
		}
		w.publish()
	}
}

// replyAll queues the replies to some datagrams of a batch, after so many others,
// and returns how many are queued then.
func (w *worker) replyAll(b *batch, first, end, queued int) int {
	var numbers [ahead]int
	var hashes [ahead]uint64
	n := 0
	for i := first; i < end; i++ {
		if q := &w.queries[n]; w.read(q, b.query(i)) {
			numbers[n], hashes[n] = i, q.hash
			n++
		}
	}
	w.front.Warm(hashes[:n])
	for k, i := range numbers[:n] {
		b.reply(queued, i, w.reply(&w.queries[k], b.replies[i][:0], b.from(i)))
		queued++
	}
	return queued
}
