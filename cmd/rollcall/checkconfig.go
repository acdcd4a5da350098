package main

import (
	"io"

	"github.com/urfave/cli/v2"
)

func checkConfigCommand() *cli.Command {
	return &cli.Command{
		Name:      "check-config",
		Usage:     "tell whether serve would accept its configuration",
		ArgsUsage: "[FILE]",
		Description: "Takes the flags of serve, so that its whole command line can be checked. The exit code is\n" +
			"78 when the file is wrong and 2 when a flag or the environment is.",
		Flags: append(serveFlags(),
			&cli.BoolFlag{Name: "print", EnvVars: []string{"ROLLCALL_CHECK_CONFIG_PRINT"}, Usage: "print all settings, and where each is from"},
		),
		Action: func(ctx *cli.Context) error {
			args, err := arguments(ctx, "[FILE]")
			if err != nil {
				return err
			}
			if args[0] != "" && ctx.IsSet("config") && ctx.String("config") != args[0] {
				return usageError(ctx, "there are two files, %q and --config %q", args[0], ctx.String("config"))
			}
			if args[0] != "" {
				if err := ctx.Set("config", args[0]); err != nil {
					return err
				}
			}
			settings, err := configure(ctx, process{})
			if err != nil || !ctx.Bool("print") {
				return err
			}
			return printSettings(ctx.App.Writer, settings)
		},
	}
}

// printSettings prints the settings as a configuration file that says the same, with a
// comment on each that tells where it is from. What has no value, is
// secret, or means nothing without another is a comment altogether.
func printSettings(w io.Writer, settings *settings) error {
	t := &table{w: w}
	for _, each := range settings.show(nil) {
		switch {
		case each.Value == nil:
			t.row("# "+each.Name+":", "# "+each.Source)
		case each.Value == hidden, each.Name == "forward-for" && len(settings.forward.routes) == 0:
			t.row("# "+each.Name+": "+flow(each.Value), "# "+each.Source)
		default:
			t.row(each.Name+": "+flow(each.Value), "# "+each.Source)
		}
	}
	return t.print()
}
