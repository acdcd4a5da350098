package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// table prints rows with their columns under each other.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) *table { return &table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)} }

// row adds a row. The cells are shown on one line each, whatever they hold.
func (t *table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = oneLine(fmt.Sprint(cell))
	}
	fmt.Fprintln(t.w, strings.TrimRight(strings.Join(texts, "\t"), "\t"))
}

// oneLine keeps what comes from the network from writing to the terminal
// anything but text on its line.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 }), " ")
}

func outputFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "output", Aliases: []string{"o"}, Value: "table", EnvVars: []string{"ROLLCALL_OUTPUT"},
		Usage: "`FORMAT` of what is printed, table or json",
		Action: func(ctx *cli.Context, format string) error {
			if format != "table" && format != "json" {
				return usageError(ctx, "--output %q is neither table nor json", format)
			}
			return nil
		},
	}
}

func wantsJSON(ctx *cli.Context) bool { return ctx.String("output") == "json" }

// output prints the value as JSON, or what fill makes of it as a table.
func output(ctx *cli.Context, value any, fill func(*table)) error {
	if wantsJSON(ctx) {
		e := json.NewEncoder(ctx.App.Writer)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(value)
	}
	t := newTable(ctx.App.Writer)
	fill(t)
	return t.w.Flush()
}
