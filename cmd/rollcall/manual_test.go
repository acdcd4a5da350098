package main

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/rollcall.8 anew")

// TestTheManualIsTrue holds the manual page to the flags that there are.
func TestTheManualIsTrue(t *testing.T) {
	const file = "../../docs/rollcall.8"
	page := manualPage(newApp())
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(committed) != page {
		t.Error("docs/rollcall.8 is not what the flags say: go test ./cmd/rollcall -run Manual -update writes it")
	}
	if _, err := exec.LookPath("man"); err != nil {
		return
	}
	read := exec.Command("man", "--warnings", "-l", file)
	read.Env = append(os.Environ(), "MANWIDTH=100", "LC_ALL=C.UTF-8")
	var warnings strings.Builder
	read.Stderr = &warnings
	out, err := read.Output()
	if err != nil || warnings.Len() > 0 {
		t.Errorf("man: %v %s", err, &warnings)
	}
	text := strings.Join(strings.Fields(string(out)), " ") // man stretches lines
	for _, want := range []string{
		"rollcall register [FLAG]... SERVICE", "rollcall query [FLAG]... NAME [TYPE]", "A NAME without a dot is that of a service", "grpc://HOST:PORT[/SERVICE]",
		"--node Rollcall's own node", "ENVIRONMENT", "EXIT STATUS", "SIGNALS", "FILES", "EXAMPLES", "SEE ALSO",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the manual does not say %q", want)
		}
	}
}

// TestTheManualsExamplesAreCommands has each line of the examples read by the commands' own
// parser.
func TestTheManualsExamplesAreCommands(t *testing.T) {
	for _, line := range regexp.MustCompile(`(?m)rollcall [a-z].*$`).FindAllString(manualExamples, -1) {
		for command := range strings.SplitSeq(line, "&&") {
			command, _, _ = strings.Cut(command, ">")
			args := strings.Fields(command)
			if args[0] != "rollcall" {
				continue
			}
			app := newApp()
			found := app.Command(args[1])
			if found == nil {
				t.Errorf("%s: there is no such command", command)
				continue
			}
			for _, arg := range args[2:] {
				if name, ok := strings.CutPrefix(arg, "--"); ok && flagCalled(found.Flags, name) == nil {
					t.Errorf("%s: there is no --%s", command, name)
				}
			}
		}
	}
}
