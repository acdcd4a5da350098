package dnsserver

import (
	"encoding/binary"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/dnsserver/transfer"
)

const (
	headerSize = 12
	maxName    = 255
	maxLabel   = 63

	// The two highest bits of a length octet: a pointer has both.
	pointerBits = 0xc0
)

// query is what a packet asks. It is read straight from the wire, strictly and
// without an allocation, and used again for the next one.
type query struct {
	msg   []byte
	key   [maxName + 4]byte // the name in lower case on the wire, and the type, and of a signed answer the period
	size  int               // of key up to the type; 0: no question was read
	keyed int               // and all in all, as it is the cache's key
	end   int               // where the question ends in msg
	hops  int               // behind pointers, that may be read yet
	qtype uint16
	class uint16
	hash  uint64 // of key, for a worker with a Front

	source string // the zone whose wildcards the answer is from, by which it is counted then; empty: the name is one that is there

	readable bool             // to its end; else it is malformed
	bare     bool             // it asks for a cookie alone (RFC 7873, section 5.4)
	pending  *pending         // the reply takes what others say; nil: it does not
	tsig     bool             // it is signed
	signer   *transfer.Signer // signs the reply, once the signature was verified; nil: none

	edns    bool // an OPT record was read
	do, co  bool
	signed  bool // the answer has signatures, if its zone has
	version uint8
	udpSize int    // as the OPT record says
	cookie  []byte // the client's, and perhaps ours behind it; nil: none
	known   bool   // the cookie shows that the client has its address

	keepalive  bool               // the client asks how long a connection may wait
	padded     bool               // it hides its length, and the reply may hide its own
	subnet     [subnetOption]byte // the option that says for whom it is asked
	subnetSize int                // of it; 0: the query has none

	given [cookieOption + keepaliveOption + subnetOption]byte // room for the reply's options
}

// name returns the name on the wire in lower case, until the next query.
func (q *query) name() []byte { return q.key[:q.size-2] }

func (q *query) opcode() int { return int(q.msg[2] >> 3 & 0xf) }

// read reads a packet with a whole header. It returns false where the packet is
// malformed; what was read until then stays in q.
func (q *query) read(msg []byte) bool {
	q.msg, q.size, q.end, q.source, q.pending, q.hops = msg, 0, headerSize, "", nil, maxHops
	q.co, q.signed, q.keepalive, q.padded, q.subnetSize = false, false, false, false, 0
	q.bare, q.tsig, q.signer = false, false, nil
	q.edns, q.do, q.version, q.udpSize, q.cookie, q.known = false, false, 0, 0, nil, false
	count := func(at int) int { return int(binary.BigEndian.Uint16(msg[at:])) }
	questions := count(4)
	if questions > 1 || questions == 1 && !q.readQuestion() { // RFC 9619: no more than one
		return false
	}
	at := q.end
	for range count(6) + count(8) {
		end, ok := q.skipRecord(at)
		if !ok || q.typeOf(at) == dns.TypeOPT { // RFC 6891, 6.1.1: its place is among the additional records
			return false
		}
		at = end
	}
	ok := true
	for range count(10) {
		if at, ok = q.readAdditional(at); !ok {
			return false
		}
	}
	q.bare = questions == 0 && at == len(msg) && q.cookie != nil
	return at == len(msg) && questions == 1
}

// withoutRecords cuts a reply of ours short, in place: who asked comes back over
// TCP (RFC 9715, 3.1).
func withoutRecords(reply []byte) []byte {
	var q query
	if !q.read(reply) {
		return reply
	}
	if q.cookie != nil {
		copy(q.given[:], []byte{0, optionCookie, 0, clientCookie + serverCookie})
		copy(q.given[4:], q.cookie)
	}
	return q.cutShort(reply, 0)
}

// readQuestion reads the name, the type and the class. A pointer has nothing to
// point to yet, so it is malformed here.
func (q *query) readQuestion() bool {
	msg, at := q.msg, headerSize
	for {
		if at >= len(msg) {
			return false
		}
		label := int(msg[at])
		at += 1 + label
		if label > maxLabel || at-headerSize > maxName {
			return false
		}
		if label == 0 {
			break
		}
	}
	if at+4 > len(msg) {
		return false
	}
	q.qtype, q.class = binary.BigEndian.Uint16(msg[at:]), binary.BigEndian.Uint16(msg[at+2:])
	q.size, q.end = at-headerSize+2, at+4
	q.keyed = q.size
	lower(q.key[:], msg[headerSize:at])
	q.key[q.size-2], q.key[q.size-1] = msg[at], msg[at+1]
	return true
}

// lower copies a name on the wire in lower case, eight octets at a time. Lengths
// are below all letters.
func lower(to, name []byte) {
	const each = 0x0101010101010101
	at := 0
	for ; at+8 <= len(name); at += 8 {
		octets := binary.LittleEndian.Uint64(name[at:])
		ascii := octets & (0x7f * each)   // their lower seven bits
		aboveZ := ascii + (0x7f-'Z')*each // the upper bit: it is above Z
		fromA := ascii + (0x80-'A')*each  // it is A or above
		upper := (fromA ^ aboveZ) &^ octets & (0x80 * each)
		binary.LittleEndian.PutUint64(to[at:], octets|upper>>2)
	}
	for ; at < len(name); at++ {
		c := name[at]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		to[at] = c
	}
}

// readAdditional reads a record of the additional section: OPT for what it says,
// others for where they end.
func (q *query) readAdditional(at int) (end int, ok bool) {
	msg := q.msg
	end, ok = q.skipRecord(at)
	if !ok {
		return 0, false
	}
	if kind := q.typeOf(at); kind != dns.TypeOPT {
		q.tsig = q.tsig || kind == dns.TypeTSIG
		return end, true
	}
	if q.edns || msg[at] != 0 {
		return 0, false // RFC 6891, 6.1.1: one, no more; 6.1.2: of the root
	}
	q.edns = true
	q.udpSize = int(binary.BigEndian.Uint16(msg[at+3:]))
	q.version = msg[at+6]
	q.do, q.co = msg[at+7]&0x80 != 0, msg[at+7]&0xc0 == 0xc0
	return end, q.readOptions(msg[at+11 : end])
}
