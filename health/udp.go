package health

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// silence is how long a UDP probe waits for a reply or a refusal. A service may
// well have nothing to say to a datagram that means nothing to it.
const silence = time.Second

// newUDP returns a prober that sends a datagram: a refusal is critical, and a
// reply passes as silence does.
func newUDP(d registry.Definition, dialer *net.Dialer) prober {
	return func(ctx context.Context) result {
		c, err := dialer.DialContext(ctx, "udp", d.UDP)
		if err != nil {
			return critical("%v", err)
		}
		defer c.Close()
		until := time.Now().Add(silence)
		if deadline, ok := ctx.Deadline(); ok {
			until = time.Now().Add(min(silence, time.Until(deadline)*9/10)) // silence is no time-out
		}
		_ = c.SetDeadline(until)
		if _, err := c.Write([]byte("rollcall health check\n")); err != nil {
			return critical("%v", err)
		}
		if _, err = c.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return critical("%v", err)
		}
		return passing("UDP %s: Success", d.UDP)
	}
}
