package admin

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// healthz says that the process lives, be it from what it remembers.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) error {
	if f := s.freshness(); f.Stale {
		return reply(w, r, map[string]string{"status": "degraded", "reason": f.Reason})
	}
	return reply(w, r, map[string]string{"status": "ok"})
}

func (s *Server) freshness() *registry.Freshness {
	if s.cfg.Freshness == nil {
		return &registry.Freshness{Synced: true}
	}
	return s.cfg.Freshness()
}

// readyz says whether clients may come: while there are answers, even such as may
// no longer be true, they may.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	status := map[string]any{"status": "ready"}
	code := http.StatusOK
	if s.cfg.Ready != nil {
		if err := s.cfg.Ready(); err != nil {
			code = http.StatusServiceUnavailable
			status = map[string]any{"status": "not ready", "reason": err.Error()}
		}
	}
	if f := s.freshness(); f.Stale {
		status["stale"], status["stale_reason"] = true, f.Reason
		if !f.Since.IsZero() {
			status["stale_since"] = f.Since.UTC().Format(time.RFC3339)
		}
		if !f.Synced && code == http.StatusOK {
			code = http.StatusServiceUnavailable
			status["status"], status["reason"] = "not ready", f.Reason
		}
	}
	if r.URL.Query().Has("verbose") {
		v := s.cfg.Registry.View()
		status["index"], status["services"], status["instances"] = v.Index(), v.ServicesLen(), v.InstancesLen()
	}
	text, err := json.Marshal(status)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n'))
	return nil
}
