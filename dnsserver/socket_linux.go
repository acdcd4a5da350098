package dnsserver

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// socket is a bound UDP socket outside of Go's poller. There, epoll waits for
// every socket to become writable too, and is told of each datagram that has
// been sent, which costs the kernel a twentieth of a reply's time.
type socket struct {
	fd       int
	wildcard bool           // it has every address
	kept     bool           // somebody else has it open, too
	bundles  bool           // the kernel takes replies in bundles
	ended    atomic.Bool    // the reading is to end, and
	wake     int            // an eventfd that says so to who waits
	waiting  sync.WaitGroup // the pending queries, who need fd
}

// newSocket takes a socket out of the poller. The caller closes conn.
func newSocket(conn *net.UDPConn) (*socket, error) {
	s := &socket{wildcard: conn.LocalAddr().(*net.UDPAddr).IP.IsUnspecified()}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		s.fd, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, fmt.Errorf("take the socket: %w", failed)
	}
	_, err = unix.GetsockoptInt(s.fd, unix.SOL_UDP, unix.UDP_SEGMENT)
	s.bundles = err == nil
	if s.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(s.fd)
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return s, nil
}

// readable waits until there is something to read, or the reading is to end.
func (s *socket) readable() error {
	fds := [...]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}, {Fd: int32(s.wake), Events: unix.POLLIN}}
	if _, err := unix.Ppoll(fds[:], nil, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for UDP: %w", err)
	}
	return nil
}

// writable waits until there is room for what is to be sent.
func (s *socket) writable() error {
	fds := [...]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
	if _, err := unix.Ppoll(fds[:], nil, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait to answer over UDP: %w", err)
	}
	return nil
}

// end ends the reading, not the writing.
func (s *socket) end() {
	s.ended.Store(true)
	_, _ = unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (s *socket) close() {
	_, _ = unix.Close(s.fd), unix.Close(s.wake)
}
