package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"
)

func importCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "register what `rollcall export` has printed, with rollcall or with a Consul agent",
		ArgsUsage: "FILE, or - for standard input",
		Description: "The file is read to its end before anything is registered: a mistake in it changes\n" +
			"nothing. What the server refuses is reported with its line, and the others are\n" +
			"registered all the same; the exit code is 1 then. To import twice does no harm.",
		Flags: withAPI(
			&cli.BoolFlag{Name: "dry-run", EnvVars: []string{"ROLLCALL_DRY_RUN"}, Usage: "only read the file and say what is in it"},
			&cli.StringSliceFlag{Name: "rename-node", EnvVars: []string{"ROLLCALL_RENAME_NODE"}, Usage: "`OLD=NEW`: register what is on the node OLD on NEW, which keeps its address (repeatable)"},
		),
		Action: importRegistry,
	}
}

// importers is how many lines are registered at the same time.
const importers = 8

// numbered is a line of an import.
type numbered struct {
	number int
	node   string
	record map[string]json.RawMessage
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
	renamed, err := renamings(ctx)
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
	lines, err := readImport(in, args[0], renamed)
	if err != nil {
		return err
	}
	if ctx.Bool("dry-run") {
		fmt.Fprintf(ctx.App.ErrWriter, "rollcall: %d instances read, nothing is registered\n", len(lines))
		return nil
	}
	return registerLines(ctx, c, args[0], lines)
}

// renamings reads the pairs of --rename-node.
func renamings(ctx *cli.Context) (map[string]string, error) {
	renamed := make(map[string]string)
	for _, pair := range ctx.StringSlice("rename-node") {
		from, to, ok := strings.Cut(pair, "=")
		if !ok || from == "" || to == "" {
			return nil, usageError(ctx, "--rename-node %q has not the form OLD=NEW", pair)
		}
		renamed[strings.ToLower(from)] = to
	}
	return renamed, nil
}

// readImport reads all lines. Of a file with mistakes it returns none, and every
// mistake with its line.
func readImport(in io.Reader, name string, renamed map[string]string) (lines []numbered, err error) {
	var mistakes []error
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, 1<<20)
	for n := 1; scanner.Scan(); n++ {
		line := bytes.TrimSpace(scanner.Bytes())
		if len(line) == 0 {
			continue
		}
		node, record, err := readRecord(line, renamed)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s:%d: %w", name, n, err))
			continue
		}
		lines = append(lines, numbered{n, node, record})
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return lines, errors.Join(mistakes...)
}

// readRecord reads a line, whose fields are for the server to judge, as far as
// it can be said here that there is an instance in it.
func readRecord(line []byte, renamed map[string]string) (node string, record map[string]json.RawMessage, err error) {
	if err := json.Unmarshal(line, &record); err != nil {
		return "", nil, errors.New("the line is no JSON object")
	}
	var known struct {
		Node    string
		Service struct{ Service string }
	}
	if err := json.Unmarshal(line, &known); err != nil {
		return "", nil, errors.New("Node is no text, or Service no object")
	}
	switch {
	case known.Node == "":
		return "", nil, errors.New("Node is missing")
	case known.Service.Service == "":
		return "", nil, errors.New("Service.Service, the service's name, is missing")
	}
	if to, ok := renamed[strings.ToLower(known.Node)]; ok {
		return to, record, rename(record, to)
	}
	return known.Node, record, nil
}

// rename moves a record to another node, whose address and metadata are its own.
func rename(record map[string]json.RawMessage, to string) error {
	for _, field := range []string{"ID", "TaggedAddresses", "NodeMeta"} {
		delete(record, field)
	}
	node, err := json.Marshal(to)
	if err != nil {
		return err
	}
	record["Node"], record["SkipNodeUpdate"] = node, json.RawMessage("true")
	var checks []map[string]any
	if text, ok := record["Checks"]; ok {
		if err := json.Unmarshal(text, &checks); err != nil {
			return errors.New("Checks is no list of objects")
		}
		for _, c := range checks {
			c["Node"] = to
		}
		if record["Checks"], err = json.Marshal(checks); err != nil {
			return err
		}
	}
	return nil
}

// registerLines registers lines, several at a time, and says how far it is on a
// terminal.
func registerLines(ctx *cli.Context, c *client, name string, lines []numbered) error {
	bar := progressbar.NewOptions(len(lines), progressbar.OptionSetWriter(ctx.App.ErrWriter), progressbar.OptionSetDescription("registering"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("instances"), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetVisibility(isTerminal(ctx.App.ErrWriter)))
	node, err := consulNode(ctx.Context, c)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var refused []error
	began := time.Now()
	group, running := errgroup.WithContext(ctx.Context)
	group.SetLimit(importers)
	for _, line := range lines {
		group.Go(func() error {
			err := registerLine(running, c, node, line)
			if exitCode(err) == exitUnreachable || running.Err() != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused = append(refused, fmt.Errorf("%s:%d: %w", name, line.number, err))
			}
			return bar.Add(1)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	fmt.Fprintf(ctx.App.ErrWriter, "rollcall: %d instances registered in %v, %d refused\n",
		len(lines)-len(refused), time.Since(began).Round(time.Millisecond), len(refused))
	return errors.Join(refused...)
}

// registerLine registers a line in the catalog, or with the Consul agent on its
// own node.
func registerLine(ctx context.Context, c *client, agentsNode string, line numbered) error {
	if agentsNode != "" && strings.EqualFold(line.node, agentsNode) {
		return registerAtAgent(ctx, c, line)
	}
	_, err := c.put(ctx, "/v1/catalog/register", nil, line.record)
	return err
}
