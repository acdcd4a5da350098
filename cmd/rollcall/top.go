package main

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rollcall-dns/rollcall/registry/admin"
)

// topEvery is how long a list stays on a terminal: DNS tells what was asked for as
// often.
const topEvery = 5 * time.Second

func topCommand() *cli.Command {
	return &cli.Command{
		Name:  "top",
		Usage: "show the names that are asked for most",
		Description: "Of the last minute, or the last hour, each with what is answered. Figures are those of a sample.\n" +
			"On a terminal the list is renewed every 5 s until it is interrupted, elsewhere it is printed once.",
		Flags: withAPI(withOutput(
			&cli.BoolFlag{Name: "hour", EnvVars: []string{"ROLLCALL_TOP_HOUR"}, Usage: "of the last hour"},
			&cli.BoolFlag{Name: "unknown", EnvVars: []string{"ROLLCALL_TOP_UNKNOWN"}, Usage: "only names that there are not"},
			&cli.BoolFlag{Name: "once", EnvVars: []string{"ROLLCALL_TOP_ONCE"}, Usage: "print the list once, also on a terminal"},
		)...),
		Action: top,
	}
}

func top(ctx *cli.Context) error {
	if _, err := arguments(ctx); err != nil {
		return err
	}
	c, err := newClient(ctx)
	if err != nil {
		return err
	}
	renewed := !ctx.Bool("once") && !forPrograms(ctx) && isTerminal(ctx.App.Writer) && os.Getenv("TERM") != "dumb"
	for {
		var names admin.TopNames
		if err := c.get(ctx.Context, "/v1/overview/names", nil, &names); err != nil {
			return err
		}
		if renewed {
			fmt.Fprint(ctx.App.Writer, "\x1b[H\x1b[J") // from the upper left corner on, nothing
		}
		if err := printTop(ctx, names); err != nil || !renewed {
			return err
		}
		select {
		case <-time.After(topEvery):
		case <-ctx.Context.Done():
			return nil
		}
	}
}

func printTop(ctx *cli.Context, names admin.TopNames) error {
	window := names.Minute
	if ctx.Bool("hour") {
		window = names.Hour
	}
	list := window.Names
	if ctx.Bool("unknown") {
		list = window.Unknown
	}
	if !forPrograms(ctx) {
		rate := float64(window.Questions) / max(window.Seconds, 1)
		fmt.Fprintf(ctx.App.Writer, "%.0f questions in %v, %.1f a second\n\n", float64(window.Questions), time.Duration(window.Seconds)*time.Second, rate)
	}
	if len(list) == 0 && !forPrograms(ctx) {
		fmt.Fprintln(ctx.App.ErrWriter, "rollcall: no such name was asked for")
	}
	return output(ctx, list, func(t *table) {
		t.heading("NAME", "ANSWER", "SHARE", "PER SECOND")
		for _, n := range list {
			t.row(n.Name, n.Kind, fmt.Sprintf("%.1f %%", 100*n.Share), fmt.Sprintf("%.1f", n.PerSecond))
		}
	})
}
