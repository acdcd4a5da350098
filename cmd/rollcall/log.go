package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// newLogger returns a logger in a format; auto is text on terminals and JSON
// everywhere else.
func newLogger(w io.Writer, format string, least slog.Leveler) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: least}
	switch {
	case format == "text" || format == "auto" && isTerminal(w):
		return slog.New(newQuiet(slog.NewTextHandler(w, options))), nil
	case format == "json" || format == "auto":
		return slog.New(newQuiet(slog.NewJSONHandler(visible{w}, options))), nil
	}
	return nil, fmt.Errorf("%q is none of auto, text and json", format)
}

// visible writes JSON and escapes what encoding/json leaves as it is, and terminals act on
// or show as something else: DEL, the controls of ISO 6429, and the marks that turn text
// around. The text format escapes them itself.
type visible struct{ io.Writer }

// Write implements io.Writer. It is given one line, in whose strings alone such can be.
func (w visible) Write(line []byte) (int, error) {
	hidden := func(r rune) bool { return r >= 0x7f && !unicode.IsPrint(r) }
	if bytes.IndexFunc(line, hidden) < 0 {
		return w.Writer.Write(line)
	}
	escaped := make([]byte, 0, len(line)+64)
	for _, r := range string(line) {
		if !hidden(r) {
			escaped = utf8.AppendRune(escaped, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			escaped = fmt.Appendf(escaped, `\u%04x`, unit)
		}
	}
	if _, err := w.Writer.Write(escaped); err != nil {
		return 0, err
	}
	return len(line), nil
}

func parseLevel(text string) (level slog.Level, err error) {
	if err = level.UnmarshalText([]byte(text)); err != nil {
		return level, fmt.Errorf("%q is none of debug, info, warn and error", text)
	}
	return level, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Stat() (os.FileInfo, error) })
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
