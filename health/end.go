package health

import (
	"context"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// endEvery is how often the ends of maintenances are looked for at least. They are times
// of the wall clock, and a timer does not notice when that is set.
const endEvery = time.Minute

// end ends a maintenance whose time is over, unless it was begun anew meanwhile, and
// returns when to look again. Where the registry takes no writes, the maintenance goes
// on until it does.
func (r *Runner) end(ctx context.Context, c *registry.Check) (again time.Time) {
	again = time.Now().Add(endEvery).Round(0)
	err := r.config.Registry.Deregister(ctx, registry.Deregistration{
		Node: c.Node, CheckID: c.ID,
		If: func(v *registry.View) error {
			if now := v.Check(c.Node, c.ID); now == nil || now.Lease != c.Lease {
				return registry.Errorf(registry.Conflict, "check %q was registered anew meanwhile", c.ID)
			}
			return nil
		},
	})
	switch code := registry.CodeOf(err); {
	case err == nil:
		r.config.Logger.Info("a maintenance is over", "node", c.Node, "service", c.Service, "instance", c.InstanceID, "until", c.Until)
	case code == registry.Conflict, code == registry.NotFound, ctx.Err() != nil:
	default:
		r.config.Logger.Error("a maintenance that is over could not be ended", "node", c.Node, "service", c.Service, "instance", c.InstanceID, "err", err)
	}
	return again
}
