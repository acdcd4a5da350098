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
	for _, since := range []time.Time{r.started, r.pulse.feel()} {
		if since.After(from) {
			from = since // heartbeats may be waiting to be read
		}
	}
	if deadline := from.Add(ttl); time.Now().Before(deadline) {
		r.isInTime(t)
		return deadline
	}
	now := r.config.Registry.View().Check(c.Node, c.ID)
	switch {
	case now == nil || now.Status == registry.Critical:
		r.isInTime(t)
	case r.tooManyLate(t, time.Since(from)-ttl):
		return time.Now().Add(ttl / 2)
	default:
		r.metrics.probed("ttl", registry.Critical, 0)
		output := fmt.Sprintf("TTL expired: no heartbeat in %v", ttl)
		if now.Output != "" {
			output += fmt.Sprintf(". The last one said: %.200s", now.Output)
		}
		r.report(ctx, t, c, registry.Critical, output, renewed)
	}
	// A heartbeat after this moment has a deadline after that one. The minute is
	// for reap, which has no other occasion.
	return time.Now().Add(min(ttl, time.Minute))
}
