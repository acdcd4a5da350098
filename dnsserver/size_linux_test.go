package dnsserver

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// exchange sends a message over UDP, and returns the reply.
func exchange(t *testing.T, addr string, message []byte) *dns.Msg {
	t.Helper()
	octets, reply := exchangeOctets(t, addr, message), new(dns.Msg)
	if err := reply.Unpack(octets); err != nil {
		t.Fatalf("%x: %v", octets, err)
	}
	return reply
}

func exchangeOctets(t *testing.T, addr string, message []byte) []byte {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(message); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	space := make([]byte, 1<<16)
	n, err := c.Read(space)
	if err != nil {
		t.Fatal(err)
	}
	return space[:n]
}

func TestRepliesMayBeAllowedToBeLarger(t *testing.T) {
	l := newLab(t)
	l.registerMany(t, "web", 80) // of 16 octets each
	l.pipeline.udpSize = 4096
	addr := l.run(t)
	for size, whole := range map[int]bool{512: false, 1232: false, 1400: true, 4096: true, 65535: true} {
		query, _ := question("web.service.test.", dns.TypeA, size).Pack()
		reply := exchange(t, addr, query)
		if reply.Truncated == whole || whole != (len(reply.Answer) == 80) {
			t.Errorf("with room for %d octets there are %d records, TC %v", size, len(reply.Answer), reply.Truncated)
		}
		if opt := reply.IsEdns0(); opt == nil || opt.UDPSize() != 1232 {
			t.Errorf("what queries have room for is said to be %v", opt)
		}
	}
	longest := 0
	for size := 2000; size <= 0xffff; size += 1111 {
		query, _ := question("web.service.test.", dns.TypeSRV, size).Pack()
		octets := len(exchangeOctets(t, addr, query))
		if longest = max(longest, octets); octets > min(size, 4096) {
			t.Errorf("with room for %d octets a reply has %d", size, octets)
		}
	}
	t.Logf("where 4,096 octets are allowed a reply has %d at most, with room for 65,535", longest)
	if longest < 4000 {
		t.Errorf("no reply has more than %d octets", longest)
	}
}

func TestAQueryLongerThanItsRoomIsMalformed(t *testing.T) {
	l := newLab(t)
	l.registerMany(t, "web", 1)
	addr := l.run(t)
	for padding, rcode := range map[int]int{1000: dns.RcodeSuccess, 1400: dns.RcodeFormatError, 60_000: dns.RcodeFormatError} {
		m := question("web.service.test.", dns.TypeA, 1232)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, padding)}}
		query, _ := m.Pack()
		reply := exchange(t, addr, query)
		if reply.Rcode != rcode || reply.Id != m.Id || len(reply.Question) != 1 {
			t.Errorf("a query of %d octets got\n%v", len(query), reply)
		}
	}
}

// TestAReplyTooLongForTheNetworkIsCutShort sends what no network takes, between
// two replies that it does.
func TestAReplyTooLongForTheNetworkIsCutShort(t *testing.T) {
	l := newLab(t)
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := newSocket(server)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for id := range 3 {
		m := question("web.service.test.", dns.TypeA, 1232)
		m.Id = uint16(id)
		m.IsEdns0().Option = clientOptions["dig"]
		query, _ := m.Pack()
		if _, err := c.Write(query); err != nil {
			t.Fatal(err)
		}
	}
	w, b := l.newWorker("udp"), newBatch(l.datagramSize(), false)
	if n, errno := b.receive(s.fd); n != 3 {
		t.Fatalf("received %d: %v", n, errno)
	}
	record := []byte{0xc0, headerSize, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 1, 0, 1}
	for i := range 3 {
		q := &w.queries[0]
		w.read(q, b.query(i))
		w.bakes(q, client.Addr())
		reply := w.fail(q, nil, dns.RcodeSuccess)
		if i == 1 {
			reply = slices.Insert(reply, q.end, bytes.Repeat(record, 5000)...)
			binary.BigEndian.PutUint16(reply[6:], 5000)
		}
		b.reply(i, i, reply)
	}
	if err := s.send(w, b, 3); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var replies [3]int
	for range 3 { // in any order
		space := make([]byte, 4096)
		n, err := c.Read(space)
		if err != nil {
			t.Fatal(err)
		}
		reply := new(dns.Msg)
		if err := reply.Unpack(space[:n]); err != nil {
			t.Fatalf("%x: %v", space[:n], err)
		}
		opt := reply.IsEdns0()
		if replies[reply.Id]++; replies[reply.Id] > 1 || reply.Truncated != (reply.Id == 1) || len(reply.Answer) > 0 || opt == nil || len(opt.Option) != 1 {
			t.Errorf("the reply to query %d is\n%v", reply.Id, reply)
		}
	}
}
