package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTokensThatEverybodyMayReadAreWarnedOf(t *testing.T) {
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o604: true, 0o644: true} {
		path := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(path, []byte("first-first-first-first"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		var log bytes.Buffer
		if _, err := openTokenFile(path, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if text := log.String(); strings.Contains(text, "level=WARN") != warned || strings.Contains(text, "first-first") {
			t.Errorf("mode %v: the log is %q", mode, text)
		}
	}
}

func TestATokenCanBeTakenAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const first, second = "first-first-first-first", "second-second-second-second"
	write(first)
	f, err := openTokenFile(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	wants := func(secret string) {
		t.Helper()
		f.looked = time.Time{} // as if a second had passed
		if all := f.tokens(); len(all) != 1 || all[0].Secret != secret {
			t.Errorf("the tokens are %d, the first is not %s", len(all), secret)
		}
	}
	wants(first)
	write(second)
	wants(second)
	write("short") // a mistake leaves those in force that were
	wants(second)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wants(second)
}
