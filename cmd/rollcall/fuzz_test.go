package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// FuzzConfig reads any configuration file. A mistake is told with the file's name, in
// lines that can be read.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{"zone: a.internal\nttl: 5s\n", "zone: [a, b]\n", "ttl: x\n", "- a\n", "a: {b: c}\n", "zone: &a [*a]\n", "\x00", "ttl: 5s\nttl: 6s\n", "memory: true\nforward: 10.0.0.2\n"} {
		f.Add(text)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		app := &cli.App{
			Flags: serveFlags(), Writer: io.Discard, ErrWriter: io.Discard, ExitErrHandler: func(*cli.Context, error) {},
			Action: func(ctx *cli.Context) error { return readConfig(ctx, make(map[string]source)) },
		}
		err := app.Run([]string{"rollcall", "--config", file})
		if err != nil && !strings.Contains(err.Error(), "config.yaml") {
			t.Errorf("%q: %v", text, err)
		}
	})
}
