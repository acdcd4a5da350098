package admin

import (
	"crypto/rand"
	"net/http"
)

// requestID is the header that names a request: in its reply, in the audit line, in
// lines of the log about what went wrong, and in its trace.
const requestID = "X-Request-Id"

// maxRequestID is how long a client's name for its request may be.
const maxRequestID = 128

// identify names each request: as its client does, where that could stand in a log,
// or else by chance. From here on the header has the name, whoever made it.
func identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestID)
		if !sane(id) {
			id = rand.Text()
		}
		r.Header.Set(requestID, id)
		w.Header().Set(requestID, id)
		next.ServeHTTP(w, r)
	})
}

// RequestID returns the name of a request that has come to a Server.
func RequestID(r *http.Request) string { return r.Header.Get(requestID) }

// sane tells whether a name is of the characters that others give their requests.
func sane(id string) bool {
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return id != "" && len(id) <= maxRequestID
}
