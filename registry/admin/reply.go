package admin

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/rollcall-dns/rollcall/registry"
)

// serve makes a handler one of net/http: the one place that answers errors.
func (s *Server) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		status := statusOf(err)
		if status == http.StatusInternalServerError && r.Context().Err() == nil { // else the client left
			s.cfg.Logger.Error("a request failed", "method", r.Method, "path", r.URL.Path, "request", RequestID(r), "err", err)
		}
		refuse(w, r, status, err)
	})
}

// statusOf returns the HTTP status of an error.
func statusOf(err error) int {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	if errors.Is(err, errChanged) {
		return http.StatusPreconditionFailed
	}
	switch registry.CodeOf(err) {
	case registry.Invalid:
		return http.StatusBadRequest
	case registry.NotFound:
		return http.StatusNotFound
	case registry.Conflict:
		return http.StatusConflict
	case registry.Forbidden:
		return http.StatusForbidden
	case registry.Unavailable:
		return http.StatusServiceUnavailable
	case registry.Full:
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}

// reply writes what the caller may see of a value as JSON, with line breaks where the
// client asks for them.
func reply(w http.ResponseWriter, r *http.Request, value any) error {
	value, err := inSight(w, callerOf(r.Context()), value)
	if err != nil {
		return err
	}
	var text []byte
	if r.URL.Query().Has("pretty") {
		text, err = json.MarshalIndent(value, "", "    ")
	} else {
		text, err = json.Marshal(value)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // a client that went away needs no error
	return nil
}

func badRequest(format string, args ...any) error {
	return registry.Errorf(registry.Invalid, format, args...)
}
