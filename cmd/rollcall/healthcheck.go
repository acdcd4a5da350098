package main

import (
	"github.com/urfave/cli/v2"
)

func healthcheckCommand() *cli.Command {
	return &cli.Command{
		Name:  "healthcheck",
		Usage: "tell whether a running rollcall is ready, for container health checks",
		Description: "Ends with exit code 0 when rollcall is ready to answer, and with 1 when it is not,\n" +
			"also when nothing answers at all.",
		Flags: withAPI(),
		Action: func(ctx *cli.Context) error {
			if _, err := arguments(ctx); err != nil {
				return err
			}
			c, err := newClient(ctx)
			if err != nil {
				return err
			}
			if err := c.get(ctx.Context, "/readyz", nil, nil); err != nil {
				return fail(exitFailure, "not ready: %v", err)
			}
			return nil
		},
	}
}
