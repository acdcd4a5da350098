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

// messagesIn returns the messages in what comes over a connection, up to the first that is
// cut short or cannot be one.
func messagesIn(octets []byte) (messages [][]byte) {
	for len(octets) >= 2 {
		size := int(binary.BigEndian.Uint16(octets))
		if octets = octets[2:]; size < headerSize || size > len(octets) {
			break
		}
		messages, octets = append(messages, octets[:size]), octets[size:]
	}
	return messages
}

// FuzzStream has any octets come in over a connection.
func FuzzStream(f *testing.F) {
	l := fuzzed(f)
	seed(f, func(query []byte) { f.Add(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)) })
	f.Add([]byte{0xff, 0xff, 0})
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, octets []byte) {
		cs, said := newConnections(t.Context(), l.pipeline), &sayer{says: bytes.NewReader(octets)}
		c := &connection{Conn: said, raw: said, all: cs, transport: "tcp", places: make(chan struct{}, streamPending)}
		cs.add(c)
		cs.serve(c)
		c.Close()
		replies := messagesIn(said.heard.Bytes())
		// They come in the order of the queries, of which those that are replies have none.
		for _, query := range messagesIn(octets) {
			if query[2]&0x80 != 0 {
				continue
			}
			if len(replies) == 0 {
				t.Fatalf("no reply to %x", query)
			}
			if wrong := follows(query, replies[0], maxTCP); wrong != "" {
				t.Errorf("%s: %x to %x", wrong, replies[0], query)
			}
			replies = replies[1:]
		}
		if len(replies) > 0 {
			t.Errorf("a reply to nothing: %x to %x", replies[0], octets)
		}
	})
}

// sayer is the end of a connection whose client says something and closes its half.
type sayer struct {
	net.Conn // nil
	says     *bytes.Reader
	heard    bytes.Buffer
}

func (s *sayer) Read(b []byte) (int, error)       { return s.says.Read(b) }
func (s *sayer) Write(b []byte) (int, error)      { return s.heard.Write(b) }
func (s *sayer) Close() error                     { return nil }
func (s *sayer) SetReadDeadline(time.Time) error  { return nil }
func (s *sayer) SetWriteDeadline(time.Time) error { return nil }

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
		query := octets
		if !post {
			query, _ = base64.RawURLEncoding.DecodeString(request.URL.Query().Get("dns"))
		}
		if wrong := follows(query, recorder.Body.Bytes(), maxTCP); wrong != "" {
			t.Errorf("%s: %x to %x", wrong, recorder.Body.Bytes(), query)
		}
	})
}
