package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// nameVariables gives each flag its environment variable. Those of serve, and those that
// all clients have, are ROLLCALL_FLAG; one that a single command has, and which is about
// a single call, is ROLLCALL_COMMAND_FLAG. Names that a flag has beside that count, too.
//
// Kubernetes gives its pods a ROLLCALL_PORT of its own where a Service is called rollcall,
// which register --port may not take for its own.
func nameVariables(commands []*cli.Command) {
	common := slices.Concat(flagNames(serveFlags(), "serve "), flagNames(serveFlags(), "check-config "))
	for _, command := range commands {
		common = append(common, flagNames(withAPI(withOutput()...), command.Name+" ")...)
		for _, f := range command.Flags {
			name := f.Names()[0]
			variable := name
			if !slices.Contains(common, command.Name+" "+name) {
				variable = command.Name + "_" + name
			}
			variable = "ROLLCALL_" + strings.ToUpper(strings.ReplaceAll(variable, "-", "_"))
			if names := variablesOf(f); names != nil {
				others := slices.DeleteFunc(slices.Clone(*names), func(other string) bool { return other == variable })
				*names = append([]string{variable}, others...)
			}
		}
	}
}

// variablesOf returns where a flag keeps the names of its variables; nil: nowhere.
func variablesOf(f cli.Flag) *[]string {
	switch f := f.(type) {
	case *cli.StringFlag:
		return &f.EnvVars
	case *cli.StringSliceFlag:
		return &f.EnvVars
	case *cli.BoolFlag:
		return &f.EnvVars
	case *cli.IntFlag:
		return &f.EnvVars
	case *cli.DurationFlag:
		return &f.EnvVars
	}
	return nil
}
