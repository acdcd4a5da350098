package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// mostAlike is how many lines of a warning or an error are written in a second.
// Whoever can cause one can cause many.
const mostAlike = 10

// quiet is a Handler that leaves out what is beyond that, and says so with the next
// line of the kind.
type quiet struct {
	slog.Handler
	counts *alike
}

// alike counts lines by what they say, which is one of the program's own texts.
type alike struct {
	mu   sync.Mutex
	seen map[string]*lines
}

type lines struct {
	second     int64
	n, leftOut int
}

func newQuiet(h slog.Handler) slog.Handler { return quiet{h, &alike{seen: make(map[string]*lines)}} }

// Handle implements slog.Handler.
func (h quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		write, leftOut := h.counts.count(r.Message, r.Time)
		if !write {
			return nil
		}
		if leftOut > 0 {
			r.AddAttrs(slog.Int("left_out", leftOut))
		}
	}
	return h.Handler.Handle(ctx, r)
}

// count tells whether to write a line, and how many like it were not written.
func (a *alike) count(text string, at time.Time) (write bool, leftOut int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.seen[text]
	if l == nil {
		l = new(lines)
		a.seen[text] = l
	}
	if second := at.Unix(); l.second != second {
		l.second, l.n = second, 0
	}
	if l.n++; l.n > mostAlike {
		l.leftOut++
		return false, 0
	}
	leftOut, l.leftOut = l.leftOut, 0
	return true, leftOut
}

// WithAttrs implements slog.Handler.
func (h quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{h.Handler.WithAttrs(attrs), h.counts}
}

// WithGroup implements slog.Handler.
func (h quiet) WithGroup(name string) slog.Handler { return quiet{h.Handler.WithGroup(name), h.counts} }
