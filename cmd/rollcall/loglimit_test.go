package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
)

func TestARepeatedErrorIsTenLinesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		logger, err := newLogger(&out, "json", slog.LevelInfo)
		if err != nil {
			t.Fatal(err)
		}
		for second := range 2 {
			for range 1000 {
				logger.Error("it went wrong", "name", "a\nforged\x1b[31m line")
				logger.With("n", second).Info("audit")
			}
			time.Sleep(time.Second)
		}
		text := out.String()
		t.Logf("2,000 errors in 2 s are %d lines", strings.Count(text, "it went wrong"))
		if n := strings.Count(text, "it went wrong"); n != 2*mostAlike {
			t.Errorf("2,000 errors in 2 s are %d lines", n)
		}
		if n := strings.Count(text, "audit"); n != 2000 {
			t.Errorf("2,000 lines that are no errors are %d", n)
		}
		if strings.Count(text, `"left_out":990`) != 1 {
			t.Errorf("nothing tells that 990 lines are missing:\n%.1000s", text)
		}
		if strings.Count(text, "\n") != 2000+2*mostAlike || strings.ContainsRune(text, 0x1b) {
			t.Error("a name has made a line of its own")
		}
	})
}

func TestWhoCausesManyWarningsHidesNoneAboutOthers(t *testing.T) {
	for noisy, quiet := range map[any]any{
		netip.MustParseAddr("192.0.2.1"):          netip.MustParseAddr("192.0.2.2"),
		netip.MustParseAddrPort("192.0.2.1:4000"): netip.MustParseAddrPort("192.0.2.2:4000"),
		"[2001:db8::1]:4000":                      "[2001:db8:0:1::1]:4000",
		netip.MustParseAddr("::ffff:192.0.2.1"):   "192.0.2.2:4000",
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			logger, _ := newLogger(&out, "text", slog.LevelInfo)
			for range 1000 {
				logger.Warn("a wrong token was shown", "client", noisy)
			}
			logger.Warn("a wrong token was shown", "from", quiet, "quiet", true)
			if n := strings.Count(out.String(), "\n"); n != mostAlike+1 || !strings.Contains(out.String(), "quiet=true left_out=990") {
				t.Errorf("%v and %v are %d lines:\n%s", noisy, quiet, n, &out)
			}
		})
	}
}

func TestWarningsAboutManyClientsAreAHundredASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		logger, _ := newLogger(&out, "text", slog.LevelInfo)
		for n := range 100_000 {
			logger.Warn("a wrong token was shown", "from", fmt.Sprintf("10.%d.%d.%d:4000", n>>16, n>>8&255, n&255))
		}
		counts := logger.Handler().(quiet).counts
		lines := strings.Count(out.String(), "\n")
		t.Logf("100,000 warnings about as many clients are %d lines, and %d counts", lines, len(counts.lines))
		if lines != mostOfAllAlike || len(counts.lines) > mostOfAllAlike+1 {
			t.Error("that is too many")
		}
	})
}

func TestNoNameMakesALineInEitherFormat(t *testing.T) {
	var hostile strings.Builder
	for c := range rune(256) {
		hostile.WriteRune(c)
	}
	for _, name := range []string{hostile.String(), "a\u2028b", "\u202e", "\x80\xff", "a\" err=forged", "a=b c=d", "\U000e0001"} {
		for _, format := range []string{"text", "json"} {
			var out bytes.Buffer
			logger, err := newLogger(&out, format, slog.LevelInfo)
			if err != nil {
				t.Fatal(err)
			}
			logger.Error("it went wrong", "name", name, name, "a key", slog.Group(name, "in", "it"))
			line, ended := strings.CutSuffix(out.String(), "\n")
			if !ended || strings.ContainsFunc(line, unicode.IsControl) || strings.ContainsAny(line, "\u2028\u202e") {
				t.Errorf("%s: %q is logged as %q", format, name, out.String())
			}
			var back struct{ Name string }
			if format == "json" && (json.Unmarshal([]byte(line), &back) != nil || back.Name != strings.ToValidUTF8(name, "\ufffd\ufffd")) {
				t.Errorf("%q is read as %q", name, back.Name)
			}
		}
	}
}
