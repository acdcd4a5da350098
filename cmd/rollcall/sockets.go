package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/rollcall-dns/rollcall/dnsserver"
)

// sockets are those that a service manager opened and passed on: see
// sd_listen_fds(3). It keeps them open while the program is started anew, so that
// what comes meanwhile waits, and is refused nothing.
type sockets struct {
	dns  dnsserver.Sockets
	http *net.TCPListener // nil: there is none, and admin-addr says where to listen
}

// httpSocket is the name (FileDescriptorName) of the one for HTTP. Those with any
// other name are for DNS.
const httpSocket = "http"

// firstSocket is the number of the first descriptor that is passed.
const firstSocket = 3

// takeSockets takes those that the environment tells of, which it clears, so that
// nobody takes them twice; nil: there are none.
func takeSockets() (_ *sockets, err error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		_ = os.Unsetenv(name)
	}
	n, err := strconv.Atoi(count)
	if err != nil || n <= 0 || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // they are for another process, or nobody's
	}
	s := new(sockets)
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	for i := range n {
		name := "unknown"
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		if err := s.take(os.NewFile(uintptr(firstSocket+i), name)); err != nil {
			return nil, fmt.Errorf("taking over socket %s from the service manager: %w", name, err)
		}
	}
	if s.dns.UDP == nil && s.dns.TCP == nil {
		return s, nil
	}
	if s.dns.UDP == nil || s.dns.TCP == nil {
		return nil, errors.New("the service manager passes sockets for DNS that are not of both kinds: ListenDatagram= and ListenStream= are needed")
	}
	return s, nil
}

// take takes a socket and closes the file, whose descriptor would pass to children.
func (s *sockets) take(file *os.File) error {
	defer file.Close()
	if l, err := net.FileListener(file); err == nil {
		tcp, ok := l.(*net.TCPListener)
		switch {
		case !ok:
			_ = l.Close()
			return fmt.Errorf("%s is no TCP address", l.Addr())
		case file.Name() != httpSocket:
			s.dns.TCP = append(s.dns.TCP, tcp)
		case s.http != nil:
			_ = l.Close()
			return fmt.Errorf("%s and %s are both for HTTP, which is on one address", s.http.Addr(), l.Addr())
		default:
			s.http = tcp
		}
		return nil
	}
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return errors.New("it is neither a listening stream nor a datagram socket")
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok || file.Name() == httpSocket {
		_ = conn.Close()
		return fmt.Errorf("%s is no address of its kind", conn.LocalAddr())
	}
	s.dns.UDP = append(s.dns.UDP, udp)
	return nil
}

func (s *sockets) close() {
	for _, c := range s.dns.UDP {
		_ = c.Close()
	}
	for _, l := range s.dns.TCP {
		_ = l.Close()
	}
	if s.http != nil {
		_ = s.http.Close()
	}
}

// settings returns the names of the settings that count for nothing beside the sockets.
func (s *sockets) settings() (names []string) {
	if s != nil && s.dns.TCP != nil {
		names = append(names, "dns-addr")
	}
	if s != nil && s.http != nil {
		names = append(names, "admin-addr")
	}
	return names
}

// replace puts the addresses of the sockets into the place of those that settings
// name: what depends on an address depends on the real one.
func (s *sockets) replace(settings *settings) {
	if s == nil {
		return
	}
	if s.dns.TCP != nil {
		settings.dnsAddrs = nil
		for _, l := range s.dns.TCP {
			settings.dnsAddrs = append(settings.dnsAddrs, l.Addr().String())
		}
		settings.given = &s.dns
	}
	if s.http != nil {
		settings.adminAddr, settings.givenHTTP = s.http.Addr().String(), s.http
	}
}
