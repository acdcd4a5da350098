package dnsserver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The tests of this file try all of what TestConformance tries some of: every
// class, every option, every bit. They go through the pipeline of each transport,
// without its sockets.

// pipelines returns a worker of each transport, and how long a reply of it may be.
func (l *lab) pipelines() map[*worker]int {
	all := make(map[*worker]int)
	for transport, most := range map[string]int{"udp": l.udpSize, "tcp": maxTCP, "tls": maxTCP, "https": maxTCP} {
		all[l.newWorker(transport)] = most
	}
	return all
}

// sweeps puts a query through all pipelines, and says where a reply is not what is
// wanted. It counts the replies.
func sweeps(t *testing.T, pipelines map[*worker]int, query []byte, wants expectation) (replies int) {
	t.Helper()
	for w, most := range pipelines {
		reply := w.serve(nil, query, client)
		if reply == nil {
			t.Errorf("over %s there is no reply to %x", w.tally.transport, query)
			continue
		}
		replies++
		r, err := parseReply(reply)
		switch {
		case err != nil:
			t.Errorf("over %s: %v: %x to %x", w.tally.transport, err, reply, query)
		case len(reply) > most:
			t.Errorf("over %s a reply of %d octets to %x", w.tally.transport, len(reply), query)
		default:
			if wrong := all(isReply, wants)(r, query); wrong != "" {
				t.Errorf("over %s: %s: %x to %x", w.tally.transport, wrong, reply, query)
			}
		}
	}
	return replies
}

// isEchoed wants the question, to the octet.
func isEchoed(r *wireReply, query []byte) string {
	if r.question == nil {
		return "the question is not there"
	}
	return ""
}

func TestEveryClassButTheInternetsHasNothing(t *testing.T) {
	l := newConformer(t)
	pipelines, replies, classes := l.pipelines(), 0, 0
	for class := 0; class < 1<<16; class += stride() {
		if class == dns.ClassINET {
			continue
		}
		classes++
		for _, query := range [][]byte{asks(web, dns.TypeA), asks(web, dns.TypeANY), asks(apex, dns.TypeSOA), asks("version.bind.", dns.TypeTXT)} {
			replies += sweeps(t, pipelines, withClass(uint16(class))(query), all(refuses, isEchoed))
		}
	}
	t.Logf("%d classes: %d replies, 0 with a record", classes, replies)
}

func TestEveryCountOfQuestionsButOneIsMalformed(t *testing.T) {
	l := newConformer(t)
	pipelines, replies := l.pipelines(), 0
	for n := range 1 << 16 {
		if n != 1 {
			replies += sweeps(t, pipelines, asks(apex, dns.TypeSOA, withCount(0, uint16(n))), formerr)
		}
	}
	two := append(asks(apex, dns.TypeSOA, withCount(0, 2)), asks(web, dns.TypeA)[headerSize:]...)
	replies += sweeps(t, pipelines, two, formerr)
	t.Logf("65,535 counts: %d replies, all of them FORMERR", replies)
}

func TestNoOptionIsCopied(t *testing.T) {
	l := newConformer(t)
	pipelines, replies := l.pipelines(), 0
	for code := range 1 << 16 {
		wants := all(rcode(dns.RcodeSuccess), counts(1, 0), hasOPT(true), noOption(uint16(code)))
		switch code {
		case optionSubnet, optionCookie, optionKeepalive: // which have cases of their own
			continue
		}
		replies += sweeps(t, pipelines, asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, option(uint16(code), 1, 2, 3)...)), wants)
	}
	for flags := range 1 << 15 { // all but DO
		replies += sweeps(t, pipelines, asks(apex, dns.TypeSOA, withOPT(1232, 0, uint16(flags))), all(rcode(dns.RcodeSuccess), counts(1, 0), hasOPT(true)))
	}
	t.Logf("65,533 options and 32,768 sets of flags: %d replies, 0 copied", replies)
}

func TestEveryOpcodeIsSaidToBeUnknown(t *testing.T) {
	l := newConformer(t)
	pipelines, replies := l.pipelines(), 0
	for _, c := range wireCases() {
		if len(c.query) < headerSize || c.query[2]&0xf8 != 0 {
			continue
		}
		for opcode := 1; opcode < 16; opcode++ {
			query := withOpcode(opcode)(bytes.Clone(c.query))
			replies += sweeps(t, pipelines, query, notimp)
		}
	}
	t.Logf("15 opcodes: %d replies, all of them NOTIMP", replies)
}

// TestEveryOctetOfALabel asks for names of every legal form, and wants them back
// octet for octet, and of none of the others.
func TestEveryOctetOfALabel(t *testing.T) {
	l := newConformer(t)
	pipelines := l.pipelines()
	below := wireName("service.test.")
	query := func(name ...byte) []byte {
		q := append(append(make([]byte, headerSize), name...), 0, 1, 0, 1)
		q[5] = 1
		return q
	}
	absent := all(rcode(dns.RcodeNameError), counts(0, 1), isEchoed)
	legal, illegal := 0, 0
	for octet := range 256 {
		for _, size := range []int{1, 2, 31, 63} {
			label := append([]byte{byte(size)}, bytes.Repeat([]byte{byte(octet)}, size)...)
			sweeps(t, pipelines, query(append(label, below...)...), absent)
			legal++
		}
		if octet > maxLabel {
			sweeps(t, pipelines, query(append(append([]byte{byte(octet)}, bytes.Repeat([]byte{'a'}, 255)...), below...)...), formerr)
			illegal++
		}
	}
	for size := len(below) + 1; size <= 260; size++ { // names so long
		var name []byte
		for rest := size - len(below); rest > 0; {
			n := min(rest, 64)
			if rest == n+1 {
				n--
			}
			if n < 2 {
				break
			}
			name = append(append(name, byte(n-1)), bytes.Repeat([]byte{'z'}, n-1)...)
			rest -= n
		}
		switch name = append(name, below...); {
		case len(name) != size:
		case size <= maxName:
			sweeps(t, pipelines, query(name...), absent)
			legal++
		default:
			sweeps(t, pipelines, query(name...), formerr)
			illegal++
		}
	}
	t.Logf("%d legal names came back as they were, and %d others were FORMERR", legal, illegal)
}

// known are names that the conformer has something at.
var known = []string{
	web, "v1.web.service.test.", "web.service.dc1.test.", "_web._tcp.test.", "_web._v1.service.test.", "n1.node.test.", "0a000100.addr.dc1.test.",
	"_services._dns-sd._udp.test.", "web-0._web._tcp.test.", "service.test.", "node.test.", "_tcp.test.", "big.service.test.", "ns.test.",
}

func TestADotInALabelIsNoEndOfIt(t *testing.T) {
	l := newConformer(t)
	pipelines, names := l.pipelines(), 0
	for _, name := range known {
		labels := dns.SplitDomainName(name)
		for from := range labels {
			for to := from + 2; to <= len(labels); to++ {
				joined := strings.Join(labels[:from], ".") + "." + strings.Join(labels[from:to], `\.`) + "." + strings.Join(labels[to:], ".") + "."
				joined = strings.TrimPrefix(strings.ReplaceAll(joined, "..", "."), ".")
				for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeSOA} {
					sweeps(t, pipelines, asks(joined, qtype), func(r *wireReply, _ []byte) string {
						if len(r.answer) > 0 || r.rcode() != dns.RcodeNameError && r.rcode() != dns.RcodeRefused {
							return fmt.Sprintf("%s matches", joined)
						}
						return ""
					})
					names++
				}
			}
		}
	}
	t.Logf("%d questions for names with a dot in a label: 0 matches", names)
}

func TestTheCaseOfAnyNameSurvives(t *testing.T) {
	l := newConformer(t)
	pipelines, replies := l.pipelines(), 0
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		for _, name := range append(known, "none.service.test.", "www.example.") {
			plain := asks(name, dns.TypeA)
			var want *wireReply
			for w := range pipelines {
				if w.stream {
					want, _ = parseReply(w.serve(nil, plain, client))
				}
			}
			mixed := bytes.Clone(plain)
			for at := headerSize; mixed[at] != 0; at += 1 + int(mixed[at]) {
				for i := at + 1; i <= at+int(mixed[at]); i++ {
					if c := mixed[i] | 0x20; 'a' <= c && c <= 'z' && random.IntN(2) == 0 {
						mixed[i] ^= 0x20
					}
				}
			}
			replies += sweeps(t, pipelines, mixed, all(rcode(want.rcode()), isEchoed, func(r *wireReply, _ []byte) string {
				if len(r.answer) != len(want.answer) && !r.has(flagTC) {
					return fmt.Sprintf("there are %d answers, and in lower case %d", len(r.answer), len(want.answer))
				}
				return ""
			}))
		}
	}
	t.Logf("%d replies to names in mixed case: all as in lower case, and the question as it came", replies)
}

// TestAnyIsNoLever asks for ANY over UDP, with room for any reply.
func TestAnyIsNoLever(t *testing.T) {
	l := newConformer(t)
	w, worst := l.newWorker("udp"), 0.0
	for _, name := range known {
		for _, size := range []int{-1, 0, 512, 1232, 4096, 65535} {
			query := asks(name, dns.TypeANY)
			if size >= 0 {
				query = withOPT(uint16(size), 0, 0)(query)
			}
			reply := w.serve(nil, query, client)
			worst = max(worst, float64(len(reply))/float64(len(query)))
			if size < 0 && len(reply) > minUDP {
				t.Errorf("%s: %d octets without EDNS", name, len(reply))
			}
		}
	}
	t.Logf("a reply to ANY has at most %.1f times the octets of the query", worst)
	if worst > anyFactor {
		t.Errorf("a reply to ANY has %.1f times the octets of the query", worst)
	}
}

// TestNoReplyToAStrangerIsALever asks for everything, in every type, over UDP and with
// room for any reply, as somebody may do in another's name, whose cookie he lacks.
func TestNoReplyToAStrangerIsALever(t *testing.T) {
	unsigned, signed := newConformer(t), newSignedLab(t)
	unsigned.registerMany(t, "b", 60)
	signed.registerMany(t, "b", 60)
	for zone, l := range map[string]*lab{"unsigned": unsigned, "signed": signed.lab} {
		w, longest, worst, replies := l.newWorker("udp"), 0, 0.0, 0
		for _, name := range append(known, "test.", "b.service.test.", "nobody.service.test.", "www.corp.example.", ".") {
			for qtype := range dns.TypeToString {
				for _, size := range []int{-1, 0, 512, 1232, 4096, 65535} {
					query := asks(name, qtype)
					switch {
					case size == 1232: // with the cookie of a client
						query = withOPT(uint16(size), 0, 0x8000, option(10, []byte("01234567")...)...)(query)
					case size >= 0:
						query = withOPT(uint16(size), 0, 0x8000)(query)
					}
					var from [4]byte // one client would use up what signatures it may cost
					binary.BigEndian.PutUint32(from[:], 10<<24+uint32(replies))
					reply := w.serve(nil, query, netip.AddrPortFrom(netip.AddrFrom4(from), 1053))
					replies++
					longest, worst = max(longest, len(reply)), max(worst, float64(len(reply))/float64(len(query)))
				}
			}
		}
		t.Logf("%s: %d replies, %d octets and %.1f times the query at most", zone, replies, longest, worst)
		if longest > l.udpSize || worst > strangerFactor {
			t.Errorf("%s: a reply of %d octets, and one of %.1f times the query", zone, longest, worst)
		}
	}
}

// TestTCIsSetWhereAnAnswerIsMissing asks for services of all sizes with room for
// all sizes: TC is set exactly where a record of the answer is missing, and then no
// further one would have fitted.
func TestTCIsSetWhereAnAnswerIsMissing(t *testing.T) {
	l := newLab(t)
	sizes := []int{1, 2, 3, 7, 12, 20, 28, 40, 60, 100}
	for _, n := range sizes {
		l.registerMany(t, fmt.Sprint("s", n), n)
	}
	udp, replies, cut := l.newWorker("udp"), 0, 0
	for _, n := range sizes {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeSVCB} {
			for size := minUDP; size <= 1232; size++ {
				query := asks(fmt.Sprintf("s%d.service.test.", n), qtype, withOPT(uint16(size), 0, 0))
				room := min(size, strangerFactor*len(query))
				r, err := parseReply(udp.serve(nil, query, client))
				if err != nil {
					t.Fatalf("%x: %v", query, err)
				}
				replies++
				if r.has(flagTC) {
					cut++
				}
				switch each := len(r.answer); {
				case len(r.octets) > room:
					t.Errorf("%d instances, %s: %d octets, with room for %d", n, dns.Type(qtype), len(r.octets), room)
				case r.has(flagTC) != (each < n):
					t.Errorf("%d instances, %s, room for %d octets: %d answers, TC %v", n, dns.Type(qtype), room, each, r.has(flagTC))
				case r.opt == nil:
					t.Errorf("%d instances, %s, room for %d octets: no OPT", n, dns.Type(qtype), room)
				case r.has(flagTC) && (len(r.extra) > 0 || len(r.octets)+(len(r.octets)-len(query))/each <= room):
					t.Errorf("%d instances, %s: %d octets of %d are used, for %d answers and %d more", n, dns.Type(qtype), len(r.octets), room, each, len(r.extra))
				}
			}
		}
	}
	t.Logf("%d replies, %d of them cut short: TC is set on these alone", replies, cut)
}

// TestEveryBitFlipped flips each bit of each query of the conformance cases.
func TestEveryBitFlipped(t *testing.T) {
	l := newConformer(t)
	pipelines, queries, replies := l.pipelines(), 0, 0
	for n, c := range wireCases() {
		for bit := n % stride(); bit < 8*min(len(c.query), 300); bit += stride() {
			query := bytes.Clone(c.query)
			query[bit/8] ^= 1 << (bit % 8)
			queries++
			for w, most := range pipelines {
				reply := w.serve(nil, query, client)
				if wrong := follows(query, reply, most); wrong != "" {
					t.Errorf("over %s: %s: %x to %x", w.tally.transport, wrong, reply, query)
				}
				if reply != nil {
					replies++
				}
			}
		}
	}
	t.Logf("%d queries with a bit flipped: %d replies, and each can be read", queries, replies)
}

// TestNoQueryTakesLong looks for the query that takes the most of the processor's
// time: those of TestConformance, and the worst that 65,535 octets have room for.
// Each is tried often, as others use the processor, too.
func TestNoQueryTakesLong(t *testing.T) {
	l := newConformer(t)
	queries := map[string][]byte{}
	for _, c := range wireCases() {
		if len(c.query) >= headerSize {
			queries[c.name] = c.query
		}
	}
	for name, part := range map[string]func(at int) []byte{
		"pointers to the pointer before": func(at int) []byte { return record(byte(0xc0|(at-14)>>8), byte(at-14)) },
		"pointers to the question":       func(int) []byte { return record(0xc0, headerSize) },
		"pointers to a long name": func(at int) []byte {
			if at < 255+headerSize {
				return record(append(bytes.Repeat([]byte{1, 'a'}, 126), 0)...)
			}
			return record(0xc0, byte(len(asks(apex, dns.TypeSOA))))
		},
		"long names":                func(int) []byte { return record(append(bytes.Repeat([]byte{1, 'a'}, 126), 0)...) },
		"long names with a pointer": func(int) []byte { return record(append(bytes.Repeat([]byte{1, 'a'}, 126), 0xc0, headerSize)...) },
		"roots":                     func(int) []byte { return record(0) },
	} {
		query, n := asks(apex, dns.TypeSOA), 0
		for len(query) < 64_000 {
			if n == 0 && name == "pointers to the pointer before" || len(query) > 16_000 && strings.HasPrefix(name, "pointers to the pointer") {
				query = append(query, record(0xc0, headerSize)...)
			} else {
				query = append(query, part(len(query))...)
			}
			n++
		}
		for section := 1; section < 4; section++ {
			queries[fmt.Sprintf("%d records: %s, section %d", n, name, section)] = withCount(section, uint16(n))(bytes.Clone(query))
		}
	}
	for name, o := range map[string][]byte{"options without content": option(100), "cookies": option(optionCookie, 1, 2, 3, 4, 5, 6, 7, 8), "cookies that are malformed at the end": option(optionPadding)} {
		options := bytes.Repeat(o, 64_000/len(o))
		if strings.HasSuffix(name, "end") {
			options = append(options, 0)
		}
		queries[name] = asks(apex, dns.TypeSOA, withOPT(1232, 0, 0, options...))
	}
	worst, which := time.Duration(0), ""
	for w := range l.pipelines() {
		for name, query := range queries {
			fastest := time.Hour
			for range 10 {
				start := time.Now()
				w.serve(nil, query, client)
				fastest = min(fastest, time.Since(start))
			}
			if fastest > worst {
				worst, which = fastest, name
			}
		}
	}
	watched := ""
	if raced() {
		watched = ", watched by the race detector"
	}
	t.Logf("of %d queries the slowest takes %v%s: %s", len(queries), worst, watched, which)
	if !raced() && worst > time.Millisecond {
		t.Errorf("%s takes %v", which, worst)
	}
}

// raced tells whether the race detector watches, which takes most of the time then.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}

// stride is what a sweep goes by: it leaves some out for the race detector.
func stride() int {
	if raced() {
		return 7
	}
	return 1
}

// record returns a record of type A with a name as it stands on the wire.
func record(name ...byte) []byte {
	return append(bytes.Clone(name), 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4)
}

// TestNoReplyIsAnswered sends a million replies to the server, over UDP, TCP and TLS. That none is answered is known by what is answered
// behind every 250 of them.
func TestNoReplyIsAnswered(t *testing.T) {
	most := 1_000_000 / stride()
	s := serveAll(t, newConformer(t))
	random, cases, sent := rand.New(rand.NewPCG(1, 2)), wireCases(), 0
	next := func() []byte {
		for {
			query := bytes.Clone(cases[random.IntN(len(cases))].query)
			if len(query) < headerSize || len(query) > 512 {
				continue
			}
			query[0], query[1], query[2] = 0x55, byte(random.IntN(256)), query[2]|0x80
			sent++
			return query
		}
	}
	last := asks(apex, dns.TypeSOA)
	for transport, share := range map[string]int{"udp": 60, "tcp": 35, "tls": 5} {
		conn := net.Conn(nil)
		if transport == "udp" {
			var err error
			if conn, err = net.Dial("udp", s.addr["tcp"]); err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		} else {
			conn = s.dial(t, transport)
		}
		for range most * share / 100 / 250 {
			var octets []byte
			for n := range 251 {
				message := last
				if n < 250 {
					message = next()
				}
				if transport == "udp" {
					if _, err := conn.Write(message); err != nil {
						t.Fatal(err)
					}
					continue
				}
				octets = append(binary.BigEndian.AppendUint16(octets, uint16(len(message))), message...)
			}
			_, _ = conn.Write(octets)
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			reply, err := (&dns.Conn{Conn: conn, UDPSize: maxTCP}).ReadMsgHeader(nil)
			if err != nil || !bytes.Equal(reply[:2], last[:2]) {
				t.Fatalf("over %s, after %d replies: %x, %v", transport, sent, reply, err)
			}
		}
	}
	came := uint64(0)
	for _, transport := range transports {
		came += s.metrics.total(transport).dropped[dropReply].Load()
	}
	if came != uint64(sent) {
		t.Errorf("%d of %d replies have come to the server", came, sent)
	}
	t.Logf("%d replies over UDP, TCP and TLS: 0 answered", sent)
}
