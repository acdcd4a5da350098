package admin

import (
	"io"
	"net/http"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// backup gives a copy of all that is registered, to who may change everything: it
// holds what nobody else may see, and costs the disk some time.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) error {
	if t := callerOf(r.Context()); t != nil {
		if err := t.mayChange(""); err != nil {
			return err
		}
	}
	if s.cfg.Backup == nil {
		return registry.Errorf(registry.NotFound, "the registry is Consul's, and so are its backups: see consul snapshot save")
	}
	copied, err := s.cfg.Backup(r.Context())
	if err != nil {
		return err
	}
	defer copied.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	if _, err := io.Copy(&patient{w, http.NewResponseController(w)}, copied); err != nil {
		panic(http.ErrAbortHandler) // so that nobody takes a part for the whole
	}
	return nil
}

// patient gives a client writeTimeout for each part of a long answer.
type patient struct {
	http.ResponseWriter
	controller *http.ResponseController
}

func (p *patient) Write(part []byte) (int, error) {
	_ = p.controller.SetWriteDeadline(time.Now().Add(writeTimeout))
	return p.ResponseWriter.Write(part)
}
