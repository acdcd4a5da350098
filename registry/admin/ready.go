package admin

import (
	"encoding/json"
	"net/http"
)

// healthz says that the process lives. It depends on nothing else.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) error {
	return reply(w, r, map[string]string{"status": "ok"})
}

// readyz says whether clients may come.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	status := map[string]any{"status": "ready"}
	code := http.StatusOK
	if s.cfg.Ready != nil {
		if err := s.cfg.Ready(); err != nil {
			code = http.StatusServiceUnavailable
			status = map[string]any{"status": "not ready", "reason": err.Error()}
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
