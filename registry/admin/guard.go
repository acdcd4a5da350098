package admin

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// guard lets through what may be answered, and bounds what is read of it. It
// comes before the routes, so that no path is without it.
func (s *Server) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.ContentLength != 0 {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout))
		}
		switch {
		case !s.knownHost(r.Host):
			http.Error(w, fmt.Sprintf("the host %.80q is none of this endpoint's names", r.Host), http.StatusMisdirectedRequest)
		case cross.Check(r) != nil:
			http.Error(w, "a page of another origin may not do this", http.StatusForbidden)
		case !s.authorised(r):
			http.Error(w, "a token is needed: X-Consul-Token, or Authorization: Bearer", http.StatusForbidden)
		default:
			next.ServeHTTP(w, s.onBehalf(r))
		}
	})
}

// recovered answers a request whose handler has panicked.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { // how a handler gives a connection up
		panic(p)
	}
	s.metrics.panics.Inc()
	s.cfg.Logger.Error("a request ended in a panic", "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	http.Error(w, "rollcall has a fault that this request shows", http.StatusInternalServerError)
}

// knownHost keeps out pages whose own name was made to point here. An address is
// no such name.
func (s *Server) knownHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	is := func(name string) bool { return strings.EqualFold(name, host) }
	return is("localhost") || is(s.cfg.Node) || slices.ContainsFunc(s.cfg.Hosts, is)
}

func (s *Server) authorised(r *http.Request) bool {
	if s.cfg.Token == "" || r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		return true
	}
	header, bearer := tokens(r)
	return s.ours(header) || s.ours(bearer)
}

// tokens returns what a request shows in the two places for tokens.
func tokens(r *http.Request) (header, bearer string) {
	bearer, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return r.Header.Get("X-Consul-Token"), bearer
}

// ours tells whether a token is the endpoint's own.
func (s *Server) ours(token string) bool {
	want, got := sha256.Sum256([]byte(s.cfg.Token)), sha256.Sum256([]byte(token))
	return s.cfg.Token != "" && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// onBehalf tells the registry whose request it is. Who shows the endpoint's own
// token in one place may show another's in the other.
func (s *Server) onBehalf(r *http.Request) *http.Request {
	if s.cfg.OnBehalf == nil {
		return r
	}
	header, bearer := tokens(r)
	token := cmp.Or(header, bearer)
	switch {
	case s.ours(header) && (bearer == "" || s.ours(bearer)), s.ours(bearer) && header == "":
		return r
	case s.ours(header):
		token = bearer
	}
	return r.WithContext(s.cfg.OnBehalf(r.Context(), token))
}

// CheckExposure tells whether the endpoint may listen on an address: on loopback
// always, elsewhere only if it asks who is there, or was told outright that it
// need not.
func CheckExposure(addr string, token, clientCertificates, insecure bool) error {
	if token || clientCertificates || insecure {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return registry.Errorf(registry.Invalid, "the HTTP address %q has not the form host:port", addr)
	}
	if a, err := netip.ParseAddr(host); err == nil && a.IsLoopback() || host == "localhost" {
		return nil
	}
	return registry.Errorf(registry.Invalid, "HTTP at %s can be reached from other machines: "+
		"give a token with --admin-token-file, or allow anyone with --admin-insecure", addr)
}
