package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"
)

func importCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "register what `rollcall export` has printed",
		ArgsUsage: "FILE, or - for standard input",
		Description: "A line that cannot be registered is reported with its number, and the others are\n" +
			"registered all the same; the exit code is 1 then.",
		Flags: withAPI(
			&cli.BoolFlag{Name: "dry-run", EnvVars: []string{"ROLLCALL_DRY_RUN"}, Usage: "only read the file and say what is in it"},
		),
		Action: importRegistry,
	}
}

func importRegistry(ctx *cli.Context) (err error) {
	args, err := arguments(ctx, "FILE")
	if err != nil {
		return err
	}
	c, err := newClient(ctx)
	if err != nil {
		return err
	}
	in := io.NopCloser(os.Stdin)
	if args[0] != "-" {
		if in, err = os.Open(args[0]); err != nil {
			return err
		}
	}
	defer closing(in, &err)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	done, failed := 0, 0
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		switch err := importLine(ctx, c, line); {
		case err == nil:
			done++
		case exitCode(err) == exitUnreachable:
			return err
		default:
			failed++
			fmt.Fprintf(ctx.App.ErrWriter, "rollcall: %s:%d: %v\n", args[0], n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading %s: %w", args[0], err)
	}
	verb := "registered"
	if ctx.Bool("dry-run") {
		verb = "read"
	}
	fmt.Fprintf(ctx.App.ErrWriter, "rollcall: %d instances %s, %d failed\n", done, verb, failed)
	if failed > 0 {
		return fail(exitFailure, "%d of %d instances could not be %s", failed, done+failed, verb)
	}
	return nil
}

func importLine(ctx *cli.Context, c *client, line []byte) error {
	if !json.Valid(line) {
		return fmt.Errorf("the line is no JSON")
	}
	if ctx.Bool("dry-run") {
		return nil
	}
	_, err := c.put(ctx.Context, "/v1/catalog/register", nil, json.RawMessage(line))
	return err
}
