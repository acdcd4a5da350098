package admin

import (
	"cmp"
	"context"
	"errors"
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
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.ContentLength != 0 {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			timeout := readTimeout
			if r.ContentLength > maxBody {
				timeout = refusalTimeout
			}
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout))
		}
		switch {
		case !s.knownHost(r):
			s.turnAway(w, r, http.StatusMisdirectedRequest, fmt.Errorf("the host %.80q is none of this endpoint's names: --admin-host adds one", r.Host))
		case s.foreign(r):
			s.turnAway(w, r, http.StatusForbidden, errors.New("a page of another origin may not do this"))
		default:
			if r, ok := s.admit(w, r); ok {
				next.ServeHTTP(w, r)
			}
		}
	})
}

// foreign tells whether a browser sends the request for a page of another origin. It
// may not read either: what it asks for may be an event stream, which lasts, or tell by
// its size or time what is registered. A link that somebody follows is none, and
// OPTIONS tells of methods alone.
func (s *Server) foreign(r *http.Request) bool {
	if r.Method == http.MethodOptions || onlyReads(r) && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" {
		return false
	}
	changing := *r // http.CrossOriginProtection lets through what only reads
	changing.Method = http.MethodPost
	return s.cross.Check(&changing) != nil
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
	s.cfg.Logger.Error("a request ended in a panic", "path", r.URL.Path, "request", RequestID(r), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	refuse(w, r, http.StatusInternalServerError, errors.New("rollcall has a fault that this request shows"))
}

// knownHost keeps out pages whose own name was made to point here, and whatever else
// means another server: a request is for loopback, for the address that its connection
// came to, or for what it was told is its own. A load balancer that asks how rollcall is
// may say none (HTTP/1.0), which no browser does.
func (s *Server) knownHost(r *http.Request) bool {
	host := r.Host
	if host == "" {
		return r.URL.Path == "/healthz" || r.URL.Path == "/readyz"
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	a, err := netip.ParseAddr(host)
	a = a.Unmap().WithZone("")
	if err == nil && (a.IsLoopback() || a == cameTo(r)) {
		return true
	}
	is := func(name string) bool {
		if ours, err := netip.ParseAddr(name); err == nil {
			return ours.Unmap() == a
		}
		return strings.EqualFold(strings.TrimSuffix(name, "."), host)
	}
	return is("localhost") || is(s.cfg.Node) || s.cfg.Hosts != nil && slices.ContainsFunc(s.cfg.Hosts(), is)
}

// cameTo returns the address of this machine that a request's connection came to.
func cameTo(r *http.Request) netip.Addr {
	if to, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		return to.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// admit lets a request in that shows what it has to, and notes in its context
// whose it is. It answers others.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) (*http.Request, bool) {
	header, bearer := shown(r)
	if s.cfg.Tokens == nil || forEveryone(r.URL.Path) {
		return s.onBehalf(r, cmp.Or(header, bearer)), true
	}
	from, now := remote(r), time.Now()
	if s.guesses.tooMany(from, now) {
		w.Header().Set("Retry-After", "1")
		s.turnAway(w, r, http.StatusTooManyRequests, errors.New("too many wrong tokens: wait a second"))
		return nil, false
	}
	tokens := s.cfg.Tokens()
	ours, other := tokenOf(tokens, header), bearer
	if ours == nil {
		ours, other = tokenOf(tokens, bearer), header
	}
	if ours == nil {
		if header != "" || bearer != "" {
			s.guesses.wrong(from, now)
			s.cfg.Logger.Warn("a wrong token was shown", "from", r.RemoteAddr, "path", r.URL.Path, "request", RequestID(r))
		}
		s.turnAway(w, r, http.StatusForbidden, errors.New("a token is needed: X-Consul-Token, or Authorization: Bearer"))
		return nil, false
	}
	r = r.WithContext(context.WithValue(r.Context(), callerKey{}, ours))
	if other == "" || tokenOf(tokens, other) != nil {
		return r, true
	}
	return s.onBehalf(r, other), true // who shows ours in one place may show another's in the other
}

// forEveryone tells whether a path is for everyone: it tells nothing of what is
// registered. The page asks for a token itself, and shows it with what it loads.
func forEveryone(path string) bool {
	return path == "/healthz" || path == "/readyz" || path == "/" || strings.HasPrefix(path, "/page/")
}

// onBehalf tells the registry whose request it is.
func (s *Server) onBehalf(r *http.Request, token string) *http.Request {
	if s.cfg.OnBehalf == nil {
		return r
	}
	return r.WithContext(s.cfg.OnBehalf(r.Context(), token))
}

// shown returns what a request shows in the two places for tokens.
func shown(r *http.Request) (header, bearer string) {
	if scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		bearer = credentials
	}
	return r.Header.Get("X-Consul-Token"), bearer
}

func remote(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a.Addr().Unmap()
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
		"give a token with --admin-token-file, ask for certificates with --admin-client-ca, or allow anyone with --admin-insecure", addr)
}
