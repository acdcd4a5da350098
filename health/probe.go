package health

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// prober asks a target once how it is. It returns soon after ctx ends.
type prober func(ctx context.Context) result

// result is what a prober found.
type result struct {
	status registry.Status
	output string
}

func passing(format string, args ...any) result {
	return result{registry.Passing, fmt.Sprintf(format, args...)}
}

func critical(format string, args ...any) result {
	return result{registry.Critical, fmt.Sprintf(format, args...)}
}

// newProber returns the prober of a definition, which connects by the dialer:
// the table of what there is.
func newProber(d registry.Definition, dialer *net.Dialer) prober {
	return map[string]func(registry.Definition, *net.Dialer) prober{
		"http": newHTTP,
		"tcp":  newTCP,
		"udp":  newUDP,
		"grpc": newGRPC,
		"dns":  newDNS,
	}[d.Kind()](d, dialer)
}

// maxOutput is how much of an answer is kept, octets.
const maxOutput = 4 << 10

// timeout returns how long a probe may take.
func timeout(d registry.Definition) time.Duration {
	limit := d.Timeout
	if limit == 0 {
		limit = 10 * time.Second
	}
	return min(limit, d.Interval)
}

// probe runs a task's prober and reports what comes out.
func (r *Runner) probe(ctx context.Context, t *task, c *registry.Check) {
	d := *c.Definition
	limited, cancel := context.WithTimeout(ctx, timeout(d))
	defer cancel()
	r.metrics.running.Inc()
	limited, tell := r.config.Around(limited, c)
	start := time.Now()
	found := t.prober(limited)
	tell(found.status, found.output)
	r.metrics.probed(d.Kind(), found.status, time.Since(start))
	if ctx.Err() != nil {
		return // removed, or the end: whatever the prober says, it was cut short
	}
	if r.pulse.feel().After(start) {
		return // it had no time for an answer
	}
	t.slow = limited.Err() != nil
	if t.slow {
		found = critical("timed out after %v", timeout(d))
	}
	status, began := t.flap.judge(t.counter.count(found.status), time.Now())
	if began {
		r.metrics.held.Inc()
		t.reportedAt = time.Time{} // whoever looks wants to know
		r.config.Logger.Warn("a check changes too often, and is held critical", "service", c.Service, "instance", c.InstanceID, "check", c.ID, "for", t.flap.hold)
	}
	if time.Now().Before(t.flap.until) {
		found.output = t.flap.held(found.output)
	}
	r.report(ctx, t, c, status, found.output, time.Time{})
}
