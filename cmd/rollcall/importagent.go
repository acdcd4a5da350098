package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// A Consul agent deletes from the catalog what is on its own node and was not
// registered with itself. That is therefore registered with the agent, which then
// runs its checks; and what is on the node of another agent cannot be registered
// here. Rollcall takes everything in one way.

// target is where an import goes.
type target struct {
	client *client
	node   string          // the node of the agent that is asked, in lower case; empty: that is no Consul
	agents map[string]bool // the nodes that have an agent, in lower case
	nodes  map[string]bool // all nodes, in lower case
}

// findTarget asks who answers. A refusal must not pass for no Consul: what is on
// the agent's node would be lost a little later.
func findTarget(ctx context.Context, c *client) (*target, error) {
	t := &target{client: c, agents: make(map[string]bool), nodes: make(map[string]bool)}
	var self struct {
		Config      struct{ NodeName string }
		DebugConfig struct{ DNSDomain string }
	}
	if err := c.get(ctx, "/v1/agent/self", nil, &self); err != nil {
		return nil, fmt.Errorf("asking which node is the agent's own: %w", err)
	}
	var nodes []entryNode
	if err := c.get(ctx, "/v1/catalog/nodes", nil, &nodes); err != nil {
		return nil, err
	}
	for _, n := range nodes {
		t.nodes[strings.ToLower(n.Node)] = true
	}
	if self.DebugConfig.DNSDomain == "" {
		return t, nil
	}
	t.node = strings.ToLower(self.Config.NodeName)
	var alive []check
	if err := c.get(ctx, "/v1/health/state/any", url.Values{"filter": {"CheckID == " + agentAlive}}, &alive); err != nil {
		return nil, err
	}
	for _, c := range alive {
		t.agents[strings.ToLower(c.Node)] = true
	}
	return t, nil
}

// judge returns every mistake in the lines that only the target shows.
func (t *target) judge(name string, lines []*numbered) error {
	var mistakes []mistake
	for _, line := range lines {
		if err := t.judgeLine(line); err != nil {
			mistakes = append(mistakes, mistake{line.number, err})
		}
	}
	return joined(name, nothingImported(mistakes), mistakes)
}

func (t *target) judgeLine(line *numbered) error {
	node := strings.ToLower(line.node.Name)
	switch {
	case t.node != "" && node == t.node:
		_, _, err := agentRegistration(line)
		return err
	case t.agents[node] && (line.instance != nil || len(line.checks) > 0):
		return fmt.Errorf("the node %q has a Consul agent of its own, which would remove this: import it there, or elsewhere with --rename-node", line.node.Name)
	case line.node.Address == "" && !t.nodes[node]:
		return fmt.Errorf("the new node %q has no Address", line.node.Name)
	case line.node.Address == "" && t.node != "" && !line.keepNode:
		return fmt.Errorf("the node %q has no Address, which Consul does without only with SkipNodeUpdate", line.node.Name)
	}
	return nil
}

// register registers a line in the catalog, or with the Consul agent on its own
// node. A node alone that has an agent is registered by that.
func (t *target) register(ctx context.Context, line *numbered) error {
	node := strings.ToLower(line.node.Name)
	switch {
	case t.node != "" && node == t.node:
		return t.registerAtAgent(ctx, line)
	case t.agents[node]:
		return nil
	}
	body := line.body
	if t.node != "" {
		var err error
		if body, err = withoutEnds(body); err != nil {
			return err
		}
	}
	_, err := t.client.put(ctx, "/v1/catalog/register", nil, body)
	return err
}

// withoutEnds returns a line whose maintenances last until somebody ends them: Consul's
// do, and it takes no field that it does not know.
func withoutEnds(body map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	var checks []map[string]json.RawMessage
	if len(body["Checks"]) == 0 {
		return body, nil
	}
	if err := json.Unmarshal(body["Checks"], &checks); err != nil {
		return nil, err
	}
	for _, c := range checks {
		delete(c, "Until")
	}
	text, err := json.Marshal(checks)
	body = maps.Clone(body)
	body["Checks"] = text
	return body, err
}

// forever is the TTL of a check that nothing says how to run: it keeps the status
// that it was exported with.
const forever = "87600h"

// agentService is an instance as an agent takes it.
type agentService struct {
	ID, Name, Address string
	Port              int
	Ports             []registry.Port `json:",omitempty"`
	Tags              []string
	Meta              map[string]string
	TaggedAddresses   map[string]registry.TaggedAddress
	Weights           *registry.Weights `json:",omitempty"`
	EnableTagOverride bool
	Checks            []*agentCheck
}

// agentCheck is a check as an agent takes it.
type agentCheck struct {
	CheckID, Name, Notes, Status                                        string
	HTTP, Method, Body, TCP, UDP, GRPC, TLSServerName                   string              `json:",omitempty"`
	Header                                                              map[string][]string `json:",omitempty"`
	TLSSkipVerify, GRPCUseTLS, DisableRedirects                         bool                `json:",omitempty"`
	TTL, Interval, Timeout, DeregisterCriticalServiceAfter              string              `json:",omitempty"`
	SuccessBeforePassing, FailuresBeforeWarning, FailuresBeforeCritical int                 `json:",omitempty"`
}

// agentRegistration returns what a line is for the agent of its node: an instance
// with its checks, or nil, and the checks of the node.
func agentRegistration(line *numbered) (service *agentService, ofNode []*agentCheck, err error) {
	if i := line.instance; i != nil {
		service = &agentService{
			ID: i.ID, Name: i.Service, Address: i.Address, Port: i.Port, Ports: i.Ports, Tags: i.Tags, Meta: i.Meta,
			TaggedAddresses: i.TaggedAddresses, EnableTagOverride: i.EnableTagOverride,
		}
		if i.Weights != (registry.Weights{}) {
			service.Weights = &i.Weights
		}
	}
	for _, c := range line.checks {
		if strings.HasPrefix(c.ID, registry.ServiceMaintenancePrefix) {
			continue
		}
		check, err := newAgentCheck(&c)
		switch {
		case err != nil:
			return nil, nil, err
		case c.InstanceID != "":
			service.Checks = append(service.Checks, check)
		default:
			ofNode = append(ofNode, check)
		}
	}
	return service, ofNode, nil
}

func newAgentCheck(c *registry.Check) (*agentCheck, error) {
	d := c.Definition
	check := &agentCheck{
		CheckID: c.ID, Name: cmp.Or(c.Name, c.ID), Notes: c.Notes, Status: cmp.Or(c.Status, registry.Critical).String(),
		HTTP: d.HTTP, Method: d.Method, Body: d.Body, TCP: d.TCP, UDP: d.UDP, GRPC: d.GRPC, TLSServerName: d.TLSServerName, Header: d.Header,
		TLSSkipVerify: d.TLSSkipVerify, GRPCUseTLS: d.GRPCUseTLS, DisableRedirects: d.DisableRedirects,
		TTL: durationText(d.TTL), Interval: durationText(d.Interval), Timeout: durationText(d.Timeout),
		DeregisterCriticalServiceAfter: durationText(d.DeregisterCriticalServiceAfter),
		SuccessBeforePassing:           d.SuccessBeforePassing, FailuresBeforeWarning: d.FailuresBeforeWarning, FailuresBeforeCritical: d.FailuresBeforeCritical,
	}
	switch d.Kind() {
	case "dns":
		return nil, fmt.Errorf("the check %q asks DNS, which Consul cannot: import it through a rollcall in front of Consul", c.ID)
	case "":
		check.TTL, check.Interval, check.Timeout = forever, "", ""
	}
	return check, nil
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// registerAtAgent registers a line with the agent of its node.
func (t *target) registerAtAgent(ctx context.Context, line *numbered) error {
	service, ofNode, err := agentRegistration(line)
	if err != nil {
		return err
	}
	if service != nil {
		if _, err := t.client.put(ctx, "/v1/agent/service/register", url.Values{"replace-existing-checks": {"true"}}, service); err != nil {
			return err
		}
	}
	for _, check := range ofNode {
		if _, err := t.client.put(ctx, "/v1/agent/check/register", nil, check); err != nil {
			return err
		}
	}
	for _, c := range line.checks {
		if id, ok := strings.CutPrefix(c.ID, registry.ServiceMaintenancePrefix); ok {
			if _, err := t.client.put(ctx, "/v1/agent/service/maintenance/"+url.PathEscape(id), url.Values{"enable": {"true"}, "reason": {c.Reason()}}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
