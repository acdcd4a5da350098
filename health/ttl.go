package health

import (
	"context"
	"fmt"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// expire makes a heartbeat's check critical when none came in its TTL, and
// returns when to look again. The time is the monotonic one of the Lease, and what
// the process stood still does not count. The
// registry holds the expiry against heartbeats that come at the same moment.
func (r *Runner) expire(ctx context.Context, t *task, c *registry.Check) time.Time {
	ttl := c.Definition.TTL
	renewed := c.Lease.Renewed()
	from := renewed
	if awake := r.pulse.feel(); awake.After(from) {
		from = awake // heartbeats may be waiting to be read
	}
	if deadline := from.Add(ttl); time.Now().Before(deadline) {
		return deadline
	}
	if now := r.config.Registry.View().Check(c.Node, c.ID); now != nil && now.Status != registry.Critical {
		r.metrics.probed("ttl", registry.Critical, 0)
		r.report(ctx, t, c, registry.Critical, fmt.Sprintf("TTL expired: no heartbeat in %v. The last one said: %.200s", ttl, now.Output), renewed)
	}
	// A heartbeat after this moment has a deadline after that one. The minute is
	// for reap, which has no other occasion.
	return time.Now().Add(min(ttl, time.Minute))
}
