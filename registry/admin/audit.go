package admin

import (
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// audit writes a line for each request that could change something, with who
// made it and what came of it.
func (s *Server) audit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if onlyReads(r) {
			next.ServeHTTP(w, r)
			return
		}
		seen, status := watch(w), http.StatusInternalServerError // that of a panic
		defer func() { s.note(r, slog.LevelInfo, status) }()
		next.ServeHTTP(seen, r)
		status = seen.status
	})
}

// turnAway refuses a request that is not let in, and audits it as well. Anybody can make
// such, so that these lines are warnings, whose number the log limits.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request, status int, err error) {
	if !onlyReads(r) {
		s.note(r, slog.LevelWarn, status)
	}
	refuse(w, r, status, err)
}

func (s *Server) note(r *http.Request, level slog.Level, status int) {
	who := ""
	if t := callerOf(r.Context()); t != nil {
		who = t.Name
	}
	s.cfg.Logger.LogAttrs(r.Context(), level, "audit",
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", status),
		slog.String("from", r.RemoteAddr), slog.String("token", who), slog.String("request", RequestID(r)))
}

func onlyReads(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// statusWriter remembers the status of a reply.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// watch returns w, or what remembers its status.
func watch(w http.ResponseWriter) *statusWriter {
	if seen, ok := w.(*statusWriter); ok {
		return seen
	}
	return &statusWriter{ResponseWriter: w, status: http.StatusOK}
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the writer underneath.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Guesses of a secret that one address may make in a second; the next one waits
// for the rest of it. As many addresses are remembered.
const (
	guessesPerSecond = 10
	guessersKnown    = 4096
)

// guesses counts wrong tokens by where they come from.
type guesses struct {
	mu     sync.Mutex
	second int64
	from   map[netip.Addr]int
}

// tooMany tells whether an address has made too many this second already.
func (g *guesses) tooMany(from netip.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return now.Unix() == g.second && g.from[from] >= guessesPerSecond
}

// wrong counts a guess.
func (g *guesses) wrong(from netip.Addr, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Unix() != g.second || g.from == nil {
		g.second, g.from = now.Unix(), make(map[netip.Addr]int)
	}
	if _, known := g.from[from]; known || len(g.from) < guessersKnown {
		g.from[from]++
	}
}
