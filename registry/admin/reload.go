package admin

import (
	"net/http"

	"github.com/rollcall-dns/rollcall/registry"
)

// reload has the configuration read anew, as Consul's agent does at this path. It
// takes a token that may change everything.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) error {
	if t := callerOf(r.Context()); t != nil {
		if err := t.mayChange(""); err != nil {
			return err
		}
	}
	if s.cfg.Reload == nil {
		return registry.Errorf(registry.NotFound, "there is no configuration to read anew")
	}
	notice, err := s.cfg.Reload(r.Context())
	if err != nil {
		return registry.Errorf(registry.Invalid, "the configuration stays as it was: %w", err)
	}
	if notice != "" {
		w.Header().Set("X-Rollcall-Notice", notice)
	}
	return nil
}
