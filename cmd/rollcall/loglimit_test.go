package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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
