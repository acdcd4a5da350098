package main

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"testing"
)

var update = flag.Bool("update", false, "write docs/rollcall.8 anew")

// TestTheManualIsTrue holds the manual page to the flags that there are.
func TestTheManualIsTrue(t *testing.T) {
	const file = "../../docs/rollcall.8"
	app := newApp()
	app.Version = ""
	app.Description = "An authoritative DNS server for service discovery: services register over HTTP, rollcall checks that they\n" +
		"are well, and whoever can ask DNS finds the healthy ones.\n\n" +
		"In the environment a flag of serve, or of all clients, is ROLLCALL_FLAG, as in ROLLCALL_DNS_ADDR, and one of a single\n" +
		"command ROLLCALL_COMMAND_FLAG, as in ROLLCALL_REGISTER_PORT."
	page, err := app.ToManWithSection(8)
	if err != nil {
		t.Fatal(err)
	}
	page = regexp.MustCompile(` "[^"]*" "" ""\n`).ReplaceAllString(page, "\n") // no date: it would change every day
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
	if _, err := exec.LookPath("man"); err == nil {
		if out, err := exec.Command("man", "--warnings", "-l", file).CombinedOutput(); err != nil {
			t.Errorf("man: %v\n%s", err, out)
		}
	}
}
