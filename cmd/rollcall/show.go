package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rollcall-dns/rollcall/registry/admin"
)

func showCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show what a running rollcall goes by, and where each setting is from",
		ArgsUsage: "config",
		Description: "These are the settings in force, which check-config --print need not know: a reload may have failed,\n" +
			"or have left some of them for the next start. What became of the last one is said on standard error.",
		Flags: withAPI(withOutput()...),
		Action: func(ctx *cli.Context) error {
			args, err := arguments(ctx, "config")
			if err != nil {
				return err
			}
			if args[0] != "config" {
				return usageError(ctx, "%q is nothing to show, but config is", args[0])
			}
			c, err := newClient(ctx)
			if err != nil {
				return err
			}
			var found admin.Configuration
			if err := c.get(ctx.Context, "/v1/config", nil, &found); err != nil {
				return err
			}
			if last := found.LastReload; last != nil && !forPrograms(ctx) {
				fmt.Fprintln(ctx.App.ErrWriter, "rollcall:", oneLine(sayReload(last)))
			}
			return output(ctx, found, func(t *table) {
				t.heading("SETTING", "VALUE", "SOURCE")
				for _, s := range found.Settings {
					value := "-"
					if s.Value != nil {
						value = flow(s.Value)
					}
					t.row(s.Name, value, s.Source)
				}
			})
		},
	}
}

// sayReload says in a sentence what became of a reload.
func sayReload(last *admin.LastReload) string {
	at := last.At.Format(time.RFC3339)
	switch {
	case !last.OK:
		return "the configuration stays as it was since a reload failed at " + at + ": " + last.Error
	case len(last.Waiting) > 0:
		return "reloaded at " + at + "; " + strings.Join(last.Waiting, ", ") + " will be in force after a restart"
	}
	return "reloaded at " + at
}
