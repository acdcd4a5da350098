package dnsserver

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// The tests of this file put figures on what connections may take: time, places
// and memory.

// TestALocalAnswerDoesNotWait asks for local names one after the other, on a
// connection on which others wait for 2 s.
func TestALocalAnswerDoesNotWait(t *testing.T) {
	ended := make(chan struct{})
	slow := newUpstream(t, func(q dns.Question) []string {
		select {
		case <-time.After(2 * time.Second):
		case <-ended:
		}
		return []string{q.Name + " 60 IN A 203.0.113.1"}
	})
	t.Cleanup(func() { close(ended) }) // before the upstream's own
	l := newForwarding(t, slow.addr)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	s := serveAll(t, l)
	streams(t, func(t *testing.T, transport string) {
		conn := s.dial(t, transport)
		for i := range 50 {
			if _, err := conn.Write(stream(t, question(fmt.Sprintf("%s%d.example.", transport, i), dns.TypeA, 0))); err != nil {
				t.Fatal(err)
			}
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		took, stream, local := []time.Duration(nil), &dns.Conn{Conn: conn}, question("web.service.test.", dns.TypeA, 0)
		for range 200 {
			start := time.Now()
			if err := stream.WriteMsg(local); err != nil {
				t.Fatal(err)
			}
			m, err := stream.ReadMsg()
			if err != nil || m.Question[0].Name != local.Question[0].Name {
				t.Fatalf("%v, %v", m, err)
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		t.Logf("behind 50 that wait for 2 s a local answer takes %v at the median, %v at the 99th percentile", took[100], took[198])
		if took[100] > 10*time.Millisecond {
			t.Errorf("a local answer takes %v", took[100])
		}
	})
}

// TestIdleConnectionsAreClosed has connections wait, and looks when each is closed,
// by a clock that is the test's own.
func TestIdleConnectionsAreClosed(t *testing.T) {
	l := newLab(t)
	for others, want := range map[int]time.Duration{0: streamIdle, streamTotal / 2: streamIdle / 5} {
		synctest.Test(t, func(t *testing.T) {
			cs := newConnections(t.Context(), l.pipeline)
			for n := range others {
				cs.open[&connection{peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 1)}] = struct{}{}
			}
			ours, theirs := net.Pipe()
			c := &connection{Conn: ours, raw: ours, all: cs, transport: "tcp", places: make(chan struct{}, streamPending)}
			if !cs.add(c) {
				t.Fatal("there is no place")
			}
			start := time.Now()
			cs.handlers.Go(func() { defer c.Close(); cs.serve(c) })
			took := closes(t, theirs, time.Minute)
			cs.handlers.Wait()
			theirs.Close()
			t.Logf("among %d others an idle connection is closed after %v", others, time.Since(start))
			if took != want {
				t.Errorf("among %d others an idle connection is closed after %v", others, took)
			}
		})
	}
}

// dialFrom connects from an address of loopback, and asks once: only a connection
// that was answered is known to be counted.
func dialFrom(t *testing.T, n int, addr string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 2, byte(n>>8), byte(n))}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, asked(conn)
}

// asked asks on a connection.
func asked(conn net.Conn) error {
	query := asks(apex, dns.TypeSOA)
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := (&dns.Conn{Conn: conn}).ReadMsgHeader(nil)
	return err
}

// TestTheOldestIdleConnectionMakesRoom opens one connection more than there may be,
// from as many addresses as it takes.
func TestTheOldestIdleConnectionMakesRoom(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere than on Linux loopback has one address")
	}
	addr := newLab(t).run(t)
	var conns []net.Conn
	for n := range streamTotal {
		conn, err := dialFrom(t, n/streamPerClient, addr)
		if err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
		conns = append(conns, conn)
		if n == 500 && asked(conns[0]) != nil { // so that the second one is the oldest
			t.Fatal("a connection is closed while there is room")
		}
	}
	last, err := dialFrom(t, streamTotal/streamPerClient, addr)
	if err != nil || asked(last) != nil {
		t.Fatalf("one connection more gets no answer: %v", err)
	}
	if err := asked(conns[1]); err == nil {
		t.Error("the connection that has waited for the longest is still open")
	}
	if asked(conns[0]) != nil || asked(conns[2]) != nil {
		t.Error("another than the one that has waited for the longest was closed")
	}
	t.Logf("%d connections, %d from each address; the next one gets the place of the one that has waited for the longest", len(conns), streamPerClient)
}

func TestOfOneAddressTheOldestIdleConnectionMakesRoom(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere than on Linux loopback has one address")
	}
	addr := newLab(t).run(t)
	var conns []net.Conn
	for range streamPerClient + 1 {
		conn, err := dialFrom(t, 1, addr)
		if err != nil {
			t.Fatalf("connection %d: %v", len(conns), err)
		}
		conns = append(conns, conn)
	}
	if asked(conns[0]) == nil {
		t.Error("the connection that has waited for the longest is still open")
	}
	others := 0
	for n, conn := range conns[1:] {
		if err := asked(conn); err != nil {
			t.Errorf("connection %d was closed as well: %v", n+1, err)
		} else {
			others++
		}
	}
	t.Logf("of %d connections of one address the oldest was closed, and %d are open", len(conns), others)
}

// TestWhoHasJustComeMakesNoRoom fills all places but one with connections that are in
// the middle of a handshake, and the last one with one that is about to ask.
func TestWhoHasJustComeMakesNoRoom(t *testing.T) {
	l := newLab(t)
	synctest.Test(t, func(t *testing.T) {
		cs := newConnections(t.Context(), l.pipeline)
		come := func(n int) (*connection, net.Conn) {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { ours.Close(); theirs.Close() })
			peer := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 1)
			c := &connection{Conn: ours, raw: ours, all: cs, peer: peer, transport: "tcp", places: make(chan struct{}, streamPending)}
			if !cs.add(c) {
				t.Fatal("there is no place")
			}
			return c, theirs
		}
		for n := range streamTotal - 1 {
			come(n)
		}
		time.Sleep(100 * time.Millisecond)
		c, conn := come(streamTotal)
		cs.handlers.Go(func() { defer c.Close(); cs.serve(c) })
		synctest.Wait() // until it waits for a query
		come(streamTotal + 1)
		if err := asked(conn); err != nil {
			t.Errorf("who was about to ask had to go: %v", err)
		}
		conn.Close()
		cs.handlers.Wait()
	})
}

// TestWhoIsInTheMiddleOfAQueryMakesRoom takes all places with connections that begin
// a query, or a handshake, and do not go on: others are let in nonetheless.
func TestWhoIsInTheMiddleOfAQueryMakesRoom(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere than on Linux loopback has one address")
	}
	for transport, octets := range map[string][]byte{"tcp": {0xff, 0xff}, "tls": nil, "https": nil} {
		s := serveAll(t, newLab(t))
		for n := range streamTotal + streamPerClient {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 3, byte(n/streamPerClient), 1)}}
			conn, err := d.Dial("tcp", s.addr[transport])
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = conn.Write(octets)
		}
		start := time.Now()
		for n := range 10 {
			if _, err := dialFrom(t, n, s.addr["tcp"]); err != nil {
				t.Fatalf("%d connections that do not go on over %s keep others out: %v", streamTotal, transport, err)
			}
		}
		t.Logf("%d connections over %s that do not go on: 10 others were answered after %v", streamTotal, transport, time.Since(start))
	}
}

// TestWhoDoesNotReadMakesRoom takes all places that one address has with connections
// that ask, and leave the reply where it is.
func TestWhoDoesNotReadMakesRoom(t *testing.T) {
	l := newLab(t)
	synctest.Test(t, func(t *testing.T) {
		cs := newConnections(t.Context(), l.pipeline)
		come := func() (c *connection, theirs net.Conn) {
			ours, theirs := net.Pipe()
			return &connection{Conn: ours, raw: ours, all: cs, peer: client, transport: "tcp", places: make(chan struct{}, streamPending)}, theirs
		}
		for range streamPerClient {
			c, conn := come()
			if !cs.add(c) {
				t.Fatal("there is no place")
			}
			cs.handlers.Go(func() { defer c.Close(); cs.serve(c) })
			if _, err := conn.Write(stream(t, question(apex, dns.TypeSOA, 0))); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // until all replies wait to be read
		if c, _ := come(); !cs.add(c) {
			t.Errorf("%d that do not read keep others out", streamPerClient)
		}
		cs.handlers.Wait() // for as long as a reply is given
	})
}

// halfRequests begin a request over HTTPS each and do not go on. They return when the
// server has come to where it stops.
var halfRequests = map[string]func(conn net.Conn) error{
	"a body": func(conn net.Conn) error {
		if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: 400\r\nExpect: 100-continue\r\n\r\n", httpsPath, httpsType); err != nil {
			return err
		}
		proceed := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n")) // comes when the body is waited for
		if _, err := io.ReadFull(conn, proceed); err != nil {
			return err
		}
		_, err := conn.Write([]byte{0, 0})
		return err
	},
	"a body, HTTP/2": func(conn net.Conn) error {
		header := requestHTTP2("content-type", httpsType, "expect", "100-continue")
		return untilHTTP2(conn, frameHeaders, append(startHTTP2(), frameHTTP2(frameHeaders, endHeaders, 1, header...)...))
	},
	"a header, HTTP/2": func(conn net.Conn) error {
		return untilHTTP2(conn, frameSettings, append(startHTTP2(), frameHTTP2(frameHeaders, 0, 1, requestHTTP2()...)...))
	},
	"nothing, HTTP/2": func(conn net.Conn) error { return untilHTTP2(conn, frameSettings, startHTTP2()) },
}

// untilHTTP2 writes frames, and reads until one of a kind comes.
func untilHTTP2(conn net.Conn, want byte, frames []byte) error {
	if _, err := conn.Write(frames); err != nil {
		return err
	}
	for {
		if kind, _, _, _, err := readHTTP2(conn); err != nil || kind == want {
			return err
		}
	}
}

// dialHTTPS connects over TLS, for HTTP of one version.
func (s *served) dialHTTPS(t *testing.T, from net.IP, version string) net.Conn {
	t.Helper()
	config := s.tls.Clone()
	config.NextProtos = []string{version}
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	conn, err := tls.DialWithDialer(d, "tcp", s.addr["https"], config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

// TestWhoIsInTheMiddleOfARequestMakesRoom takes all places that one address has with
// requests over HTTPS that do not go on.
func TestWhoIsInTheMiddleOfARequestMakesRoom(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere than on Linux loopback has one address")
	}
	for name, begin := range halfRequests {
		s, from := serveAll(t, newLab(t)), net.IPv4(127, 2, 0, 0) // that of dialFrom
		version := "http/1.1"
		if strings.HasSuffix(name, "HTTP/2") {
			version = "h2"
		}
		for range streamPerClient {
			if err := begin(s.dialHTTPS(t, from, version)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		start := time.Now()
		for range 10 {
			if _, err := dialFrom(t, 0, s.addr["tcp"]); err != nil {
				t.Fatalf("%s: %d connections that do not go on keep others out: %v", name, streamPerClient, err)
			}
		}
		t.Logf("%s: %d connections that do not go on: 10 others were answered after %v", name, streamPerClient, time.Since(start))
	}
}

// TestWhoHasAskedOverHTTPSMakesNoRoom has the oldest connection wait for a name of
// others, among many that are in the middle of a request.
func TestWhoHasAskedOverHTTPSMakesNoRoom(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere than on Linux loopback has one address")
	}
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	slow := newUpstream(t, func(q dns.Question) []string {
		asked <- struct{}{}
		<-answer
		return []string{q.Name + " 60 IN A 203.0.113.1"}
	})
	release := sync.OnceFunc(func() { close(answer) })
	t.Cleanup(release) // before the upstream's own
	s := serveAll(t, newForwarding(t, slow.addr))
	from, query := net.IPv4(127, 2, 0, 0), stream(t, question("www.example.", dns.TypeA, 0))[2:]
	patient := s.dialHTTPS(t, from, "http/1.1")
	if _, err := fmt.Fprintf(patient, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", httpsPath, httpsType, len(query), query); err != nil {
		t.Fatal(err)
	}
	<-asked
	for range streamPerClient {
		if err := halfRequests["a body"](s.dialHTTPS(t, from, "http/1.1")); err != nil {
			t.Fatal(err)
		}
	}
	release()
	response, err := http.ReadResponse(bufio.NewReader(patient), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("who waits for others had to go: %v, %v", response, err)
	}
	response.Body.Close()
}

// TestWhoDoesNotReadTakesLittleMemory measures what waits for clients that ask and
// ask, and read nothing: with the server, and with the kernel on its behalf.
func TestWhoDoesNotReadTakesLittleMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what waits in a connection is asked of Linux")
	}
	const clients = 40
	l := newLab(t)
	l.registerMany(t, "big", 100)
	s := serveAll(t, l)
	port := s.server.Addrs()[0].Port()
	query := stream(t, question("big.service.test.", dns.TypeSRV, 1232))
	before := heldMemory()
	var writers sync.WaitGroup
	for range clients {
		conn := s.dial(t, "tcp").(*net.TCPConn)
		_ = conn.SetReadBuffer(4 << 10)
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second)) // less than the server's patience
		writers.Go(func() {
			for range 2000 {
				if _, err := conn.Write(query); err != nil {
					return
				}
			}
		})
	}
	writers.Wait()
	heap := max(0, heldMemory()-before) / clients
	most, n := waitingOctets(t, port)
	t.Logf("of %d that do not read, %d are still there; each has %d kB of memory, and at most %d kB wait with the kernel", clients, n, heap>>10, most>>10)
	if n == 0 || heap+most > 256<<10 {
		t.Errorf("who does not read takes %d kB and %d kB", heap>>10, most>>10)
	}
}

// heldMemory returns how much memory is held, when what nobody needs any more was
// collected: twice, as pools keep theirs for a collection longer.
func heldMemory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// waitingOctets returns how many octets the kernel keeps for a connection of the
// server, at most, and of how many connections.
func waitingOctets(t *testing.T, port uint16) (most int64, connections int) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) || fields[3] != "01" {
			continue
		}
		connections++
		out, in, _ := strings.Cut(fields[4], ":")
		sum := int64(0)
		for _, queue := range []string{out, in} {
			octets, err := strconv.ParseInt(queue, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += octets
		}
		most = max(most, sum)
	}
	return most, connections
}

// TestNonsenseEndsAConnectionAndNothingElse puts what is no message, or half of one,
// into connections.
func TestNonsenseEndsAConnectionAndNothingElse(t *testing.T) {
	s := serveAll(t, newConformer(t))
	noise := make([]byte, 4096)
	_, _ = rand.Read(noise)
	whole := stream(t, question(apex, dns.TypeSOA, 0))
	tried := 0
	for name, octets := range map[string][]byte{
		"nothing": {}, "half a length": {0}, "a length of 0": {0, 0}, "a length of 11": append([]byte{0, 11}, whole[2:13]...), "a query that is cut": whole[:20],
		"zeros": make([]byte, 4096), "noise": noise, "HTTP": []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "TLS": {22, 3, 1, 0, 200, 1, 0},
		"a length of 65,535 and noise": append([]byte{0xff, 0xff}, noise...),
	} {
		for _, transport := range []string{"tcp", "tls", "tls without TLS", "https"} {
			var conn net.Conn
			switch transport {
			case "tcp", "tls":
				conn = s.dial(t, transport)
			default:
				var err error
				if conn, err = net.Dial("tcp", s.addr[strings.TrimSuffix(transport, " without TLS")]); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
			}
			tried++
			_, _ = conn.Write(octets)
			if end, ok := conn.(interface{ CloseWrite() error }); ok {
				_ = end.CloseWrite()
			}
			if took := closes(t, conn, 10*time.Second); took > streamRead+5*time.Second {
				t.Errorf("%s over %s: it is closed after %v", name, transport, took)
			}
			if err := asked(s.dial(t, "tcp")); err != nil {
				t.Errorf("after %s over %s: %v", name, transport, err)
			}
		}
	}
	t.Logf("%d connections with nonsense were closed, and a query after each was answered", tried)
}

// TestSlowRequestsOverHTTPSAreCutOff sends a header, and a body, an octet a second.
func TestSlowRequestsOverHTTPSAreCutOff(t *testing.T) {
	s := serveAll(t, newLab(t))
	for name, quick := range map[string]string{
		"a header": "POST /dns-query HTTP/1.1\r\n",
		"a body":   "POST /dns-query HTTP/1.1\r\nHost: a\r\nContent-Type: application/dns-message\r\nContent-Length: 400\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := tls.Dial("tcp", s.addr["https"], s.tls)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			over := make(chan struct{})
			var writer sync.WaitGroup
			writer.Go(func() {
				_, err := conn.Write([]byte(quick))
				for err == nil {
					select {
					case <-over:
						return
					case <-time.After(time.Second):
						_, err = conn.Write([]byte("a"))
					}
				}
			})
			took := closes(t, conn, 20*time.Second)
			close(over)
			writer.Wait()
			t.Logf("%s that comes slowly is cut off after %v", name, took.Round(100*time.Millisecond))
			if took > 12*time.Second {
				t.Errorf("%s that comes slowly is cut off after %v", name, took)
			}
		})
	}
}

// TestTLSIsOfThisCentury tries older versions than TLS 1.2.
func TestTLSIsOfThisCentury(t *testing.T) {
	s := serveAll(t, newLab(t))
	for _, transport := range []string{"tls", "https"} {
		for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
			config := s.tls.Clone()
			config.MinVersion, config.MaxVersion = version, version
			conn, err := tls.Dial("tcp", s.addr[transport], config)
			if err == nil {
				conn.Close()
			}
			t.Logf("over %s: %s: %v", transport, tls.VersionName(version), cmp.Or(err, errors.New("taken")))
			if (err == nil) != want {
				t.Errorf("over %s: %s: %v", transport, tls.VersionName(version), err)
			}
		}
	}
}

// HTTP/2 by hand (RFC 9113), for what no client does.
const (
	frameHeaders, frameReset, frameSettings, frameGoAway = 1, 3, 4, 7

	endHeaders = 4 // a flag of frameHeaders
)

func frameHTTP2(kind, flags byte, stream uint32, payload ...byte) []byte {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(head, stream), payload...)
}

// readHTTP2 reads a frame.
func readHTTP2(conn net.Conn) (kind, flags byte, stream uint32, payload []byte, err error) {
	head := make([]byte, 9)
	if _, err := io.ReadFull(conn, head); err != nil {
		return 0, 0, 0, nil, err
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(conn, payload)
	return head[3], head[4], binary.BigEndian.Uint32(head[5:]), payload, err
}

// startHTTP2 returns what a client begins with.
func startHTTP2() []byte {
	return append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frameHTTP2(frameSettings, 0, 0)...)
}

// requestHTTP2 returns the header of a request (RFC 7541, appendix A): POST, https,
// :path /dns-query, :authority a, and further fields by their number there.
func requestHTTP2(fields ...string) []byte {
	request := slices.Concat([]byte{0x83, 0x87, 0x04, byte(len(httpsPath))}, []byte(httpsPath), []byte{0x01, 1, 'a'})
	for n := 0; n+1 < len(fields); n += 2 {
		number, value := map[string]byte{"content-type": 31, "expect": 35}[fields[n]], fields[n+1]
		request = append(append(request, 0x0f, number-15, byte(len(value))), value...)
	}
	return request
}

// TestAConnectionHasAHundredRequestsAtOnce speaks HTTP/2 by hand: it begins requests
// and ends none of them.
func TestAConnectionHasAHundredRequestsAtOnce(t *testing.T) {
	s := serveAll(t, newLab(t))
	config := s.tls.Clone()
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", s.addr["https"], config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begin := startHTTP2()
	for n := range httpsAtOnce + 1 {
		begin = append(begin, frameHTTP2(frameHeaders, endHeaders, uint32(2*n+1), requestHTTP2()...)...)
	}
	if _, err := conn.Write(begin); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	allowed := uint32(0)
	for {
		kind, flags, stream, payload, err := readHTTP2(conn)
		if err != nil {
			t.Fatalf("%d requests at once are not refused: %v", httpsAtOnce+1, err)
		}
		switch {
		case kind == frameSettings && flags == 0:
			for at := 0; at+6 <= len(payload); at += 6 {
				if binary.BigEndian.Uint16(payload[at:]) == 3 { // SETTINGS_MAX_CONCURRENT_STREAMS
					allowed = binary.BigEndian.Uint32(payload[at+2:])
				}
			}
		case kind == frameReset && stream == 2*httpsAtOnce+1, kind == frameGoAway:
			t.Logf("a connection may have %d requests at once, and the next one is refused", allowed)
			if allowed != httpsAtOnce {
				t.Errorf("the server says that a connection may have %d requests at once", allowed)
			}
			return
		}
	}
}

// TestTheParameterOfARequestIsBoundedBeforeItIsRead asks with one that is as long as
// it may be, and one that is an octet longer.
func TestTheParameterOfARequestIsBoundedBeforeItIsRead(t *testing.T) {
	s := serveAll(t, newLab(t))
	for octets, want := range map[int]int{httpsText: 400, httpsText + 1: 414} {
		response, err := s.http.Get("https://" + s.addr["https"] + httpsPath + "?dns=" + string(bytes.Repeat([]byte("!"), octets-len("dns="))))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		t.Logf("a parameter of %d octets that is no base64: %s", octets, response.Status)
		if response.StatusCode != want {
			t.Errorf("%d octets: %s", octets, response.Status)
		}
	}
}
