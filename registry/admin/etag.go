package admin

import (
	"errors"
	"net/http"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

// notModified names what a reply shows (RFC 9110, section 8.8.3), and answers a client
// that has it already.
func notModified(w http.ResponseWriter, r *http.Request, tag string) bool {
	w.Header().Set("ETag", tag)
	w.Header().Add("Vary", "Authorization, X-Consul-Token")
	if !matches(r.Header.Values("If-None-Match"), strings.TrimPrefix(tag, "W/"), true) {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

// matches tells whether one of a header's tags is this; * is any, and an empty tag
// is that of what is not there. Weak ones count where weak is set.
func matches(header []string, tag string, weak bool) bool {
	for _, line := range header {
		for item := range strings.SplitSeq(line, ",") {
			item = strings.TrimSpace(item)
			if weak {
				item = strings.TrimPrefix(item, "W/")
			}
			if tag != "" && (item == tag || item == "*") {
				return true
			}
		}
	}
	return false
}

// errChanged is the cause of what is said of a write whose condition does not hold.
var errChanged = errors.New("the condition of the request does not hold")

// condition returns what a request asks of an instance of the own node in If-Match and
// If-None-Match; nil: it asks nothing. The registry asks it when nothing can change any
// more before the write.
func (s *Server) condition(r *http.Request, id string) func(*registry.View) error {
	match, none := r.Header.Values("If-Match"), r.Header.Values("If-None-Match")
	if match == nil && none == nil {
		return nil
	}
	return func(v *registry.View) error {
		tag := ""
		if i := v.Instance(s.cfg.Node, id); i != nil {
			hash, err := contentHash(newAgentService(v, i))
			if err != nil {
				return err
			}
			tag = `"` + hash + `"`
		}
		refuse := func(format string) error {
			err := registry.Errorf(registry.Conflict, format, id)
			err.Err = errChanged
			return err
		}
		switch {
		case match != nil && tag == "":
			return refuse("there is no instance %q, and If-Match asks for one")
		case match != nil && !matches(match, tag, false):
			return refuse("the instance %q is not what If-Match names: read it anew")
		case matches(none, tag, true):
			return refuse("the instance %q is there, and If-None-Match asks that it be not")
		}
		return nil
	}
}
