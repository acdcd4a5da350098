package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"
)

// formats are what output prints: tables for people, the wide ones with more columns,
// and the rest for programs.
var formats = []string{"table", "wide", "json", "yaml"}

// withOutput returns the flags of a command that prints what it found, after its own.
func withOutput(own ...cli.Flag) []cli.Flag {
	return append(own,
		&cli.StringFlag{
			Name: "output", Aliases: []string{"o"}, Value: "table", EnvVars: []string{"ROLLCALL_OUTPUT"},
			Usage: "`FORMAT` of what is printed: table, wide (a table with more columns), json or yaml",
			Action: func(ctx *cli.Context, format string) error {
				if !slices.Contains(formats, format) {
					return usageError(ctx, "--output %q is none of %s", format, strings.Join(formats, ", "))
				}
				return nil
			},
		},
		&cli.BoolFlag{
			Name: "no-color", EnvVars: []string{"ROLLCALL_NO_COLOR"},
			Usage: "print no colors on a terminal; so does NO_COLOR in the environment",
		},
	)
}

// forPrograms tells whether the output is for a program to read.
func forPrograms(ctx *cli.Context) bool {
	format := ctx.String("output")
	return format == "json" || format == "yaml"
}

// output prints the value for programs, or what fill makes of it as a table.
func output(ctx *cli.Context, value any, fill func(*table)) error {
	switch ctx.String("output") {
	case "json":
		e := json.NewEncoder(ctx.App.Writer)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(value)
	case "yaml":
		return printYAML(ctx.App.Writer, value)
	}
	t := &table{w: ctx.App.Writer, wide: ctx.String("output") == "wide", colours: colours(ctx)}
	fill(t)
	return t.print()
}

// printYAML prints a value with the keys that it has as JSON, and in their order.
func printYAML(w io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil { // JSON is YAML
		return err
	}
	if err := asBlocks(&node); err != nil {
		return err
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	return e.Encode(&node)
}

// asBlocks undoes the braces and quotes of JSON where YAML needs none.
func asBlocks(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		return n.Encode(n.Value) // which knows what is no text without quotes
	}
	if len(n.Content) > 0 {
		n.Style = 0
	}
	for _, each := range n.Content {
		if err := asBlocks(each); err != nil {
			return err
		}
	}
	return nil
}

// table prints rows with their columns under each other.
type table struct {
	w             io.Writer
	wide, colours bool
	rows          [][]cell
}

// cell is a text, and how it is shown on a terminal that has colours.
type cell struct{ text, colour string }

// heading adds a row of what the columns are.
func (t *table) heading(names ...any) {
	for i, name := range names {
		names[i] = cell{fmt.Sprint(name), bold}
	}
	t.row(names...)
}

// row adds a row. The cells are shown on one line each, whatever they hold.
func (t *table) row(cells ...any) {
	row := make([]cell, len(cells))
	for i, each := range cells {
		c, ok := each.(cell)
		if !ok {
			c.text = fmt.Sprint(each)
		}
		row[i] = cell{oneLine(c.text), c.colour}
	}
	for len(row) > 0 && row[len(row)-1].text == "" {
		row = row[:len(row)-1]
	}
	t.rows = append(t.rows, row)
}

// print prints the rows. The last cell of each may be as long as it likes.
func (t *table) print() error {
	var widths []int
	for _, row := range t.rows {
		for i := 0; i < len(row)-1; i++ {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	var text strings.Builder
	for _, row := range t.rows {
		for i, c := range row {
			if t.colours && c.colour != "" {
				text.WriteString(c.colour + c.text + plain)
			} else {
				text.WriteString(c.text)
			}
			if i < len(row)-1 {
				text.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
			}
		}
		text.WriteByte('\n')
	}
	_, err := io.WriteString(t.w, text.String())
	return err
}

// Colours of a terminal, which has its own idea of each.
const (
	plain  = "\x1b[0m"
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
)

// colours tells whether to print any: on a terminal that has them, to people who want
// them (no-color.org).
func colours(ctx *cli.Context) bool {
	return isTerminal(ctx.App.Writer) && !ctx.Bool("no-color") && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// inStatus returns the cell of something in a status, or of how much is: none has no
// colour.
func inStatus(status string, shown any) cell {
	colour := map[string]string{"passing": green, "warning": yellow, "critical": red, "maintenance": blue}[status]
	if shown == 0 {
		colour = ""
	}
	return cell{fmt.Sprint(shown), colour}
}

// oneLine keeps what comes from the network from writing to the terminal
// anything but text on its line.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 }), " ")
}
