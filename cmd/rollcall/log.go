package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
)

// newLogger returns a logger in a format; auto is text on terminals and JSON
// everywhere else.
func newLogger(w io.Writer, format string, least slog.Leveler) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: least}
	switch {
	case format == "text" || format == "auto" && isTerminal(w):
		return slog.New(newQuiet(slog.NewTextHandler(w, options))), nil
	case format == "json" || format == "auto":
		return slog.New(newQuiet(slog.NewJSONHandler(w, options))), nil
	}
	return nil, fmt.Errorf("%q is none of auto, text and json", format)
}

func parseLevel(text string) (level slog.Level, err error) {
	if err = level.UnmarshalText([]byte(text)); err != nil {
		return level, fmt.Errorf("%q is none of debug, info, warn and error", text)
	}
	return level, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
