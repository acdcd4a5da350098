package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"
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
			if args[0] != "" {
				if err := ctx.Set("config", args[0]); err != nil {
					return err
				}
			}
			_, sources, err := configure(ctx)
			if err != nil || !ctx.Bool("print") {
				return err
			}
			return printSettings(ctx, sources)
		},
	}
}

// printSettings prints the settings as a configuration file, with a comment on
// each that tells where it is from.
func printSettings(ctx *cli.Context, sources map[string]source) error {
	t := newTable(ctx.App.Writer)
	for _, f := range serveFlags() {
		name := f.Names()[0]
		if name == "config" {
			continue
		}
		var value any = fmt.Sprint(ctx.Value(name))
		switch v := ctx.Value(name).(type) {
		case cli.StringSlice:
			value = separate(v.Value())
		case bool, int:
			value = v
		}
		text, err := flow(value)
		if err != nil {
			return err
		}
		t.row(name+": "+text, "# "+sources[name].text)
	}
	return t.w.Flush()
}

// flow writes a value as YAML on one line.
func flow(value any) (string, error) {
	var node yaml.Node
	if err := node.Encode(value); err != nil {
		return "", err
	}
	node.Style |= yaml.FlowStyle
	text, err := yaml.Marshal(&node)
	return strings.TrimSpace(string(text)), err
}
