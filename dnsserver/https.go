package dnsserver

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// DNS over HTTPS (RFC 8484). What a request may hold is bounded before any of it is
// read; then it is a query as any other.
const (
	httpsPath     = "/dns-query"
	httpsType     = "application/dns-message"
	httpsText     = 4 << 10          // octets of the parameter dns
	httpsHeader   = 16 << 10         // octets of a request's header
	httpsAtOnce   = 100              // requests of one connection
	httpsRead     = 5 * time.Second  // for a request
	httpsWrite    = 10 * time.Second // from its header to the reply
	httpsWorkers  = 64               // that wait for the next request
	httpsDraining = 5 * time.Second
)

// serveHTTPS serves until the listener is closed.
func (cs *connections) serveHTTPS(l *listener) error {
	h := &httpsHandler{pipeline: cs.pipeline, workers: make(chan *worker, httpsWorkers)}
	defer h.retire()
	server := &http.Server{
		Handler: h, TLSConfig: l.tls, ConnState: cs.httpsState, ConnContext: withConnection, ErrorLog: slog.NewLogLogger(cs.pipeline.logger.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: streamHandshake, ReadTimeout: httpsRead, WriteTimeout: httpsWrite, IdleTimeout: streamIdle, MaxHeaderBytes: httpsHeader,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: httpsAtOnce},
	}
	err := server.ServeTLS(&countedListener{l.tcp, cs, l.transport}, "", "")
	if errors.Is(err, net.ErrClosed) {
		server.SetKeepAlivesEnabled(false)
		if cs.some() { // Shutdown drops requests that it finds unread
			time.Sleep(lastWords)
		}
		ended := time.AfterFunc(httpsDraining, func() { _ = server.Close() })
		defer ended.Stop()
		return server.Shutdown(cs.ctx)
	}
	return fmt.Errorf("serve DNS over HTTPS: %w", err)
}

// some tells whether there are connections.
func (cs *connections) some() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open) > 0
}

// httpsState keeps in mind which connections wait for a request, and which are in the
// middle of one.
func (cs *connections) httpsState(conn net.Conn, state http.ConnState) {
	c := connectionOf(conn)
	if c == nil {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch c.idle = (time.Time{}); state {
	case http.StateIdle:
		c.idle, c.halfway = time.Now(), time.Time{}
	case http.StateActive: // its header is there, and perhaps no more
		c.halfway = time.Now()
	}
}

// connectionOf returns ours in one of net/http.
func connectionOf(conn net.Conn) *connection {
	if encrypted, ok := conn.(*tls.Conn); ok {
		c, _ := encrypted.NetConn().(*connection)
		return c
	}
	return nil
}

// httpsConnection is where the context of a request has its connection.
type httpsConnection struct{}

func withConnection(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, httpsConnection{}, connectionOf(conn))
}

// httpsHandler answers requests. A worker answers one at a time.
type httpsHandler struct {
	pipeline *pipeline
	workers  chan *worker // that have nothing to do
}

func (h *httpsHandler) take() *worker {
	select {
	case w := <-h.workers:
		return w
	default:
		return h.pipeline.newWorker("https")
	}
}

func (h *httpsHandler) give(w *worker) {
	select {
	case h.workers <- w:
	default:
		h.pipeline.metrics.retire(w.tally)
	}
}

// retire ends the workers.
func (h *httpsHandler) retire() {
	for {
		select {
		case w := <-h.workers:
			h.pipeline.metrics.retire(w.tally)
		default:
			return
		}
	}
}

// ServeHTTP implements http.Handler.
func (h *httpsHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != httpsPath {
		http.Error(w, "DNS is at "+httpsPath, http.StatusNotFound)
		return
	}
	query, status := readHTTPS(w, r)
	if status != http.StatusOK {
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "GET, HEAD, POST")
		}
		http.Error(w, http.StatusText(status), status)
		return
	}
	if c, _ := r.Context().Value(httpsConnection{}).(*connection); c != nil { // which a test has not
		c.answers(1)
		defer c.answers(-1)
	}
	reply := h.reply(r, query)
	if reply == nil {
		http.Error(w, "that is no query", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", httpsType)
	w.Header().Set("Content-Length", strconv.Itoa(len(reply)))
	w.Header().Set("Cache-Control", "max-age="+strconv.Itoa(freshFor(reply)))
	_, _ = w.Write(reply)
}

// readHTTPS reads the query of a request.
func readHTTPS(w http.ResponseWriter, r *http.Request) (query []byte, status int) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if len(r.URL.RawQuery) > httpsText {
			return nil, http.StatusRequestURITooLong
		}
		query, err := base64.RawURLEncoding.DecodeString(r.URL.Query().Get("dns"))
		if err != nil || len(query) < headerSize {
			return nil, http.StatusBadRequest
		}
		return query, http.StatusOK
	case http.MethodPost:
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != httpsType { // in any case, with parameters or without
			return nil, http.StatusUnsupportedMediaType
		}
		query, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTCP))
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return nil, http.StatusRequestEntityTooLarge
		}
		if err != nil || len(query) < headerSize {
			return nil, http.StatusBadRequest
		}
		return query, http.StatusOK
	}
	return nil, http.StatusMethodNotAllowed
}

// reply returns the reply to a query; nil: there must be none.
func (h *httpsHandler) reply(r *http.Request, query []byte) []byte {
	worker := h.take()
	defer h.give(worker)
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	reply := worker.serve(nil, query, peer)
	padded := worker.padded()
	if p := worker.pending(); p != nil {
		reply = p.reply(r.Context())
	}
	if padded && reply != nil {
		reply = pad(reply, 0, maxTCP)
	}
	return reply
}

// freshFor returns for how many seconds a reply may be kept: as its records say
// (RFC 8484, section 5.1), or not at all.
func freshFor(reply []byte) int {
	smallest := -1
	eachRecord(reply, func(section, _, fixed, _ int) {
		ttl := int(binary.BigEndian.Uint32(reply[fixed+4:]))
		if section < 2 && (smallest < 0 || ttl < smallest) {
			smallest = ttl
		}
	})
	return max(smallest, 0)
}
