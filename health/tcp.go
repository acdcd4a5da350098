package health

import (
	"context"
	"net"

	"github.com/rollcall-dns/rollcall/registry"
)

// newTCP returns a prober that opens a connection, and passes when it could.
func newTCP(d registry.Definition, dialer *net.Dialer) prober {
	return func(ctx context.Context) result {
		c, err := dialer.DialContext(ctx, "tcp", d.TCP)
		if err != nil {
			return critical("%v", err)
		}
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // or each probe would leave a port waiting for a minute
		}
		_ = c.Close()
		return passing("TCP connect %s: Success", d.TCP)
	}
}
