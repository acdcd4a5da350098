package main

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

func maintenanceCommand() *cli.Command {
	return &cli.Command{
		Name:      "maintenance",
		Usage:     "take instances out of DNS, or with --off put them back",
		ArgsUsage: "ID|SERVICE, or --node",
		Description: "The name is the ID of an instance on rollcall's own node, or else that of a service, and\n" +
			"means all of its instances on that node. With --node it is the node itself, and all that is on it.",
		Flags: withAPI(
			&cli.BoolFlag{Name: "node", EnvVars: []string{"ROLLCALL_MAINTENANCE_NODE"}, Usage: "rollcall's own node, with all of its instances"},
			&cli.BoolFlag{Name: "off", EnvVars: []string{"ROLLCALL_MAINTENANCE_OFF"}, Usage: "end the maintenance"},
			&cli.StringFlag{Name: "reason", EnvVars: []string{"ROLLCALL_MAINTENANCE_REASON"}, Usage: "`TEXT` that is shown to whoever asks why"},
			&cli.DurationFlag{Name: "for", DefaultText: "until --off", EnvVars: []string{"ROLLCALL_MAINTENANCE_FOR"}, Usage: "how long it lasts, up to 720h, before it ends by itself; not in front of Consul"},
		),
		Action: func(ctx *cli.Context) error {
			names := []string{"ID|SERVICE"}
			if ctx.Bool("node") {
				names = nil
			}
			args, err := arguments(ctx, names...)
			if err != nil {
				return err
			}
			if ctx.Bool("off") && ctx.IsSet("for") {
				return usageError(ctx, "--for says how long it lasts, and --off ends it now")
			}
			if ctx.Bool("off") && ctx.IsSet("reason") {
				return usageError(ctx, "--reason says why there is maintenance, and --off ends it")
			}
			if lasts := ctx.Duration("for"); ctx.IsSet("for") && (lasts < shortest || lasts > longest) {
				return usageError(ctx, "--for %v is not from 1s to 720h", lasts)
			}
			c, err := newClient(ctx)
			if err != nil {
				return err
			}
			query := url.Values{"enable": {strconv.FormatBool(!ctx.Bool("off"))}}
			if reason := ctx.String("reason"); reason != "" {
				query.Set("reason", reason)
			}
			if ctx.IsSet("for") {
				query.Set("for", ctx.Duration("for").String())
			}
			if ctx.Bool("node") {
				_, err := c.put(ctx.Context, "/v1/agent/maintenance", query, nil)
				return err
			}
			ids, err := c.ownInstances(ctx.Context, args[0])
			if err != nil {
				return err
			}
			for _, id := range ids {
				if _, err := c.put(ctx.Context, "/v1/agent/service/maintenance/"+url.PathEscape(id), query, nil); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// A maintenance with an end lasts from and to these.
const shortest, longest = time.Second, 720 * time.Hour

// ownInstances returns the IDs that a name stands for on rollcall's own node.
func (c *client) ownInstances(ctx context.Context, name string) ([]string, error) {
	var services map[string]struct{ Service string }
	if err := c.get(ctx, "/v1/agent/services", nil, &services); err != nil {
		return nil, err
	}
	if _, ok := services[name]; ok {
		return []string{name}, nil
	}
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(services)) {
		if strings.EqualFold(services[id].Service, name) {
			ids = append(ids, id)
		}
	}
	if ids == nil {
		return nil, fail(exitNotFound, "no instance and no service %q is registered on rollcall's own node", name)
	}
	return ids, nil
}
