package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
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
		Description: "The file is read and judged to its end before anything is registered: a mistake in it\n" +
			"changes nothing. What the server refuses all the same is reported with its line, and\n" +
			"the others are registered; the exit code is 1 then. To import twice does no harm.",
		Flags: withAPI(
			&cli.BoolFlag{Name: "dry-run", EnvVars: []string{"ROLLCALL_DRY_RUN"}, Usage: "only judge the file and say what it would change"},
			&cli.StringSliceFlag{Name: "rename-node", EnvVars: []string{"ROLLCALL_RENAME_NODE"}, Usage: "`OLD=NEW`: register what is on the node OLD on NEW, which keeps its address (repeatable)"},
		),
		Action: importRegistry,
	}
}

// importers is how many lines are registered at the same time.
const importers = 8

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
			return usageError(ctx, "FILE: %v", err)
		}
	}
	defer closing(in, &err)
	lines, err := readImport(in, args[0], renamed)
	if err != nil {
		return err
	}
	for from, to := range renamed {
		if !slices.ContainsFunc(lines, func(l *numbered) bool { return l.from == from }) {
			return usageError(ctx, "--rename-node %s=%s: nothing in %s is on the node %q", from, to, args[0], from)
		}
	}
	to, err := findTarget(ctx.Context, c)
	if err != nil {
		return err
	}
	if err := to.judge(args[0], lines); err != nil {
		return err
	}
	if ctx.Bool("dry-run") {
		return foretell(ctx, c, lines)
	}
	return registerLines(ctx, to, args[0], lines)
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

// registerLines registers lines, several at a time, and says how far it is on a
// terminal.
func registerLines(ctx *cli.Context, to *target, name string, lines []*numbered) error {
	bar := progressbar.NewOptions(len(lines), progressbar.OptionSetWriter(ctx.App.ErrWriter), progressbar.OptionSetDescription("registering"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("lines"), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetVisibility(isTerminal(ctx.App.ErrWriter)))
	var mu sync.Mutex
	var done []*numbered
	var refused []mistake
	began := time.Now()
	interruptible, stop := signal.NotifyContext(ctx.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	group, running := errgroup.WithContext(interruptible)
	group.SetLimit(importers)
	for _, line := range lines {
		group.Go(func() error {
			if running.Err() != nil {
				return running.Err()
			}
			err := to.register(running, line)
			if exitCode(err) == exitUnreachable || running.Err() != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused = append(refused, mistake{line.number, err})
			} else {
				done = append(done, line)
			}
			return bar.Add(1)
		})
	}
	err := group.Wait()
	if cleared := bar.Finish(); err == nil {
		err = cleared
	}
	if interruptible.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		return fmt.Errorf("%d of %s registered, and importing again completes it: %w", len(done), several(len(lines), "line"), err)
	}
	fmt.Fprintf(ctx.App.ErrWriter, "rollcall: imported %s in %v, %s refused\n", count(done), time.Since(began).Round(time.Millisecond), several(len(refused), "line"))
	return joined(name, several(len(refused), "line")+" refused", refused)
}

// foretell says what registering the lines would change.
func foretell(ctx *cli.Context, c *client, lines []*numbered) error {
	there, err := registeredNow(ctx.Context, c)
	if err != nil {
		return err
	}
	added, changed, same := 0, 0, 0
	for _, line := range lines {
		before, ok := there[line.key()]
		switch {
		case !ok:
			added++
		case line.differs(before):
			changed++
		default:
			same++
		}
	}
	fmt.Fprintf(ctx.App.ErrWriter, "rollcall: read %s: %s new, %d that change what is there, %d that change nothing; nothing is registered\n",
		count(lines), several(added, "line"), changed, same)
	return nil
}

// registeredNow returns what is registered, by its key. What rollcall would not
// take no line can be the same as, so that is left out.
func registeredNow(ctx context.Context, c *client) (map[string]*numbered, error) {
	there := make(map[string]*numbered)
	err := c.export(ctx, func(r *record) error {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if line, err := readLine(text, nil); err == nil {
			there[line.key()] = line
		}
		return nil
	})
	return there, err
}
