package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// These are set by the linker in `make build`: what Go itself notes of the commit is
// missing from a worktree, a container's build and where GOFLAGS has -buildvcs=false.
var version, revision, committed string

// build is what this binary was made of.
type build struct {
	Version   string
	Revision  string // the commit
	Committed string // when, by RFC 3339
	Go        string
	Platform  string
}

func (b build) String() string {
	known := slices.DeleteFunc([]string{b.Revision, b.Committed, b.Go, b.Platform}, func(s string) bool { return s == "" })
	return fmt.Sprintf("%s (%s)", b.Version, strings.Join(known, ", "))
}

func buildVersion() build {
	b := build{Version: version, Revision: revision, Committed: committed, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if b.Version == "" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = cmp.Or(b.Revision, s.Value)
			case "vcs.time":
				b.Committed = cmp.Or(b.Committed, s.Value)
			}
		}
	}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	return b
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print what this binary was made of",
		Flags: withOutput(),
		Action: func(ctx *cli.Context) error {
			if _, err := arguments(ctx); err != nil {
				return err
			}
			b := buildVersion()
			return output(ctx, b, func(t *table) {
				t.row("version", b.Version)
				if b.Revision != "" {
					t.row("revision", b.Revision)
				}
				if b.Committed != "" {
					t.row("committed", b.Committed)
				}
				t.row("go", b.Go)
				t.row("platform", b.Platform)
			})
		},
	}
}
