package health

import (
	"context"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// Where much of the registry is critical at once, it is not the instances that have
// gone but the way to them, and to deregister them would lose what nobody could
// put back. It is put off for a while then, which is enough for somebody to look.
const (
	massPercent  = 15 // of the instances that may be deregistered
	massLeast    = 10 // of them, or it is not many
	massPatience = time.Hour
)

// massFailure is whether that is so, and when it was found out.
type massFailure struct {
	at  time.Time
	yes bool
}

// tooManyAtOnce tells whether deregistration is to be put off. It counts once a
// second at most.
func (r *Runner) tooManyAtOnce() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.mass.at) >= time.Second {
		critical, all := 0, 0
		for _, t := range r.tasks {
			if t.check.InstanceID == "" || t.check.Definition.DeregisterCriticalServiceAfter == 0 {
				continue
			}
			if all++; t.late || !t.since.IsZero() {
				critical++
			}
		}
		yes := critical > massLeast && critical*100 > all*massPercent
		if yes && !r.mass.yes {
			r.config.Logger.Error("no critical instance is deregistered for now, as too many are critical at once", "critical", critical, "of", all, "until", massPatience)
		}
		r.mass = massFailure{now, yes}
		r.metrics.spared.Set(0)
		if yes {
			r.metrics.spared.Set(1)
		}
	}
	return r.mass.yes
}

// reap deregisters an instance whose check has been critical for as long as its
// definition allows. The registry does so only if the check has been critical
// since then all along.
func (r *Runner) reap(ctx context.Context, t *task) {
	r.mu.Lock()
	c, since := t.check, t.since
	r.mu.Unlock()
	after := c.Definition.DeregisterCriticalServiceAfter
	if after == 0 || c.InstanceID == "" || since.IsZero() || time.Since(since) < after || ctx.Err() != nil {
		return
	}
	if time.Since(since) < after+massPatience && !r.isAlone(c) && r.tooManyAtOnce() {
		return
	}
	now := r.config.Registry.View().Check(c.Node, c.ID)
	if now == nil || now.Lease != c.Lease {
		return
	}
	err := r.config.Registry.Deregister(ctx, registry.Deregistration{
		Node: c.Node, InstanceID: c.InstanceID, CheckID: c.ID, CriticalSince: now.Since,
	})
	switch {
	case err == nil:
		r.metrics.reaped.Inc()
		r.config.Logger.Warn("deregistered an instance that stayed critical", "service", c.Service, "instance", c.InstanceID, "check", c.ID, "after", after)
	case registry.CodeOf(err) != registry.Conflict && registry.CodeOf(err) != registry.NotFound && ctx.Err() == nil:
		r.config.Logger.Error("an instance that stayed critical could not be deregistered", "service", c.Service, "instance", c.InstanceID, "err", err)
	}
}
