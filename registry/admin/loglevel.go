package admin

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

// LogLevel is the least level that is logged.
type LogLevel struct {
	Level string // debug, info, warn or error
}

// logLevels are those that can be chosen.
var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// logLevel shows the level.
func (s *Server) logLevel(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.LogLevel == nil {
		return registry.Errorf(registry.NotFound, "the log has no level to choose")
	}
	return reply(w, r, LogLevel{strings.ToLower(s.cfg.LogLevel.Level().String())})
}

// setLogLevel sets it to the one of the parameter level, until the configuration is
// read again. It takes a token that may change everything.
func (s *Server) setLogLevel(w http.ResponseWriter, r *http.Request) error {
	if t := callerOf(r.Context()); t != nil {
		if err := t.mayChange(""); err != nil {
			return err
		}
	}
	text := r.URL.Query().Get("level")
	level, ok := logLevels[strings.ToLower(text)]
	if !ok {
		return registry.Errorf(registry.Invalid, "level %.80q is none of debug, info, warn and error", text)
	}
	if s.cfg.LogLevel == nil {
		return registry.Errorf(registry.NotFound, "the log has no level to choose")
	}
	s.cfg.LogLevel.Set(level)
	return s.logLevel(w, r)
}
