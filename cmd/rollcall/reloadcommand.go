package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "have a running rollcall read its configuration anew",
		Description: "As SIGHUP does, and tells what came of it: where the configuration is wrong, all stays as it was,\n" +
			"and the exit code is 1. What is said on standard error will be in force after a restart.",
		Flags: withAPI(),
		Action: func(ctx *cli.Context) error {
			if _, err := arguments(ctx); err != nil {
				return err
			}
			c, err := newClient(ctx)
			if err != nil {
				return err
			}
			notices, err := c.put(ctx.Context, "/v1/agent/reload", nil, nil)
			for _, notice := range notices {
				fmt.Fprintln(ctx.App.ErrWriter, "rollcall:", notice)
			}
			return err
		},
	}
}
