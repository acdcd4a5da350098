package admin

import (
	"net/http"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// Configuration is what the running server goes by, and what became of the last
// attempt to change that.
type Configuration struct {
	Settings   []Setting
	LastReload *LastReload `json:",omitempty"` // nil: it was not read anew since the start
}

// Setting is one of them. It holds no secret.
type Setting struct {
	Name   string
	Value  any    // a text, a number, true, false, or a list of texts, as the configuration file has it; a duration is a text; nil: there is none
	Source string // default, FILE:LINE:COLUMN, an environment variable, or a flag
}

// LastReload tells of the last time that the configuration was read anew.
type LastReload struct {
	At      time.Time
	OK      bool     // it is in force, but for what waits; or else all is as it was
	Error   string   `json:",omitempty"` // why it is not
	Waiting []string `json:",omitempty"` // settings that will be in force after a restart
}

// configuration shows what is in force, and where it is from, to who may see everything:
// inSight keeps it from the others.
func (s *Server) configuration(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Configuration == nil {
		return registry.Errorf(registry.NotFound, "there is no configuration to show")
	}
	return reply(w, r, s.cfg.Configuration())
}
