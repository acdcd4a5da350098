package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is set by the linker in `make build`.
var version string

// build is what this binary was made of.
type build struct {
	Version  string
	Revision string
	Go       string
	Platform string
}

func (b build) String() string {
	if b.Revision == "" {
		return fmt.Sprintf("%s (%s, %s)", b.Version, b.Go, b.Platform)
	}
	return fmt.Sprintf("%s (%s, %s, %s)", b.Version, b.Revision, b.Go, b.Platform)
}

func buildVersion() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if b.Version == "" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
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
				t.row("go", b.Go)
				t.row("platform", b.Platform)
			})
		},
	}
}
