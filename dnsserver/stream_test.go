package dnsserver

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/testdata/authority"
)

// served is a lab that serves over all transports.
type served struct {
	*lab
	tls  *tls.Config // for clients
	addr map[string]string
	http *http.Client
}

// serveAll serves a lab over all transports until the test ends.
func serveAll(t testing.TB, l *lab) *served {
	t.Helper()
	issuer := authority.New(t)
	l.server.config.TLS = &tls.Config{Certificates: []tls.Certificate{issuer.Issue("127.0.0.1").Certificate}, MinVersion: tls.VersionTLS12}
	l.server.config.TLSAddrs, l.server.config.HTTPSAddrs = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}
	s := &served{lab: l, tls: &tls.Config{RootCAs: issuer.Pool()}, addr: map[string]string{"tcp": l.run(t)}}
	s.addr["tls"], s.addr["https"] = l.server.AddrsOf("tls")[0].String(), l.server.AddrsOf("https")[0].String()
	s.http = &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls.Clone(), ForceAttemptHTTP2: true}}
	t.Cleanup(s.http.CloseIdleConnections)
	return s
}

// dial connects over TCP or TLS.
func (s *served) dial(t testing.TB, transport string) net.Conn {
	t.Helper()
	var conn net.Conn
	var err error
	if transport == "tls" {
		conn, err = tls.Dial("tcp", s.addr[transport], s.tls)
	} else {
		conn, err = net.Dial("tcp", s.addr[transport])
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// stream returns messages as a stream has them.
func stream(t testing.TB, messages ...*dns.Msg) (octets []byte) {
	t.Helper()
	for _, m := range messages {
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		octets = append(binary.BigEndian.AppendUint16(octets, uint16(len(packed))), packed...)
	}
	return octets
}

// streams runs a test over TCP and over TLS.
func streams(t *testing.T, test func(t *testing.T, transport string)) {
	for _, transport := range []string{"tcp", "tls"} {
		t.Run(transport, func(t *testing.T) { test(t, transport) })
	}
}

// closes waits until the server closes a connection, and returns how long it took.
func closes(t testing.TB, conn net.Conn, most time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	_ = conn.SetReadDeadline(start.Add(most))
	_, err := io.Copy(io.Discard, conn)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("the connection is open after %v", most)
	}
	return time.Since(start)
}

func TestALocalAnswerOvertakesAForwardedOne(t *testing.T) {
	slow := newUpstream(t, func(q dns.Question) []string {
		time.Sleep(300 * time.Millisecond)
		return []string{q.Name + " 60 IN A 203.0.113.1"}
	})
	l := newForwarding(t, slow.addr)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	s := serveAll(t, l)
	streams(t, func(t *testing.T, transport string) {
		conn := s.dial(t, transport)
		var questions []*dns.Msg
		for i := range 50 {
			name := "web.service.test."
			if i%10 == 0 {
				name = fmt.Sprintf("%s%d.example.", transport, i)
			}
			questions = append(questions, question(name, dns.TypeA, 0))
		}
		if _, err := conn.Write(stream(t, questions...)); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		stream := &dns.Conn{Conn: conn}
		for i := range 50 {
			m, err := stream.ReadMsg()
			if err != nil {
				t.Fatalf("after %d replies: %v", i, err)
			}
			if local := m.Question[0].Name == "web.service.test."; local != (i < 45) || len(m.Answer) != 1 {
				t.Fatalf("reply %d is %v", i, m)
			}
		}
		t.Log("50 queries in one write, 50 answers: 45 of ours before 5 of others")
	})
}

func TestPendingQueriesAreAnsweredAfterAHalfClose(t *testing.T) {
	slow := newUpstream(t, func(q dns.Question) []string {
		time.Sleep(100 * time.Millisecond)
		return []string{q.Name + " 60 IN A 203.0.113.1"}
	})
	s := serveAll(t, newForwarding(t, slow.addr))
	streams(t, func(t *testing.T, transport string) {
		conn := s.dial(t, transport)
		var questions []*dns.Msg
		for n := range 50 {
			questions = append(questions, question(fmt.Sprintf("%s%d.example.", transport, n), dns.TypeA, 0))
		}
		if _, err := conn.Write(stream(t, questions...)); err != nil {
			t.Fatal(err)
		}
		if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		queries, answers := 50, 0
		for range queries {
			m, err := (&dns.Conn{Conn: conn}).ReadMsg()
			if err != nil || len(m.Answer) != 1 {
				t.Fatalf("after %d answers: %v, %v", answers, m, err)
			}
			answers++
		}
		t.Logf("%d queries that wait for others, and half a close: %d answers", queries, answers)
	})
}

func TestWhoSendsSlowlyIsCutOff(t *testing.T) {
	s := serveAll(t, newLab(t))
	streams(t, func(t *testing.T, transport string) {
		t.Parallel()
		conn, drip := s.dial(t, transport), stream(t, question("web.service.test.", dns.TypeA, 0))
		go func() {
			for i := range drip {
				if _, err := conn.Write(drip[i : i+1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		took := closes(t, conn, 10*time.Second)
		t.Logf("it is cut off after %v", took.Round(100*time.Millisecond))
		if took < time.Second {
			t.Errorf("it is cut off after %v", took)
		}
	})
	t.Run("handshake", func(t *testing.T) {
		t.Parallel()
		for _, transport := range []string{"tls", "https"} {
			conn, err := net.Dial("tcp", s.addr[transport])
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			took := closes(t, conn, 10*time.Second)
			t.Logf("over %s it is cut off after %v", transport, took.Round(100*time.Millisecond))
			if took < 4*time.Second {
				t.Errorf("over %s it is cut off after %v", transport, took)
			}
		}
	})
}

func TestWhoDoesNotReadIsCutOff(t *testing.T) {
	l := newLab(t)
	l.registerMany(t, "big", 100)
	s := serveAll(t, l)
	packed := stream(t, question("big.service.test.", dns.TypeSRV, 1232))
	for transport, query := range map[string][]byte{
		"tcp": packed, "tls": packed,
		"https": []byte("GET " + httpsPath + "?dns=" + base64.RawURLEncoding.EncodeToString(packed[2:]) + " HTTP/1.1\r\nHost: a\r\n\r\n"),
	} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			var conn net.Conn
			if transport == "https" {
				var err error
				if conn, err = tls.Dial("tcp", s.addr[transport], s.tls); err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
			} else {
				conn = s.dial(t, transport)
			}
			start := time.Now()
			for last := start; ; last = time.Now() {
				_ = conn.SetWriteDeadline(last.Add(20 * time.Second))
				if _, err := conn.Write(query); err != nil {
					if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
						t.Error("it is not cut off for 20 s")
					}
					t.Logf("over %s it is cut off %v after its last query, %v in all", transport, time.Since(last).Round(100*time.Millisecond), time.Since(start).Round(100*time.Millisecond))
					if took := time.Since(start); transport != "https" && took > 6*time.Second {
						t.Errorf("it takes %v", took)
					}
					return
				}
			}
		})
	}
}

// TestClaimsOfLongQueriesTakeLittleMemory has all connections that there are places
// for claim the longest query there is, as 10,000 would that are not let in.
func TestClaimsOfLongQueriesTakeLittleMemory(t *testing.T) {
	l := newLab(t)
	cs := newConnections(t.Context(), l.pipeline)
	before := heldMemory()
	var ends []net.Conn
	for range streamTotal {
		ours, theirs := net.Pipe()
		ends = append(ends, theirs)
		c := &connection{Conn: ours, raw: ours, all: cs, transport: "tcp", places: make(chan struct{}, streamPending)}
		cs.handlers.Go(func() { cs.serve(c) })
		if _, err := theirs.Write([]byte{0xff, 0xff}); err != nil {
			t.Fatal(err)
		}
	}
	grown := max(0, heldMemory()-before)
	for _, end := range ends {
		end.Close()
	}
	cs.handlers.Wait()
	t.Logf("%d connections that claim 65,535 octets take %d kB", streamTotal, grown>>10)
	if grown > 32<<20 {
		t.Errorf("%d connections that claim 65,535 octets take %d kB", streamTotal, grown>>10)
	}
}

func TestOptionsOfStreams(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	s := serveAll(t, l)
	ask := func(transport string) (*dns.Msg, int) {
		m := question("web.service.test.", dns.TypeA, 1232)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_TCP_KEEPALIVE{}, &dns.EDNS0_PADDING{Padding: make([]byte, 40)}}
		var reply []byte
		if transport == "https" {
			reply = s.post(t, stream(t, m)[2:])
		} else {
			conn := s.dial(t, transport)
			if _, err := conn.Write(stream(t, m)); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			var err error
			if reply, err = (&dns.Conn{Conn: conn}).ReadMsgHeader(nil); err != nil {
				t.Fatal(err)
			}
		}
		answer := new(dns.Msg)
		if err := answer.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		return answer, len(reply)
	}
	for transport, want := range map[string]struct{ keepalive, padded bool }{
		"tcp": {true, false}, "tls": {true, true}, "https": {false, true},
	} {
		m, size := ask(transport)
		keepalive, padded := false, false
		for _, o := range m.IsEdns0().Option {
			switch o := o.(type) {
			case *dns.EDNS0_TCP_KEEPALIVE:
				keepalive = o.Timeout == 100
			case *dns.EDNS0_PADDING:
				padded = true
			}
		}
		if keepalive != want.keepalive || padded != want.padded || padded && size%paddingBlock != 0 {
			t.Errorf("over %s a reply of %d octets: %v", transport, size, m)
		}
	}
	if m := l.ask(t, "udp", func() *dns.Msg {
		m := question("web.service.test.", dns.TypeA, 1232)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_TCP_KEEPALIVE{}, &dns.EDNS0_PADDING{Padding: make([]byte, 40)}}
		return m
	}()); len(m.IsEdns0().Option) > 0 {
		t.Errorf("over UDP: %v", m)
	}
}

// post sends a query over HTTPS, and returns the reply.
func (s *served) post(t testing.TB, query []byte) []byte {
	t.Helper()
	response, err := s.http.Post("https://"+s.addr["https"]+httpsPath, httpsType, bytes.NewReader(query))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || response.ProtoMajor != 2 {
		t.Fatalf("%s %v: %s, %v", response.Proto, response.Status, reply, err)
	}
	return reply
}

func TestHTTPS(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	s := serveAll(t, l)
	packed, err := question("web.service.test.", dns.TypeA, 0).Pack()
	if err != nil {
		t.Fatal(err)
	}
	get, statuses := "/dns-query?dns="+base64.RawURLEncoding.EncodeToString(packed), make(map[int]int)
	defer func() { t.Logf("kinds of requests by the status of their reply: %v", statuses) }()
	for name, row := range map[string]struct {
		method, path, kind string
		body               []byte
		want               int
	}{
		"POST":                         {"POST", "/dns-query", httpsType, packed, 200},
		"GET":                          {"GET", get, "", nil, 200},
		"HEAD":                         {"HEAD", get, "", nil, 200},
		"a type in capitals":           {"POST", "/dns-query", "Application/DNS-Message; v=1", packed, 200},
		"another path":                 {"GET", "/", "", nil, 404},
		"another method":               {"PUT", "/dns-query", httpsType, packed, 405},
		"another type":                 {"POST", "/dns-query", "text/plain", packed, 415},
		"a parameter that is too long": {"GET", "/dns-query?dns=" + strings.Repeat("A", httpsText), "", nil, 414},
		"a parameter that is none":     {"GET", "/dns-query?dns=!", "", nil, 400},
		"no parameter":                 {"GET", "/dns-query", "", nil, 400},
		"a body that is too long":      {"POST", "/dns-query", httpsType, make([]byte, maxTCP+1), 413},
		"a body that is too short":     {"POST", "/dns-query", httpsType, make([]byte, 11), 400},
		"a reply":                      {"POST", "/dns-query", httpsType, append([]byte{0, 0, 0x80}, packed[3:]...), 400},
		"more records than there are":  {"POST", "/dns-query", httpsType, append([]byte{0, 0, 0, 0, 0, 1, 0xff, 0xff}, packed[8:]...), 200},
	} {
		request, err := http.NewRequest(row.method, "https://"+s.addr["https"]+row.path, bytes.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", row.kind)
		response, err := s.http.Do(request)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		statuses[response.StatusCode]++
		if response.StatusCode != row.want {
			t.Errorf("%s: %s %s", name, response.Status, body)
		}
		if row.want != http.StatusOK {
			continue
		}
		m := new(dns.Msg)
		if err := m.Unpack(body); err != nil && row.method != "HEAD" || response.Header.Get("Content-Type") != httpsType {
			t.Errorf("%s: %v: %v", name, response.Header, err)
		}
		wantAge := "max-age=5"
		if m.Rcode != dns.RcodeSuccess {
			wantAge = "max-age=0"
		}
		if response.Header.Get("Cache-Control") != wantAge {
			t.Errorf("%s: %v", name, response.Header)
		}
	}
}
