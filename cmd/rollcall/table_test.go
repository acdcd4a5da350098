package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"regexp"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestColoursTakeNoRoom prints a table with and without colours.
func TestColoursTakeNoRoom(t *testing.T) {
	print := func(colours bool) string {
		var out bytes.Buffer
		table := &table{w: &out, colours: colours}
		table.heading("ID", "STATUS", "TAGS", "COMPLAINT")
		table.row("web-1", inStatus("passing", "passing"), "ü,v1", "")
		table.row("w", inStatus("critical", "critical"), "", "\x1b[31mrefused\r\nor so")
		if err := table.print(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	const want = "ID     STATUS    TAGS  COMPLAINT\n" +
		"web-1  passing   ü,v1\n" +
		"w      critical        [31mrefused or so\n"
	if got := print(false); got != want {
		t.Errorf("without colours:\n%q", got)
	}
	coloured := print(true)
	if got := regexp.MustCompile(`\x1b\[[0-9]+m`).ReplaceAllString(coloured, ""); got != want {
		t.Errorf("with colours:\n%q", coloured)
	}
	if !bytes.Contains([]byte(coloured), []byte(red+"critical"+plain)) {
		t.Errorf("what is critical is not red:\n%q", coloured)
	}
}

// TestColoursAreForATerminalAndWhoWantsThem looks when there are any.
func TestColoursAreForATerminalAndWhoWantsThem(t *testing.T) {
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	for name, row := range map[string]struct {
		to        io.Writer
		term, env string
		args      []string
		want      bool
	}{
		"a terminal":            {terminal, "xterm", "", nil, true},
		"a pipe":                {new(bytes.Buffer), "xterm", "", nil, false},
		"a dumb terminal":       {terminal, "dumb", "", nil, false},
		"NO_COLOR":              {terminal, "xterm", "1", nil, false},
		"--no-color":            {terminal, "xterm", "", []string{"--no-color"}, false},
		"--no-color, but false": {terminal, "xterm", "", []string{"--no-color=false"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TERM", row.term)
			t.Setenv("NO_COLOR", row.env)
			set := flag.NewFlagSet("", flag.ContinueOnError)
			for _, f := range withOutput() {
				if err := f.Apply(set); err != nil {
					t.Fatal(err)
				}
			}
			if err := set.Parse(row.args); err != nil {
				t.Fatal(err)
			}
			app := cli.NewApp()
			app.Writer = row.to
			if got := colours(cli.NewContext(app, set, nil)); got != row.want {
				t.Errorf("colours: %v", got)
			}
		})
	}
}

// TestYAMLSaysWhatJSONDoes prints what YAML takes for something else unless it is quoted.
func TestYAMLSaysWhatJSONDoes(t *testing.T) {
	var out bytes.Buffer
	err := printYAML(&out, struct {
		Zulu, Alpha string
		Numbers     []int
		None        []string
		Meta        map[string]string `json:"meta"`
	}{"yes", "2026-11-24", []int{1, 2}, []string{}, map[string]string{"port": "0080", "text": "a: b #c\n"}})
	if err != nil {
		t.Fatal(err)
	}
	const want = "Zulu: \"yes\"\nAlpha: \"2026-11-24\"\nNumbers:\n  - 1\n  - 2\nNone: []\nmeta:\n  port: \"0080\"\n  text: |\n    a: b #c\n"
	if out.String() != want {
		t.Errorf("it is\n%s", &out)
	}
}
