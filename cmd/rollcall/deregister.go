package main

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/urfave/cli/v2"
)

func deregisterCommand() *cli.Command {
	return &cli.Command{
		Name:      "deregister",
		Usage:     "remove an instance and its checks",
		ArgsUsage: "ID",
		Flags: withAPI(
			&cli.StringFlag{Name: "node", EnvVars: []string{"ROLLCALL_DEREGISTER_NODE"}, Usage: "the instance runs on `NODE`, and not on rollcall's own"},
		),
		Action: func(ctx *cli.Context) error {
			args, err := arguments(ctx, "ID")
			if err != nil {
				return err
			}
			c, err := newClient(ctx)
			if err != nil {
				return err
			}
			if node := ctx.String("node"); node != "" {
				return c.deregisterOn(ctx.Context, node, args[0])
			}
			_, err = c.put(ctx.Context, "/v1/agent/service/deregister/"+url.PathEscape(args[0]), nil, nil)
			return err
		},
	}
}

// deregisterOn removes an instance from a node. Consul's API says nothing of an
// instance that is not there, so we look first.
func (c *client) deregisterOn(ctx context.Context, node, id string) error {
	var on struct{ Services map[string]json.RawMessage }
	if err := c.get(ctx, "/v1/catalog/node/"+url.PathEscape(node), nil, &on); err != nil {
		return err
	}
	if on.Services[id] == nil {
		return fail(exitNotFound, "no instance %q is registered on node %q", id, node)
	}
	_, err := c.put(ctx, "/v1/catalog/deregister", nil, map[string]string{"Node": node, "ServiceID": id})
	return err
}
