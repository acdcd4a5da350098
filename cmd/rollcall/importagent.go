package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

// A Consul agent deletes from the catalog what is on its own node and was not
// registered with itself. That is therefore registered with the agent, which then
// runs its checks.

// forever is the TTL of a check that nothing says how to run: it keeps the status
// that it was exported with.
const forever = "87600h"

// consulNode returns the name of the node whose agent is asked, or nothing where
// that is no Consul: rollcall takes everything in one way.
func consulNode(ctx context.Context, c *client) (string, error) {
	var self struct {
		Config      struct{ NodeName string }
		DebugConfig struct{ DNSDomain string }
	}
	err := c.get(ctx, "/v1/agent/self", nil, &self)
	var refused *statusError
	if errors.As(err, &refused) || self.DebugConfig.DNSDomain == "" {
		return "", nil
	}
	return self.Config.NodeName, err
}

// registerAtAgent registers a line with the agent of its node.
func registerAtAgent(ctx context.Context, c *client, line numbered) error {
	var r struct {
		Service map[string]any
		Checks  []map[string]any
	}
	text, err := json.Marshal(line.record)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	service := r.Service
	service["Name"] = service["Service"]
	for _, field := range []string{"Service", "CreateIndex", "ModifyIndex"} {
		delete(service, field)
	}
	var own, ofNode []map[string]any
	maintenance := ""
	for _, c := range r.Checks {
		check, err := agentCheck(c)
		id, _ := check["CheckID"].(string)
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(id, registry.ServiceMaintenancePrefix):
			maintenance = fmt.Sprint(check["Notes"])
		case id == "serfHealth": // the agent's own
		case c["ServiceID"] == "" || c["ServiceID"] == nil:
			ofNode = append(ofNode, check)
		default:
			own = append(own, check)
		}
	}
	service["Checks"] = own
	if _, err := c.put(ctx, "/v1/agent/service/register", url.Values{"replace-existing-checks": {"true"}}, service); err != nil {
		return err
	}
	for _, check := range ofNode {
		if _, err := c.put(ctx, "/v1/agent/check/register", nil, check); err != nil {
			return err
		}
	}
	if maintenance == "" {
		return nil
	}
	id, _ := service["ID"].(string)
	_, err = c.put(ctx, "/v1/agent/service/maintenance/"+url.PathEscape(id), url.Values{"enable": {"true"}, "reason": {maintenance}}, nil)
	return err
}

// agentCheck turns a check of the catalog into one that an agent takes.
func agentCheck(c map[string]any) (map[string]any, error) {
	check := map[string]any{"CheckID": c["CheckID"], "Name": c["Name"], "Notes": c["Notes"], "Status": c["Status"]}
	definition, _ := c["Definition"].(map[string]any)
	runs := false
	for field, value := range definition {
		switch field {
		case "DNS":
			return check, fmt.Errorf("check %v asks DNS, which Consul cannot: import it through a rollcall in front of Consul", c["CheckID"])
		case "HTTP", "TCP", "UDP", "GRPC", "TTL":
			runs = runs || value != ""
		}
		check[field] = value
	}
	if !runs {
		check["TTL"] = forever
	}
	return check, nil
}
