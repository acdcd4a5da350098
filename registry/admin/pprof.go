package admin

import (
	"net/http"
	"net/http/pprof"
)

// pprof shows what the process does, to who may change everything: a profile costs
// it time, and tells of its inside.
func (s *Server) pprof(w http.ResponseWriter, r *http.Request) error {
	if t := callerOf(r.Context()); t != nil {
		if err := t.mayChange(""); err != nil {
			return err
		}
	}
	switch r.PathValue("profile") {
	case "cmdline":
		pprof.Cmdline(w, r)
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
	return nil
}
