package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// reorder moves a command's flags before its arguments, because the parser
// stops at the first argument and would drop the flags that follow it. What
// follows "--" is left alone. It also turns `help X` into `X --help`.
func reorder(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	if args[1] == "help" {
		args = slices.Concat(args[:1], args[2:], []string{"--help"})
	}
	command := app.Command(args[1])
	if command == nil {
		return args, nil
	}
	var flags, rest []string
	for i := 2; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			rest = append(rest, arg)
		case !wantsValue(command, arg):
			flags = append(flags, arg)
		case i+1 == len(args):
			return nil, fail(exitUsage, "flag %s needs a value; see rollcall %s --help", arg, command.Name)
		default:
			flags = append(flags, arg, args[i+1])
			i++
		}
	}
	return slices.Concat(args[:2], flags, []string{"--"}, rest), nil
}

// wantsValue tells whether the argument after this flag is the flag's value. A
// flag that is not known does not matter: the parser refuses it.
func wantsValue(command *cli.Command, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	for _, f := range command.Flags {
		if slices.Contains(f.Names(), name) {
			_, isSwitch := f.(*cli.BoolFlag)
			return !isSwitch
		}
	}
	return false
}
