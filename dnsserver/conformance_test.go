package dnsserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/registry"
)

// The cases of the files conformance_*_test.go are queries as octets, and what the
// RFCs want of the reply. TestConformance puts each over every transport.

// wireCase is one of them.
type wireCase struct {
	name   string // with the RFC that it is from
	query  []byte
	wants  expectation
	only   string // a transport; empty: all of them
	silent bool   // there must be no reply
}

// expectation says what is wrong with a reply, or nothing.
type expectation func(r *wireReply, query []byte) string

// all is what several expectations want.
func all(wants ...expectation) expectation {
	return func(r *wireReply, query []byte) string {
		for _, want := range wants {
			if wrong := want(r, query); wrong != "" {
				return wrong
			}
		}
		return ""
	}
}

func rcode(code int) expectation {
	return func(r *wireReply, _ []byte) string {
		if r.rcode() != code {
			return fmt.Sprintf("the code is %s and not %s", dns.RcodeToString[r.rcode()], dns.RcodeToString[code])
		}
		return ""
	}
}

func counts(answer, ns int) expectation {
	return func(r *wireReply, _ []byte) string {
		if len(r.answer) != answer || len(r.ns) != ns {
			return fmt.Sprintf("there are %d answers and %d authorities, not %d and %d", len(r.answer), len(r.ns), answer, ns)
		}
		return ""
	}
}

func sets(bits uint16) expectation {
	return func(r *wireReply, _ []byte) string {
		if r.flags&bits != bits {
			return fmt.Sprintf("the flags are %#04x, without all of %#04x", r.flags, bits)
		}
		return ""
	}
}

func clears(bits uint16) expectation {
	return func(r *wireReply, _ []byte) string {
		if r.flags&bits != 0 {
			return fmt.Sprintf("the flags are %#04x, with some of %#04x", r.flags, bits)
		}
		return ""
	}
}

func hasOPT(has bool) expectation {
	return func(r *wireReply, _ []byte) string {
		if has != (r.opt != nil) {
			return fmt.Sprintf("it has OPT: %v", !has)
		}
		return ""
	}
}

// noOption wants none of these options, or none at all.
func noOption(codes ...uint16) expectation {
	return func(r *wireReply, _ []byte) string {
		for code := range r.options() {
			for _, c := range codes {
				if c == code {
					return fmt.Sprintf("the option %d is in it", code)
				}
			}
		}
		return ""
	}
}

// isReply is what is wanted of each reply (RFC 1035, RFC 6891).
func isReply(r *wireReply, query []byte) string {
	switch opcode := r.flags >> 11 & 0xf; {
	case !r.has(flagQR):
		return "it is a query"
	case r.id != binary.BigEndian.Uint16(query):
		return "it has another id"
	case opcode != uint16(query[2]>>3&0xf):
		return "it has another opcode"
	case r.has(flagZ):
		return "Z is set (RFC 1035, 4.1.1)"
	case r.has(flagAD):
		return "AD is set, and nothing was validated (RFC 4035, 3.1.6)"
	case r.has(flagRD) != (query[2]&1 != 0):
		return "RD is another (RFC 1035, 4.1.1)"
	case r.question != nil && !bytes.HasPrefix(query[headerSize:], r.question):
		return "the question is another, or in another case"
	case r.opt != nil && r.opt.ttl&0x3fff != 0:
		return "flags of OPT are set that mean nothing (RFC 6891, 6.1.4)"
	case r.question == nil && r.rcode() != dns.RcodeFormatError && r.rcode() != dns.RcodeNotImplemented:
		return "the question is not there"
	case r.opt != nil && byte(r.opt.ttl>>16) != 0:
		return "OPT has another version than 0"
	}
	return ""
}

// nodata and nxdomain are what RFC 2308 wants where there is nothing.
var (
	nodata   = all(rcode(dns.RcodeSuccess), counts(0, 1), sets(flagAA), negativeSOA)
	nxdomain = all(rcode(dns.RcodeNameError), counts(0, 1), sets(flagAA), negativeSOA)
	refuses  = all(rcode(dns.RcodeRefused), counts(0, 0), clears(flagAA))
	formerr  = all(rcode(dns.RcodeFormatError), counts(0, 0), clears(flagAA))
	notimp   = all(rcode(dns.RcodeNotImplemented), counts(0, 0), clears(flagAA))
)

// negativeSOA wants the SOA of the apex, whose TTL is its minimum here, which is the
// lesser of the two (RFC 2308, 5).
func negativeSOA(r *wireReply, _ []byte) string {
	soa := r.ns[0]
	if soa.rrtype != dns.TypeSOA || soa.name != "\x04test\x00" {
		return fmt.Sprintf("the authority is %q %d", soa.name, soa.rrtype)
	}
	if minimum := binary.BigEndian.Uint32(soa.data[len(soa.data)-4:]); soa.ttl != minimum {
		return fmt.Sprintf("the TTL %d is not the minimum %d", soa.ttl, minimum)
	}
	return ""
}

// asks returns a query for a name and a type, changed by edits.
func asks(name string, qtype uint16, edits ...func([]byte) []byte) []byte {
	query := append(make([]byte, headerSize), wireName(name)...)
	query = append(query, byte(qtype>>8), byte(qtype), 0, dns.ClassINET)
	query[0], query[1], query[5] = 0x12, 0x34, 1
	for _, edit := range edits {
		query = edit(query)
	}
	return query
}

func wireName(name string) []byte {
	space := make([]byte, 256)
	n, err := dns.PackDomainName(name, space, 0, nil, false)
	if err != nil {
		panic(err)
	}
	return space[:n]
}

func withFlags(bits uint16) func([]byte) []byte {
	return func(query []byte) []byte {
		binary.BigEndian.PutUint16(query[2:], binary.BigEndian.Uint16(query[2:])|bits)
		return query
	}
}

func withOpcode(opcode int) func([]byte) []byte { return withFlags(uint16(opcode) << 11) }

func withClass(class uint16) func([]byte) []byte {
	return func(query []byte) []byte {
		binary.BigEndian.PutUint16(query[len(query)-2:], class)
		return query
	}
}

// withCount sets one of the counts: 0 of the questions, to 3 of the additional records.
func withCount(section int, n uint16) func([]byte) []byte {
	return func(query []byte) []byte {
		binary.BigEndian.PutUint16(query[4+2*section:], n)
		return query
	}
}

// withOPT adds an OPT record with these octets as options.
func withOPT(size uint16, version byte, flags uint16, options ...byte) func([]byte) []byte {
	return func(query []byte) []byte {
		query[11]++
		query = append(query, 0, 0, 41, byte(size>>8), byte(size), 0, version, byte(flags>>8), byte(flags))
		return append(binary.BigEndian.AppendUint16(query, uint16(len(options))), options...)
	}
}

// option returns an option of OPT.
func option(code uint16, content ...byte) []byte {
	return append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, code), uint16(len(content))), content...)
}

func withOctets(octets ...byte) func([]byte) []byte {
	return func(query []byte) []byte { return append(query, octets...) }
}

// wireTransport is a way to put a query.
type wireTransport struct {
	name string
	ask  func(query []byte) (reply []byte, err error) // no reply: nil
	most int                                          // octets of a reply
}

// wireTransports serves a lab over all of them.
func wireTransports(t *testing.T, l *lab) []wireTransport {
	s := serveAll(t, l)
	portable, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- l.servePortable(t.Context(), portable) }()
	t.Cleanup(func() {
		_ = portable.SetReadDeadline(time.Now())
		<-ended
		portable.Close()
	})
	return []wireTransport{
		{"udp", overUDP(t, s.addr["tcp"]), cache.UDPSize},
		{"udp, one by one", overUDP(t, portable.LocalAddr().String()), cache.UDPSize},
		{"tcp", overStream(t, s, "tcp"), maxTCP},
		{"tls", overStream(t, s, "tls"), maxTCP},
		{"https", func(query []byte) ([]byte, error) {
			response, err := s.http.Post("https://"+s.addr["https"]+httpsPath, httpsType, bytes.NewReader(query))
			if err != nil {
				return nil, err
			}
			defer response.Body.Close()
			reply, err := io.ReadAll(response.Body)
			if response.StatusCode == http.StatusBadRequest {
				return nil, err
			}
			return reply, err
		}, maxTCP},
	}
}

// overUDP asks from a socket. That there is no reply is known by the reply to
// another query, put behind the first: the same socket of the server answers both,
// one after the other.
func overUDP(t *testing.T, addr string) func([]byte) ([]byte, error) {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	last := asks("test.", dns.TypeSOA)
	last[0], last[1] = 0xff, 0xfe
	return func(query []byte) (reply []byte, err error) {
		for _, q := range [][]byte{query, last} {
			if _, err := conn.Write(q); err != nil {
				return nil, err
			}
		}
		buffer := make([]byte, maxTCP)
		for {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, err := conn.Read(buffer)
			if err != nil {
				return reply, err
			}
			if n > 1 && buffer[0] == 0xff && buffer[1] == 0xfe {
				return reply, nil
			}
			reply = append([]byte(nil), buffer[:n]...)
		}
	}
}

// overStream asks over a connection of its own. No reply is the end of it, or the
// reply to another query.
func overStream(t *testing.T, s *served, transport string) func([]byte) ([]byte, error) {
	return func(query []byte) (reply []byte, err error) {
		conn := s.dial(t, transport)
		defer conn.Close()
		last := asks("test.", dns.TypeSOA)
		last[0], last[1] = 0xff, 0xfe
		var octets []byte
		for _, q := range [][]byte{query, last} {
			octets = append(binary.BigEndian.AppendUint16(octets, uint16(len(q))), q...)
		}
		if _, err := conn.Write(octets); err != nil {
			return nil, err
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		stream := &dns.Conn{Conn: conn}
		for {
			octets, err := stream.ReadMsgHeader(nil)
			if errors.Is(err, io.EOF) || reset(err) {
				return reply, nil
			}
			if err != nil || octets[0] == 0xff && octets[1] == 0xfe {
				return reply, err
			}
			reply = octets
		}
	}
}

func reset(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "reset") || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed))
}

// newConformer returns a lab with something of all kinds.
func newConformer(t *testing.T) *lab {
	l := newLab(t)
	for n := range 3 {
		l.register(t, registry.Instance{Service: "web", ID: fmt.Sprint("web-", n), Port: 8000, Address: fmt.Sprintf("10.0.1.%d", n), Tags: []string{"v1"}})
	}
	l.registerMany(t, "big", 60)
	l.register(t, registry.Instance{Service: "six", Port: 80, Address: "fd00::6"})
	l.register(t, registry.Instance{Service: "long", Port: 80, Meta: map[string]string{"text": strings.Repeat("x", 600)}})
	if err := l.registry.Register(t.Context(), registry.Registration{
		Instance: &registry.Instance{Service: "ill", Port: 80},
		Checks:   []registry.Check{{Status: registry.Critical, Definition: &registry.Definition{TTL: time.Hour}}},
	}); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestConformance(t *testing.T) {
	transports := wireTransports(t, newConformer(t))
	cases := wireCases()
	names, failed := make(map[string]bool), 0
	for _, c := range cases {
		if names[c.name] {
			t.Errorf("there are two cases %q", c.name)
		}
		names[c.name] = true
		for _, transport := range transports {
			if c.only != "" && !strings.HasPrefix(transport.name, c.only) {
				continue
			}
			if wrong := try(c, transport); wrong != "" {
				failed++
				t.Errorf("%s over %s: %s", c.name, transport.name, wrong)
			}
		}
	}
	t.Logf("%d cases over %d transports, %d failed", len(cases), len(transports), failed)
}

// try puts a case over a transport, and returns what is wrong with the reply.
func try(c wireCase, transport wireTransport) string {
	octets, err := transport.ask(c.query)
	switch {
	case err != nil:
		return err.Error()
	case octets == nil && c.silent:
		return ""
	case c.silent:
		return fmt.Sprintf("there is a reply: %x", octets)
	case octets == nil:
		return "there is no reply"
	case len(octets) > transport.most:
		return fmt.Sprintf("the reply has %d octets", len(octets))
	}
	r, err := parseReply(octets)
	if err != nil {
		return fmt.Sprintf("%v: %x", err, octets)
	}
	if wrong := all(isReply, c.wants)(r, c.query); wrong != "" {
		return fmt.Sprintf("%s: %x", wrong, octets)
	}
	return ""
}
