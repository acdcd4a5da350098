package consul

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/registry"
)

// What is registered on the agent's own node goes to the agent, which runs its
// checks and tells the servers; what is on other nodes goes to the catalog. Either
// way a write is done when it is shown (shown.go).

type tokenKey struct{}

// anonymous is the secret of the token that Consul has for who shows none.
const anonymous = "anonymous"

// WithToken returns a context whose writes bear the caller's token instead of
// rollcall's own. An empty one is nobody's, which may do what Consul allows to
// everybody.
func WithToken(ctx context.Context, token string) context.Context {
	token = cmp.Or(token, anonymous)
	return context.WithValue(ctx, tokenKey{}, token)
}

func tokenOf(ctx context.Context) string {
	token, _ := ctx.Value(tokenKey{}).(string)
	return token
}

func (r *Registry) asReader(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{Token: tokenOf(ctx)}).WithContext(ctx)
}

func (r *Registry) asWriter(ctx context.Context) *api.WriteOptions {
	return (&api.WriteOptions{Token: tokenOf(ctx), Datacenter: r.config.Datacenter}).WithContext(ctx)
}

// local tells whether a node is the agent's own.
func (r *Registry) local(node string) bool {
	return node == "" || lower(node) == lower(r.Node())
}

// errUnconditional: Consul's agent takes no condition, and to look before is not the same.
var errUnconditional = registry.Errorf(registry.Invalid, "in front of Consul a registration cannot be made conditional: its agent knows no conditions")

// errNoEnd is because Consul has no place for the end, and nobody would hold to it while
// rollcall is away.
var errNoEnd = registry.Errorf(registry.Invalid, "Consul knows no maintenance that ends by itself: begin it without a time, and end it when it is over")

// errNodeMaintenance is because Consul's client does that with its own token alone, and
// not with the caller's.
var errNodeMaintenance = registry.Errorf(registry.Invalid, "the maintenance of an agent's node is for its agent: consul maint -enable, or -disable")

// Register implements registry.Registry.
func (r *Registry) Register(ctx context.Context, reg registry.Registration) error {
	if err := reg.Validate(); err != nil {
		return err
	}
	if reg.If != nil {
		return errUnconditional
	}
	if slices.ContainsFunc(reg.Checks, func(c registry.Check) bool { return !c.Until.IsZero() }) {
		return errNoEnd
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	node := cmp.Or(reg.Node.Name, r.Node())
	if node == "" {
		return registry.Errorf(registry.Invalid, "Node is missing: the agent that is asked is in another datacenter, or does not tell its node")
	}
	if reg.Instance != nil && reg.Instance.ID == "" {
		i := *reg.Instance
		i.ID = i.Service
		reg.Instance = &i
	}
	var err error
	if r.local(node) {
		err = r.registerAtAgent(ctx, &reg)
	} else {
		err = r.registerInCatalog(ctx, &reg)
	}
	if err != nil {
		return refused("registering with Consul", err)
	}
	key := ""
	if reg.Instance != nil {
		key = lower(reg.Instance.Service)
	} else if len(reg.Checks) > 0 {
		key = r.serviceOf(node, &reg.Checks[0])
	}
	r.awaitShown(ctx, key, key == "", func(v *registry.View) bool { return shows(v, node, &reg) })
	return nil
}

// Deregister implements registry.Registry.
func (r *Registry) Deregister(ctx context.Context, d registry.Deregistration) error {
	if d.If != nil {
		return errUnconditional
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	node := cmp.Or(d.Node, r.Node())
	key := ""
	if i := r.View().Instance(node, d.InstanceID); i != nil {
		key = lower(i.Service)
	}
	if !d.CriticalSince.IsZero() {
		c := r.View().Check(node, d.CheckID)
		if c == nil || c.Status != registry.Critical || !c.Since.Equal(d.CriticalSince) {
			return registry.Errorf(registry.Conflict, "check %q on %q is not critical since %s any more", d.CheckID, node, d.CriticalSince)
		}
		d.CheckID = ""
	} else if c := r.View().Check(node, d.CheckID); d.CheckID != "" && c != nil {
		key = lower(c.Service)
	}
	gone := func(v *registry.View) bool { return v.Node(node) == nil }
	switch {
	case d.CheckID != "":
		gone = func(v *registry.View) bool { return v.Check(node, d.CheckID) == nil }
	case d.InstanceID != "":
		gone = func(v *registry.View) bool { return v.Instance(node, d.InstanceID) == nil }
	}
	if err := r.deregister(ctx, node, d); err != nil {
		return refused("deregistering from Consul", err)
	}
	r.awaitShown(ctx, key, true, gone)
	return nil
}

func (r *Registry) deregister(ctx context.Context, node string, d registry.Deregistration) error {
	agent := r.client.Agent()
	maintained, maintenance := strings.CutPrefix(d.CheckID, registry.ServiceMaintenancePrefix)
	switch {
	case r.local(node) && maintenance:
		return agent.DisableServiceMaintenanceOpts(maintained, r.asReader(ctx))
	case r.local(node) && d.CheckID == registry.NodeMaintenance:
		return errNodeMaintenance
	case r.local(node) && d.CheckID != "":
		return agent.CheckDeregisterOpts(d.CheckID, r.asReader(ctx))
	case r.local(node) && d.InstanceID != "":
		return agent.ServiceDeregisterOpts(d.InstanceID, r.asReader(ctx))
	}
	v := r.View()
	switch {
	case d.CheckID != "" && v.Check(node, d.CheckID) == nil:
		return registry.Errorf(registry.NotFound, "no check %q is registered on %q", d.CheckID, node)
	case d.CheckID == "" && d.InstanceID != "" && v.Instance(node, d.InstanceID) == nil:
		return registry.Errorf(registry.NotFound, "no instance %q is registered on %q", d.InstanceID, node)
	case d.CheckID == "" && d.InstanceID == "" && v.Node(node) == nil:
		return registry.Errorf(registry.NotFound, "no node %q is registered", node)
	}
	out := &api.CatalogDeregistration{Node: node, CheckID: d.CheckID, Datacenter: r.config.Datacenter}
	if d.CheckID == "" {
		out.ServiceID = d.InstanceID
	}
	_, err := r.client.Catalog().Deregister(out, r.asWriter(ctx))
	return err
}

// SetStatus implements registry.Registry.
func (r *Registry) SetStatus(ctx context.Context, u registry.StatusUpdate) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	node := cmp.Or(u.Node, r.Node())
	c := r.View().Check(node, u.CheckID)
	if u.Lease != nil && (c == nil || c.Lease != u.Lease || !u.ExpiredBy.IsZero() && c.Lease.Renewed().After(u.ExpiredBy)) {
		return registry.Errorf(registry.Conflict, "check %q on %q is not the one that was probed any more", u.CheckID, node)
	}
	var err error
	switch {
	case r.local(node):
		err = r.client.Agent().UpdateTTLOpts(u.CheckID, u.Output, u.Status.String(), r.asReader(ctx))
	case c == nil:
		err = registry.Errorf(registry.NotFound, "no check %q is registered on %q", u.CheckID, node)
	default:
		out := &api.CatalogRegistration{Node: node, SkipNodeUpdate: true, Datacenter: r.config.Datacenter,
			Checks: api.HealthChecks{catalogCheck(node, c, u.Status, u.Output)}}
		if n := r.View().Node(node); n != nil {
			out.ID, out.Address = n.ID, n.Address
		}
		_, err = r.client.Catalog().Register(out, r.asWriter(ctx))
	}
	if err != nil {
		return refused("setting the status of a check at Consul", err)
	}
	if c == nil {
		return nil // registered a moment ago, by somebody else
	}
	if u.Lease == nil {
		c.Lease.Renew(time.Now())
	}
	key := lower(c.Service)
	r.awaitShown(ctx, key, key == "", func(v *registry.View) bool {
		now := v.Check(node, u.CheckID)
		return now == nil || now.Status == u.Status
	})
	return nil
}

// refused turns what Consul answers into an Error.
func refused(doing string, err error) error {
	var own *registry.Error
	if errors.As(err, &own) {
		return err
	}
	var status api.StatusError
	switch {
	case errors.As(err, &status):
	case errors.Is(err, context.DeadlineExceeded):
		return registry.Errorf(registry.Unavailable, "%s: it does not answer within %v", doing, answerWithin)
	default:
		return registry.Errorf(registry.Unavailable, "%s: %w", doing, err)
	}
	text := strings.TrimSpace(status.Body)
	switch {
	case status.Code == http.StatusForbidden, strings.Contains(text, "ACL not found"):
		return registry.Errorf(registry.Forbidden, "%s: %s", doing, text)
	case status.Code == http.StatusNotFound, strings.Contains(text, "Unknown "):
		return registry.Errorf(registry.NotFound, "%s: %s", doing, text)
	case status.Code >= 400 && status.Code < 500, strings.Contains(text, "does not have associated TTL"):
		return registry.Errorf(registry.Invalid, "%s: %s", doing, text)
	}
	return registry.Errorf(registry.Unavailable, "%s: %s", doing, text)
}
