package dnsserver

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// fuzzed returns a lab with something of all kinds, for a fuzz target.
func fuzzed(f *testing.F) *lab {
	l := newLab(f)
	l.register(f, registry.Instance{Service: "web", ID: "1", Port: 80, Address: "10.0.0.1", Tags: []string{"v1"}, Meta: map[string]string{"protocol": "h2"}})
	l.register(f, registry.Instance{Service: "web", ID: "2", Port: 81, Address: "fd00::1", Ports: []registry.Port{{Name: "http", Port: 81, Default: true}}})
	l.register(f, registry.Instance{Service: "alias", Port: 80, Address: "db.example"})
	l.registerMany(f, "big", 150)
	return l
}

// follows tells what is wrong with a reply, whatever the query was; nothing where
// there is none.
func follows(query, reply []byte, most int) string {
	switch {
	case reply == nil:
		return ""
	case len(query) < headerSize:
		return "half a header is answered"
	case query[2]&0x80 != 0:
		return "a reply is answered"
	case len(reply) > most:
		return "the reply is too long"
	}
	r, err := parseReply(reply)
	if err != nil {
		return err.Error()
	}
	return isReply(r, query)
}

// seed adds the cases of the conformance tests.
func seed(f *testing.F, add func(query []byte)) {
	for n, c := range wireCases() {
		if n < 60 || n%4 == 0 { // most of the others are alike
			add(c.query)
		}
	}
}

// FuzzQuery puts any octets through the pipeline, over UDP and TCP.
func FuzzQuery(f *testing.F) {
	l := fuzzed(f)
	udp, tcp := l.newWorker("udp"), l.newWorker("tcp")
	seed(f, func(query []byte) { f.Add(query) })
	f.Fuzz(func(t *testing.T, query []byte) {
		for w, most := range map[*worker]int{udp: 1232, tcp: maxTCP} {
			if wrong := follows(query, w.serve(nil, query, client), most); wrong != "" {
				t.Errorf("%s: %x", wrong, query)
			}
		}
		if l.metrics.total("udp").panics.Load()+l.metrics.total("tcp").panics.Load() > 0 {
			t.Fatalf("a panic: %x", query)
		}
	})
}

// FuzzHotPath answers each query twice, first by the ordinary path and then from
// what that has left in the cache: both must say the same, though in another order,
// of which another part may fit.
func FuzzHotPath(f *testing.F) {
	l := fuzzed(f)
	seed(f, func(query []byte) { f.Add(query) })
	f.Fuzz(func(t *testing.T, query []byte) {
		ordinary := l.newWorker("udp")
		ordinary.front = nil
		defer l.metrics.retire(ordinary.tally)
		hot := l.newWorker("udp")
		defer l.metrics.retire(hot.tally)
		first := ordinary.serve(nil, query, client)
		for range 2 {
			again := hot.serve(nil, query, client)
			if (first == nil) != (again == nil) || first != nil && (first[2]&^2 != again[2]&^2 || first[3] != again[3] || !bytes.Equal(first[4:6], again[4:6])) {
				t.Errorf("to %x\nthe one says  %x\nthe other     %x", query, first, again)
			}
		}
	})
}

// FuzzStream has any octets come in over a connection.
func FuzzStream(f *testing.F) {
	l := fuzzed(f)
	seed(f, func(query []byte) { f.Add(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)) })
	f.Add([]byte{0xff, 0xff, 0})
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, octets []byte) {
		cs := newConnections(t.Context(), l.pipeline)
		ours, theirs := net.Pipe()
		c := &connection{Conn: ours, raw: ours, all: cs, transport: "tcp", places: make(chan struct{}, streamPending)}
		cs.add(c)
		cs.handlers.Go(func() {
			defer c.Close()
			cs.serve(c)
		})
		go func() {
			_ = theirs.SetWriteDeadline(time.Now().Add(5 * time.Second))
			_, _ = theirs.Write(octets)
			cs.drain()
		}()
		stream := &dns.Conn{Conn: theirs}
		for {
			reply, err := stream.ReadMsgHeader(nil)
			if err != nil {
				break
			}
			if _, err := parseReply(reply); err != nil {
				t.Errorf("%v: %x to %x", err, reply, octets)
			}
		}
		theirs.Close()
		cs.handlers.Wait()
	})
}

// FuzzHTTPS sends any parameter and any body.
func FuzzHTTPS(f *testing.F) {
	l := fuzzed(f)
	h := &httpsHandler{pipeline: l.pipeline, workers: make(chan *worker, 1)}
	f.Cleanup(h.retire)
	seed(f, func(query []byte) {
		f.Add(true, query)
		f.Add(false, []byte("dns="+base64.RawURLEncoding.EncodeToString(query)))
	})
	f.Fuzz(func(t *testing.T, post bool, octets []byte) {
		request := httptest.NewRequest(http.MethodPost, httpsPath, bytes.NewReader(octets))
		request.Header.Set("Content-Type", httpsType)
		if !post {
			request = httptest.NewRequest(http.MethodGet, httpsPath, nil)
			request.URL.RawQuery = string(octets)
		}
		recorder := httptest.NewRecorder()
		h.ServeHTTP(recorder, request)
		if recorder.Code >= http.StatusInternalServerError {
			t.Errorf("%d to %q", recorder.Code, octets)
		}
		if recorder.Code != http.StatusOK {
			return
		}
		if _, err := parseReply(recorder.Body.Bytes()); err != nil {
			t.Errorf("%v: %x to %q", err, recorder.Body.Bytes(), octets)
		}
	})
}
