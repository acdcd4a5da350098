package health

import (
	"context"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

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
