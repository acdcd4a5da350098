package main

import (
	"fmt"
	"maps"
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
	follow(ctx, before)
	for _, candidate := range possible(ctx, before, last) {
		if strings.HasPrefix(candidate, last) {
			matching = append(matching, candidate)
		}
	}
	slices.Sort(matching)
	return slices.Compact(matching)
}

// follow has the flags that words set hold for who is asked.
func follow(ctx *cli.Context, words []string) {
	for n, word := range words {
		name, value, given := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case !isCommon(word):
			continue
		case !given && n+1 < len(words):
			value = words[n+1]
		}
		_ = ctx.Set(name, value) // what it cannot be set to is said when the command runs
	}
}

// possible returns all that may follow words.
func possible(ctx *cli.Context, before []string, last string) (all []string) {
	command, of := common, before[:0]
	if at := leading(before); at < len(before) {
		command, of = ctx.App.Command(before[at]), before[at+1:]
	}
	switch {
	case command == nil:
		return nil
	case len(before) > 0 && strings.HasPrefix(before[len(before)-1], "-") && wantsValue(command, before[len(before)-1]):
		return map[string][]string{"output": formats, "o": formats, "registry": {"embedded", "consul"},
			"log-level": {"debug", "info", "warn", "error"}, "log-format": {"auto", "text", "json"}}[strings.TrimLeft(before[len(before)-1], "-")]
	case strings.HasPrefix(last, "-"):
		for _, f := range command.VisibleFlags() {
			all = append(all, "--"+f.Names()[0])
		}
		return all
	case command == common:
		return commandNames(ctx.App.Commands)
	}
	return possibleArguments(ctx, command, argumentsIn(command, of))
}

// argumentsIn counts the arguments among a command's words.
func argumentsIn(command *cli.Command, words []string) (arguments int) {
	for n := 0; n < len(words); n++ {
		switch {
		case !strings.HasPrefix(words[n], "-"):
			arguments++
		case wantsValue(command, words[n]):
			n++
		}
	}
	return arguments
}

// queryTypes are the types that rollcall has records of.
var queryTypes = []string{"A", "AAAA", "ANY", "CDNSKEY", "CDS", "CNAME", "DNSKEY", "HTTPS", "NS", "PTR", "SOA", "SRV", "SVCB", "TXT"}

// possibleArguments returns what a command takes as an argument after so many others.
func possibleArguments(ctx *cli.Context, command *cli.Command, after int) []string {
	switch {
	case command.Name == "query" && after == 1:
		return queryTypes
	case after > 0:
		return nil
	}
	switch command.Name {
	case "completion":
		return []string{"bash", "zsh", "fish"}
	case "show":
		return []string{"config"}
	case "instances", "watch", "query":
		services, _ := registered[any](ctx, "/v1/catalog/services")
		return services
	case "deregister":
		ids, _ := registered[any](ctx, "/v1/agent/services")
		return ids
	case "maintenance":
		names, services := registered[struct{ Service string }](ctx, "/v1/agent/services")
		for _, s := range services {
			names = append(names, s.Service)
		}
		return names
	}
	return nil
}

// registered asks the running rollcall, which has little time to answer: somebody
// has pressed a key.
func registered[T any](ctx *cli.Context, path string) (names []string, found map[string]T) {
	c, err := newClient(ctx)
	if err != nil {
		return nil, nil
	}
	c.timeout = time.Second
	if c.get(ctx.Context, path, nil, &found) != nil {
		return nil, nil
	}
	return slices.Collect(maps.Keys(found)), found
}
