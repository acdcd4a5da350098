package dnsserver

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// datagramSize returns how much room each datagram has, octets: enough for any
// reply. A query that is longer is cut, and malformed then; what the replies tell
// that there is room for is cache.UDPSize. It is an odd number of cache lines, so
// that buffers in a row do not all fall on the same places in the processor's cache.
func (p *pipeline) datagramSize() int {
	const line = 64
	lines := (p.udpSize + line - 1) / line
	return (lines | 1) * line
}

// servePortable answers what comes to a UDP socket, one datagram at a time, on
// any system. It returns when the socket is told to stop reading; ctx is for the
// queries that are pending then.
func (p *pipeline) servePortable(ctx context.Context, conn *net.UDPConn) error {
	w := p.newWorker("udp")
	var waiting sync.WaitGroup
	defer waiting.Wait()
	query, reply := make([]byte, p.datagramSize()), make([]byte, 0, p.datagramSize())
	for {
		n, from, err := conn.ReadFromUDPAddrPort(query)
		switch {
		case err != nil && ended(err):
			return nil
		case err != nil: // such as a port that was unreachable for an earlier reply
			w.errors[errorRead].Add(1)
			continue
		}
		answer := w.serve(reply[:0], query[:n], from)
		if later := w.pending(); later != nil {
			waiting.Go(func() {
				if answer := later.reply(ctx); answer != nil {
					_, _ = conn.WriteToUDPAddrPort(answer, from)
				}
			})
		}
		if answer == nil {
			continue
		}
		if _, err := conn.WriteToUDPAddrPort(answer, from); err != nil {
			if ended(err) {
				return fmt.Errorf("answer over UDP: %w", err)
			}
			w.errors[errorWrite].Add(1)
		}
	}
}
