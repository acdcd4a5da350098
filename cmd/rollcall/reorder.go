package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// reorder moves a command's flags before its arguments, because the parser
// stops at the first argument and would drop the flags that follow it. What
// follows "--" is left alone. It also turns `help X` into `X --help`, and moves
// the flags that many commands have behind the command.
func reorder(app *cli.App, args []string) ([]string, error) {
	args, err := afterCommand(args)
	if err != nil || len(args) < 2 {
		return args, err
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

// common are the flags that may stand before the command, too. The commands have
// them: one that has not refuses them.
var common = &cli.Command{Flags: withAPI(withOutput()...)}

// afterCommand moves the common flags that stand before the command behind it.
func afterCommand(args []string) ([]string, error) {
	at := 0
	if len(args) > 0 {
		at = 1 + leading(args[1:])
	}
	switch {
	case at <= 1:
		return args, nil
	case at > len(args):
		return nil, fail(exitUsage, "flag %s needs a value; see rollcall --help", args[len(args)-1])
	case at == len(args):
		return nil, fail(exitUsage, "COMMAND is missing; see rollcall --help")
	case args[at] == "help" || strings.HasPrefix(args[at], "-"): // as --version, which needs none of them
		return slices.Concat(args[:1], args[at:]), nil
	}
	return slices.Concat(args[:1], args[at:at+1], args[1:at], args[at+1:]), nil
}

// leading counts the words that are common flags and their values before anything
// else. A value that is missing counts, too.
func leading(words []string) (at int) {
	for at < len(words) && isCommon(words[at]) {
		if wantsValue(common, words[at]) {
			at++
		}
		at++
	}
	return at
}

// isCommon tells whether an argument is a common flag, with a value behind a = or not.
func isCommon(arg string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return strings.HasPrefix(arg, "-") && flagCalled(common.Flags, name) != nil
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
