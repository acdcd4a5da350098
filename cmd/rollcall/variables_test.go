package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestEveryFlagHasItsVariable by the rule that README.md tells, and those that were
// there before it under their names, too.
func TestEveryFlagHasItsVariable(t *testing.T) {
	clients := flagNames(withAPI(withOutput()...), "")
	serves := flagNames(serveFlags(), "")
	all := make(map[string][]string) // by command and flag
	for _, command := range newApp().Commands {
		for _, f := range command.Flags {
			name := f.Names()[0]
			want := "ROLLCALL_" + command.Name + "_" + name
			if slices.Contains(clients, name) || slices.Contains(serves, name) && (command.Name == "serve" || command.Name == "check-config") {
				want = "ROLLCALL_" + name
			}
			want = strings.ToUpper(strings.ReplaceAll(want, "-", "_"))
			variables := f.(cli.DocGenerationFlag).GetEnvVars()
			if len(variables) == 0 || variables[0] != want {
				t.Errorf("%s --%s is %v in the environment, not %s", command.Name, name, variables, want)
			}
			all[command.Name+" "+name] = variables
		}
	}
	for flag, earlier := range map[string]string{
		"query server": "ROLLCALL_SERVER", "query explain": "ROLLCALL_EXPLAIN",
		"import dry-run": "ROLLCALL_DRY_RUN", "import rename-node": "ROLLCALL_RENAME_NODE",
	} {
		if !slices.Contains(all[flag], earlier) {
			t.Errorf("%s is no longer %s in the environment, but %v", flag, earlier, all[flag])
		}
	}
}
