package admin

import (
	"net/http"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// explain tells how a DNS question is answered.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Explain == nil {
		return registry.Errorf(registry.NotFound, "nothing here answers DNS questions")
	}
	qtype := strings.ToUpper(r.URL.Query().Get("type"))
	if qtype == "" {
		qtype = "A"
	}
	start := time.Now()
	explanation, err := s.cfg.Explain(r.PathValue("name"), qtype)
	if err != nil {
		return err
	}
	s.metrics.explained.Observe(time.Since(start).Seconds())
	return reply(w, r, explanation)
}
