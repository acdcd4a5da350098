package dnsserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/registry"
)

// TestPortableUDP holds the socket loop of other systems to the octets of this
// one's, for the question of every golden answer of package zones: as it is, with
// EDNS, and with what else a client may put there. The order of the records,
// which moves on with each reply, is no matter.
func TestPortableUDP(t *testing.T) {
	l := newLabOf(t, "consul.", "test-domain.")
	l.registerMany(t, "web", 3)
	l.register(t, registry.Instance{Service: "db", Tags: []string{"primary", "v1"}, Port: 12345, Address: "127.0.0.2", Meta: map[string]string{"k": "v"}})
	l.register(t, registry.Instance{Service: "api", Port: 1, Address: "www.example"})
	portable, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- l.servePortable(context.Background(), portable) }()
	var conns []net.Conn
	for _, addr := range []string{portable.LocalAddr().String(), l.run(t)} {
		c, err := net.Dial("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for _, query := range goldenQueries(t) {
		var replies [2][]byte
		for i, c := range conns {
			if _, err := c.Write(query); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			reply := make([]byte, cache.UDPSize+1)
			n, err := c.Read(reply)
			if err != nil {
				t.Fatalf("%x: %v", query, err)
			}
			replies[i] = withoutCookie(sorted(reply[:n]))
		}
		if !bytes.Equal(replies[0], replies[1]) {
			t.Errorf("%x: the portable loop says\n%x\nand the other\n%x", query, replies[0], replies[1])
		}
	}
	_ = portable.SetReadDeadline(time.Now())
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_ = portable.Close()
}

// goldenQueries returns messages that ask each question of package zones' golden
// answers.
func goldenQueries(t *testing.T) (queries [][]byte) {
	t.Helper()
	content, err := os.ReadFile("../zones/testdata/questions.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		name, qtype, _ := strings.Cut(strings.TrimSpace(line), " ")
		for kind := range 3 {
			m := question(name, dns.StringToType[qtype], 0)
			m.Id = uint16(len(queries))
			switch kind {
			case 1:
				m.SetEdns0(1232, true)
			case 2:
				m.CheckingDisabled, m.RecursionDesired = true, false
				m.SetEdns0(4096, false).IsEdns0().Option = clientOptions["dig"]
			}
			query, err := m.Pack()
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			queries = append(queries, query)
		}
	}
	if len(queries) < 300 {
		t.Fatalf("only %d queries", len(queries))
	}
	return queries
}

// withoutCookie clears what the server has put behind dig's cookie, which has the
// time in it.
func withoutCookie(reply []byte) []byte {
	if _, behind, ok := bytes.Cut(reply, []byte{0, optionCookie, 0, clientCookie + serverCookie}); ok {
		clear(behind[clientCookie : clientCookie+serverCookie])
	}
	return reply
}

// sorted brings the records of each section of a reply into one order.
func sorted(reply []byte) []byte {
	q := query{msg: reply, hops: maxHops}
	q.readQuestion()
	at, out := q.end, slices.Clone(reply[:q.end])
	for section := 6; section < headerSize; section += 2 {
		var records []string
		for range binary.BigEndian.Uint16(reply[section:]) {
			end, ok := q.skipRecord(at)
			if !ok {
				return reply
			}
			records = append(records, string(reply[at:end]))
			at = end
		}
		slices.Sort(records)
		out = append(out, strings.Join(records, "")...)
	}
	return append(out, reply[at:]...)
}

func TestTheServerEndsWhileQueriesCome(t *testing.T) {
	l := newLab(t)
	stop, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { // after the server has ended
		close(stop)
		<-ended
	})
	conn, err := net.Dial("udp", l.run(t))
	if err != nil {
		t.Fatal(err)
	}
	query, _ := question("test.", dns.TypeSOA, 0).Pack()
	go func() {
		defer close(ended)
		defer conn.Close()
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = conn.Write(query) // refused, once nobody listens
			}
		}
	}()
	if _, err := conn.Read(make([]byte, 512)); err != nil {
		t.Error(err)
	}
}
