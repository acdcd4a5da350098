package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/registry"
)

// What is registered on the agent's own node goes to the agent, which runs its
// checks and tells the servers; what is on other nodes goes to the catalog. An
// agent answers before the catalog knows: a write is done here only when the
// View shows it, so that whoever was answered reads the own write.

// shownWithin is how long a write waits to be seen. What an agent has accepted
// it will tell the servers in its own time, if they are away.
const shownWithin = 2 * time.Second

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

// ownChecks splits a registration's checks into those of its instance and others.
func ownChecks(reg *registry.Registration) (own, others []registry.Check) {
	for _, c := range reg.Checks {
		if i := reg.Instance; i != nil && (c.InstanceID == i.ID || c.InstanceID == "" && c.Service == "") {
			own = append(own, c)
		} else {
			others = append(others, c)
		}
	}
	for n := range own {
		if own[n].ID == "" {
			own[n].ID = "service:" + reg.Instance.ID
			if len(own) > 1 {
				own[n].ID += fmt.Sprint(":", n+1)
			}
		}
	}
	return own, others
}

// errNoEnd is because Consul has no place for the end, and nobody would hold to it while
// rollcall is away.
var errNoEnd = registry.Errorf(registry.Invalid, "Consul knows no maintenance that ends by itself: begin it without a time, and end it when it is over")

// errNodeMaintenance is because Consul's client does that with its own token alone, and
// not with the caller's.
var errNodeMaintenance = registry.Errorf(registry.Invalid, "the maintenance of an agent's node is for its agent: consul maint -enable, or -disable")

func (r *Registry) registerAtAgent(ctx context.Context, reg *registry.Registration) error {
	agent := r.client.Agent()
	own, others := ownChecks(reg)
	if i := reg.Instance; i != nil {
		s := &api.AgentServiceRegistration{
			ID: i.ID, Name: i.Service, Tags: i.Tags, Port: i.Port, Ports: servicePorts(i.Ports), Address: i.Address, Meta: i.Meta,
			EnableTagOverride: i.EnableTagOverride, TaggedAddresses: taggedAddresses(i.TaggedAddresses),
		}
		if i.Weights != (registry.Weights{}) {
			s.Weights = &api.AgentWeights{Passing: i.Weights.Passing, Warning: i.Weights.Warning}
		}
		for k := range own {
			s.Checks = append(s.Checks, agentCheck(&own[k]))
		}
		options := api.ServiceRegisterOpts{ReplaceExistingChecks: reg.ReplaceChecks, Token: tokenOf(ctx)}
		if err := agent.ServiceRegisterOpts(s, options.WithContext(ctx)); err != nil {
			return err
		}
	}
	for k := range others {
		c := &others[k]
		if id, ok := strings.CutPrefix(c.ID, registry.ServiceMaintenancePrefix); ok {
			if err := agent.EnableServiceMaintenanceOpts(id, cmp.Or(c.Notes, c.Output), r.asReader(ctx)); err != nil {
				return err
			}
			continue
		}
		if c.ID == registry.NodeMaintenance {
			return errNodeMaintenance
		}
		check := &api.AgentCheckRegistration{ID: c.ID, Name: cmp.Or(c.Name, c.ID), ServiceID: c.InstanceID, AgentServiceCheck: *agentCheck(c)}
		check.Notes, check.AgentServiceCheck.Notes = check.AgentServiceCheck.Notes, ""
		if err := agent.CheckRegisterOpts(check, r.asReader(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// agentCheck writes a check as the agent takes it. A DNS probe, which it does
// not have, is a heartbeat for it that rollcall gives.
func agentCheck(c *registry.Check) *api.AgentServiceCheck {
	d := c.Definition
	out := &api.AgentServiceCheck{
		CheckID: c.ID, Name: c.Name, Notes: c.Notes, Status: c.Status.String(),
		HTTP: d.HTTP, Method: d.Method, Header: d.Header, Body: d.Body, TCP: d.TCP, UDP: d.UDP,
		GRPC: d.GRPC, GRPCUseTLS: d.GRPCUseTLS, TLSServerName: d.TLSServerName, TLSSkipVerify: d.TLSSkipVerify,
		TTL: duration(d.TTL), Interval: duration(d.Interval), Timeout: duration(d.Timeout),
		SuccessBeforePassing: d.SuccessBeforePassing, FailuresBeforeWarning: d.FailuresBeforeWarning,
		FailuresBeforeCritical:         d.FailuresBeforeCritical,
		DeregisterCriticalServiceAfter: duration(d.DeregisterCriticalServiceAfter),
	}
	if d.Kind() == "dns" {
		out.Notes = formatProbe(d)
		out.TTL, out.Interval, out.Timeout = duration(3*d.Interval+cmp.Or(d.Timeout, d.Interval)), "", ""
	}
	return out
}

func duration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func taggedAddresses(in map[string]registry.TaggedAddress) map[string]api.ServiceAddress {
	out := make(map[string]api.ServiceAddress, len(in))
	for tag, a := range in {
		out[tag] = api.ServiceAddress{Address: a.Address, Port: a.Port}
	}
	return out
}

func (r *Registry) registerInCatalog(ctx context.Context, reg *registry.Registration) error {
	n := reg.Node
	out := &api.CatalogRegistration{
		Node: n.Name, ID: n.ID, Address: n.Address, TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta, Datacenter: r.config.Datacenter,
	}
	if n.Address == "" {
		known := r.View().Node(n.Name)
		if known == nil {
			return &registry.Error{Code: registry.Invalid, Field: "Address", Message: fmt.Sprintf("Address of the new node %q is missing", n.Name)}
		}
		out.Node, out.ID, out.Address, out.SkipNodeUpdate = known.Name, known.ID, known.Address, true
	}
	if i := reg.Instance; i != nil {
		weights := i.Weights
		if weights == (registry.Weights{}) {
			weights = registry.Weights{Passing: 1, Warning: 1}
		}
		out.Service = &api.AgentService{
			ID: i.ID, Service: i.Service, Tags: i.Tags, Meta: i.Meta, Port: i.Port, Ports: servicePorts(i.Ports), Address: i.Address,
			TaggedAddresses: taggedAddresses(i.TaggedAddresses), EnableTagOverride: i.EnableTagOverride,
			Weights: api.AgentWeights{Passing: weights.Passing, Warning: weights.Warning},
		}
	}
	own, others := ownChecks(reg)
	for k := range own {
		own[k].InstanceID, own[k].Service = reg.Instance.ID, reg.Instance.Service
	}
	for _, c := range append(own, others...) {
		status := c.Status
		if before := r.View().Check(out.Node, c.ID); status == 0 && before != nil {
			status = before.Status
		}
		out.Checks = append(out.Checks, catalogCheck(out.Node, &c, cmp.Or(status, registry.Critical), c.Output))
	}
	if _, err := r.client.Catalog().Register(out, r.asWriter(ctx)); err != nil {
		return err
	}
	if reg.Instance == nil || !reg.ReplaceChecks {
		return nil
	}
	before := r.View().Instance(out.Node, reg.Instance.ID)
	if before == nil {
		return nil
	}
	for _, c := range before.Checks {
		if slices.ContainsFunc(own, func(o registry.Check) bool { return o.ID == c.ID }) {
			continue
		}
		d := &api.CatalogDeregistration{Node: out.Node, CheckID: c.ID, Datacenter: r.config.Datacenter}
		if _, err := r.client.Catalog().Deregister(d, r.asWriter(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func catalogCheck(node string, c *registry.Check, status registry.Status, output string) *api.HealthCheck {
	d := c.Definition
	return &api.HealthCheck{
		Node: node, CheckID: c.ID, Name: cmp.Or(c.Name, c.ID), Notes: c.Notes, Status: status.String(), Output: output,
		ServiceID: c.InstanceID, ServiceName: c.Service, Type: cmp.Or(c.Type, d.Kind()),
		Definition: api.HealthCheckDefinition{
			HTTP: d.HTTP, Method: d.Method, Header: d.Header, Body: d.Body, TCP: d.TCP, UDP: d.UDP,
			GRPC: d.GRPC, GRPCUseTLS: d.GRPCUseTLS, TLSServerName: d.TLSServerName, TLSSkipVerify: d.TLSSkipVerify,
			IntervalDuration: d.Interval, TimeoutDuration: d.Timeout,
			DeregisterCriticalServiceAfterDuration: d.DeregisterCriticalServiceAfter,
		},
	}
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

// serviceOf returns the service that a check alone is registered for, in lower
// case; empty for a node's.
func (r *Registry) serviceOf(node string, c *registry.Check) string {
	id := c.InstanceID
	if maintained, ok := strings.CutPrefix(c.ID, registry.ServiceMaintenancePrefix); ok {
		id = maintained
	}
	if i := r.View().Instance(node, id); i != nil {
		return lower(i.Service)
	}
	return lower(c.Service)
}

// shows tells whether a View shows what was registered.
func shows(v *registry.View, node string, reg *registry.Registration) bool {
	if i := reg.Instance; i != nil {
		now := v.Instance(node, i.ID)
		if now == nil || now.Service != i.Service || now.Port != i.Port || now.Address != i.Address || !maps.Equal(now.Meta, i.Meta) {
			return false
		}
		if !i.EnableTagOverride && !slices.Equal(now.Tags, i.Tags) {
			return false
		}
		if i.Weights != (registry.Weights{}) && now.Weights != i.Weights {
			return false
		}
	} else if v.Node(node) == nil {
		return false
	}
	own, others := ownChecks(reg)
	for _, c := range append(own, others...) {
		if c.ID != "" && v.Check(node, c.ID) == nil {
			return false
		}
	}
	return true
}

// awaitShown brings the View up to date until it shows a write: by asking for
// the service, and for the three wide questions where that is not enough.
func (r *Registry) awaitShown(ctx context.Context, key string, wide bool, shown func(*registry.View) bool) {
	ctx, cancel := context.WithTimeout(ctx, shownWithin)
	defer cancel()
	for pause := 2 * time.Millisecond; !shown(r.View()); pause = min(2*pause, 100*time.Millisecond) {
		if key != "" {
			r.freshen(ctx, key)
		}
		if wide && !shown(r.View()) {
			exchange(ctx, r, question{path: allServices, consistent: true}, &r.services, r.applyServices)
			exchange(ctx, r, question{path: allNodes, consistent: true}, &r.nodes, r.applyNodes)
			if key == "" {
				exchange(ctx, r, question{path: allChecks, consistent: true}, &r.checks, r.applyChecks)
			}
		}
		if shown(r.View()) {
			return
		}
		if sleep(ctx, pause) != nil {
			r.log.Warn("Consul has accepted a write that its catalog does not show yet", "service", key)
			return
		}
	}
}

// freshen asks the leader for a service now.
func (r *Registry) freshen(ctx context.Context, key string) error {
	r.mu.Lock()
	t := (*r.tracked.Load())[key]
	if t == nil {
		t = r.track(map[string]string{key: key + "\x00"})[0]
	}
	r.mu.Unlock()
	_, _, err := exchange(ctx, r, question{path: servicePath(t.name), consistent: true}, &t.floor,
		func(entries *list[entry], a answer) (bool, error) { return r.applyEntries(t, entries, a) })
	if err != nil {
		return refused("asking Consul for a service", err)
	}
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

func servicePorts(ours []registry.Port) (theirs api.ServicePorts) {
	for _, p := range ours {
		theirs = append(theirs, api.ServicePort(p))
	}
	return theirs
}
