package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

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
