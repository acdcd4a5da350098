package consul

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/registry"
)

// A registration goes to the agent or to the catalog, each in the words that it takes.

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

func servicePorts(ours []registry.Port) (theirs api.ServicePorts) {
	for _, p := range ours {
		theirs = append(theirs, api.ServicePort(p))
	}
	return theirs
}
