//go:build !linux

package dnsserver

import (
	"context"
	"net"
	"time"
)

// socket is a bound UDP socket.
type socket struct{ conn *net.UDPConn }

// listenUDP returns a socket for an address.
func listenUDP(addr string) ([]*socket, error) {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, err
	}
	return []*socket{{c.(*net.UDPConn)}}, nil
}

// shareUDP returns a socket that is open already.
func shareUDP(conn *net.UDPConn) ([]*socket, error) { return []*socket{{conn}}, nil }

func (s *socket) serve(ctx context.Context, p *pipeline) error { return p.servePortable(ctx, s.conn) }

// end ends the reading, not the writing.
func (s *socket) end() { _ = s.conn.SetReadDeadline(time.Now()) }

func (s *socket) close() { _ = s.conn.Close() }
