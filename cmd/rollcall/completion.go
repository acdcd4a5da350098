package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// The shells' part of completion hands the words of the command line to the
// hidden command complete, which prints what the last of them may become. What
// it does not know is left to the shell, which knows of files.
var completionScripts = map[string]string{
	"bash": `# rollcall completion bash > /etc/bash_completion.d/rollcall
_rollcall() {
	local IFS=$'\n'
	COMPREPLY=($(rollcall complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
	[[ ${#COMPREPLY[@]} -gt 0 ]] || compopt -o default
}
complete -F _rollcall rollcall
`,
	"zsh": `#compdef rollcall
# rollcall completion zsh > "${fpath[1]}/_rollcall"
_rollcall() {
	local -a candidates
	candidates=("${(@f)$(rollcall complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ -n ${candidates[1]} ]]; then
		compadd -a candidates
	else
		_files
	fi
}
compdef _rollcall rollcall
`,
	"fish": `# rollcall completion fish > ~/.config/fish/completions/rollcall.fish
function __rollcall_complete
	set -l words (commandline -opc) (commandline -ct)
	rollcall complete -- $words[2..] 2>/dev/null
end
complete -c rollcall -a '(__rollcall_complete)'
`,
}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print what makes a shell complete commands, flags and the names of services",
		ArgsUsage: "bash|zsh|fish",
		Action: func(ctx *cli.Context) error {
			args, err := arguments(ctx, "SHELL")
			if err != nil {
				return err
			}
			script, ok := completionScripts[args[0]]
			if !ok {
				return usageError(ctx, "%q is none of bash, zsh and fish", args[0])
			}
			_, err = fmt.Fprint(ctx.App.Writer, script)
			return err
		},
	}
}

func completeCommand() *cli.Command {
	return &cli.Command{
		Name:   "complete",
		Hidden: true,
		Flags:  withAPI(),
		Action: func(ctx *cli.Context) error {
			for _, candidate := range candidates(ctx, ctx.Args().Slice()) {
				fmt.Fprintln(ctx.App.Writer, candidate)
			}
			return nil
		},
	}
}

// candidates returns what the last word of a command line may become, the words
// before it being what they are.
func candidates(ctx *cli.Context, words []string) (matching []string) {
	if len(words) == 0 {
		return nil
	}
	before, last := words[:len(words)-1], words[len(words)-1]
	for _, candidate := range possible(ctx, before, last) {
		if strings.HasPrefix(candidate, last) {
			matching = append(matching, candidate)
		}
	}
	slices.Sort(matching)
	return matching
}

// possible returns all that may follow words.
func possible(ctx *cli.Context, before []string, last string) (all []string) {
	if len(before) == 0 {
		for _, c := range ctx.App.VisibleCommands() {
			all = append(all, c.Name)
		}
		return all
	}
	command := ctx.App.Command(before[0])
	switch flag := before[len(before)-1]; {
	case command == nil:
		return nil
	case strings.HasPrefix(flag, "-") && wantsValue(command, flag):
		return map[string][]string{"output": formats, "registry": {"embedded", "consul"},
			"log-level": {"debug", "info", "warn", "error"}, "log-format": {"auto", "text", "json"}}[strings.TrimLeft(flag, "-")]
	case strings.HasPrefix(last, "-"):
		for _, f := range command.VisibleFlags() {
			all = append(all, "--"+f.Names()[0])
		}
		return all
	}
	return possibleArguments(ctx, command)
}

// possibleArguments returns what a command takes as an argument; the flags before
// it do not matter.
func possibleArguments(ctx *cli.Context, command *cli.Command) []string {
	switch command.Name {
	case "completion":
		return []string{"bash", "zsh", "fish"}
	case "show":
		return []string{"config"}
	case "instances", "watch", "maintenance":
		return registered(ctx, "/v1/catalog/services")
	case "deregister":
		return registered(ctx, "/v1/agent/services")
	}
	return nil
}

// registered asks the running rollcall, which has little time to answer: somebody
// has pressed a key.
func registered(ctx *cli.Context, path string) (names []string) {
	c, err := newClient(ctx)
	if err != nil {
		return nil
	}
	c.timeout = time.Second
	var found map[string]any
	if c.get(ctx.Context, path, url.Values{}, &found) != nil {
		return nil
	}
	for name := range found {
		names = append(names, name)
	}
	return names
}
