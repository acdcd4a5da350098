//go:build !linux

package dnsserver

import "net"

// listenUDP returns a socket for an address.
func listenUDP(addr string) ([]*net.UDPConn, error) {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, err
	}
	return []*net.UDPConn{c.(*net.UDPConn)}, nil
}

func (p *pipeline) serveUDP(conn *net.UDPConn) error { return p.servePortable(conn) }
