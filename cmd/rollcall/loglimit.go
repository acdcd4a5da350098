package main

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// How many lines of a warning or an error are written in a second: whoever can cause one
// can cause many. Those about one client do not take the place of those about others.
const (
	mostAlike      = 10  // about the same client, or about none
	mostOfAllAlike = 100 // about all clients, which also bounds how many of them are remembered
)

// quiet is a Handler that leaves out what is beyond that, and says so with the next
// line of the kind.
type quiet struct {
	slog.Handler
	counts *alike
}

// alike counts lines by what they say, which is one of the program's own texts, and by
// the client that they are about. It begins anew each second.
type alike struct {
	mu      sync.Mutex
	second  int64
	lines   map[subject]int
	leftOut map[string]int // by text; what was not told yet
}

// subject is what a line is about. Without a client it is about all of them.
type subject struct {
	text   string
	client netip.Addr
}

func newQuiet(h slog.Handler) slog.Handler {
	return quiet{h, &alike{leftOut: make(map[string]int)}}
}

// Handle implements slog.Handler.
func (h quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		write, leftOut := h.counts.count(r.Message, aboutWhom(r), r.Time)
		if !write {
			return nil
		}
		if leftOut > 0 {
			r.AddAttrs(slog.Int("left_out", leftOut))
		}
	}
	return h.Handler.Handle(ctx, r)
}

// aboutWhom returns the client that a line is about, of IPv6 its network, which is one
// client's; no address: it is about none.
func aboutWhom(r slog.Record) (client netip.Addr) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "client" && a.Key != "from" {
			return true
		}
		text := a.Value.String()
		if ap, err := netip.ParseAddrPort(text); err == nil {
			client = ap.Addr()
		} else {
			client, _ = netip.ParseAddr(text)
		}
		return false
	})
	if client = client.Unmap(); client.Is6() {
		network, _ := client.Prefix(64)
		client = network.Addr()
	}
	return client
}

// count tells whether to write a line, and how many of its text were not written.
func (a *alike) count(text string, client netip.Addr, at time.Time) (write bool, leftOut int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if second := at.Unix(); a.lines == nil || a.second != second {
		a.second, a.lines = second, make(map[subject]int)
	}
	all, one, most := subject{text: text}, subject{text, client}, mostAlike
	if client.IsValid() {
		most = mostOfAllAlike
	}
	if a.lines[all] >= most || a.lines[one] >= mostAlike && one != all {
		a.leftOut[text]++
		return false, 0
	}
	if a.lines[all]++; one != all {
		a.lines[one]++
	}
	leftOut = a.leftOut[text]
	delete(a.leftOut, text)
	return true, leftOut
}

// WithAttrs implements slog.Handler.
func (h quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{h.Handler.WithAttrs(attrs), h.counts}
}

// WithGroup implements slog.Handler.
func (h quiet) WithGroup(name string) slog.Handler { return quiet{h.Handler.WithGroup(name), h.counts} }
