package cache

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/zones"
	"github.com/rollcall-dns/rollcall/zones/dnssec"
)

// maxShared is how many addresses that several records share a reply can hold
// apart; of more than that it may hold some twice.
const maxShared = 1024

// optSize is the size of an OPT record without options.
const optSize = 11

// UDPSize is the largest datagram that rollcall takes, and sends where it is not
// told to send larger ones: what passes nearly every path whole (DNS Flag Day 2020).
const UDPSize = 1232

// Query is what a reply depends on, beside the answer.
type Query struct {
	Message  []byte     // the query: its header and question are copied
	End      int        // where its question ends
	EDNS, DO bool       // it has an OPT record, and DNSSEC OK is set in it
	CO       bool       // and compact answers are understood (RFC 9824, section 5.1), as the zone gives them
	Client   netip.Addr // who gets the reply
	Limit    int        // octets that the reply may have
	Serial   uint32     // of the zone, now
	Turn     uint32     // which of the answer's orders this reply takes; the next one takes the next
	Stale    bool       // nobody knows whether the answer is still true
	RA       bool       // the client may ask here for names of others, too
	Options  []byte     // of the reply's OPT record, ready to be sent
	// SOASignature is that over the zone's SOA with the Serial, where an answer
	// needs one.
	SOASignature *[dnssec.SignatureSize]byte
}

// staleTTL is for how long, in seconds, a client may keep an answer that may no
// longer be true.
const staleTTL = 5

// staleEDE is the option that says so: an Extended DNS Error (RFC 8914), 3.
var staleEDE = packExplanation(zones.EDE{
	Code: dns.ExtendedErrorCodeStaleAnswer, Text: "the registry does not answer: this was true when it last did",
})

// The bits of the third and fourth octets of a header.
const (
	bitQR = 0x80
	bitAA = 0x04
	bitTC = 0x02
	bitRD = 0x01
	bitCD = 0x10
)

// Append appends the reply to a query. It has the question as it was asked, so
// that the case of its letters survives; as many whole records as fit, the
// additional ones last; TC exactly if a record of the answer is missing; and OPT
// if the query has one. It reports whether the reply is truncated.
func (p *Packed) Append(dst []byte, q *Query) (reply []byte, truncated bool) {
	start := len(dst)
	dst = append(dst, q.Message[:q.End]...)
	room := q.Limit - q.End
	number := p.subsetFor(q.Client)
	s := &p.subsets[number]
	why := p.ede
	if p.signed != nil {
		why = p.affordable(q, number, room)
	}
	stale, explained := q.reserve(&room, len(why))
	var w writer // field by field: the processor waits for a whole that is copied right after its parts
	w.packed, w.dst, w.room, w.serial, w.soa = p, dst, room, q.Serial, q.SOASignature
	head, wrapped, light := s.wheel.turned(q.Turn)
	answers := w.answers(head) + w.answers(wrapped) + w.answers(light)
	truncated = answers < s.wheel.n
	if p.signed != nil && !truncated {
		n, whole := w.signatures(&p.signed.subsets[number])
		answers, truncated = answers+n, !whole
	}
	authority := 0
	switch {
	case truncated:
	case p.authoritySize <= w.room:
		for i := range p.authority {
			w.record(&p.authority[i])
		}
		authority = len(p.authority)
		if p.signed != nil {
			n, _ := w.signatures(&p.signed.authority)
			authority += n
		}
	case p.signed != nil && p.signed.authority.size > 0:
		truncated = true
	}
	additional := 0
	if !truncated && (len(p.glue) > 0 || len(p.extra) > 0) {
		additional = w.additional(head) + w.additional(wrapped) + w.additional(light) + w.extra()
		if p.signed != nil && p.signed.glue != nil {
			additional += w.glueSignatures(head) + w.glueSignatures(wrapped) + w.glueSignatures(light)
		}
	}
	if p.isReferral() && (authority == 0 || additional < len(p.extra)) {
		truncated = true // it is good for nothing without the addresses (RFC 9471, section 3)
	}
	dst = w.dst
	if q.Stale {
		shortenTTLs(dst[start+q.End:], staleTTL)
	}
	if q.EDNS {
		if !explained {
			why = nil
		}
		dst = AppendOPT(dst, 0, q.DO, len(q.Options)+len(stale)+len(why))
		if q.CO {
			dst[len(dst)-4] |= 0x40
		}
		dst = append(append(append(dst, q.Options...), stale...), why...)
	}
	flags := byte(0)
	if p.authoritative {
		flags |= bitAA
	}
	if truncated {
		flags |= bitTC
	}
	rcode := p.rcode
	if q.CO && p.signed != nil && p.signed.absent {
		rcode = dns.RcodeNameError
	}
	header(dst[start:], q, flags, rcode, counts{answers, authority, additional})
	return dst, truncated
}

// reserve takes from the room of a reply what its OPT record needs: with the
// query's own options, the one that says that the answer is stale, if it is, and
// another of so many octets, if they fit.
func (q *Query) reserve(room *int, ede int) (stale []byte, explained bool) {
	if !q.EDNS {
		return nil, false
	}
	*room -= optSize + len(q.Options)
	if q.Stale && len(staleEDE) <= *room {
		stale = staleEDE
		*room -= len(stale)
	}
	if explained = ede <= *room; explained {
		*room -= ede
	}
	return stale, explained
}

// counts are how many records the sections of a reply have, without OPT.
type counts struct{ answers, authority, additional int }

// header fills in the header of a reply.
func header(reply []byte, q *Query, flags, rcode byte, n counts) {
	if q.EDNS {
		n.additional++
	}
	reply[2], reply[3] = bitQR|flags|q.Message[2]&bitRD, rcode|q.Message[3]&bitCD
	if q.RA {
		reply[3] |= bitRA
	}
	binary.BigEndian.PutUint16(reply[4:], 1)
	binary.BigEndian.PutUint16(reply[6:], uint16(n.answers))
	binary.BigEndian.PutUint16(reply[8:], uint16(n.authority))
	binary.BigEndian.PutUint16(reply[10:], uint16(n.additional))
}

// shortenTTLs brings the TTLs of records, one behind the other, to at most so
// many seconds.
func shortenTTLs(records []byte, most uint32) {
	for len(records) > 0 {
		at := 0
		for records[at] != 0 && records[at]&0xc0 == 0 {
			at += 1 + int(records[at])
		}
		at += 1 + int(records[at]>>7) // a pointer has a second octet
		if ttl := records[at+4:]; binary.BigEndian.Uint32(ttl) > most {
			binary.BigEndian.PutUint32(ttl, most)
		}
		records = records[at+10+int(binary.BigEndian.Uint16(records[at+8:])):]
	}
}

// AppendOPT appends an OPT record (RFC 6891) up to its options, which are so
// many octets and for the caller to append. extended is the upper part of the
// response code.
func AppendOPT(dst []byte, extended uint8, do bool, options int) []byte {
	flags := byte(0)
	if do {
		flags = 0x80
	}
	return append(dst, 0, 0, 41, UDPSize>>8, UDPSize&0xff, extended, 0, flags, 0, byte(options>>8), byte(options))
}

// writer appends records to a reply while there is room.
type writer struct {
	packed *Packed
	dst    []byte
	room   int
	serial uint32
	soa    *[dnssec.SignatureSize]byte
	seen   [maxShared/64 + 1]uint64 // the shared addresses that are in the reply
}

// answers appends records of the answer, whole ones, in order. It stops at the
// first one that does not fit.
func (w *writer) answers(order []uint16) (n int) {
	for _, i := range order {
		r := &w.packed.answers[i]
		if int(r.size) > w.room {
			w.room = 0
			return n
		}
		w.record(r)
		n++
	}
	return n
}

func (w *writer) record(r *record) {
	w.dst = append(w.dst, w.packed.body[r.at:r.at+uint32(r.size)]...)
	w.room -= int(r.size)
	if r.serial != 0 {
		binary.BigEndian.PutUint32(w.dst[len(w.dst)-int(r.size)+int(r.serial):], w.serial)
	}
}

// additional appends the glue of records.
func (w *writer) additional(order []uint16) (n int) {
	for _, i := range order {
		r := &w.packed.answers[i]
		for _, g := range w.packed.glueOf[r.glueFrom:r.glueTo] {
			n += w.glue(&w.packed.glue[g])
		}
	}
	return n
}

func (w *writer) glue(g *glue) int {
	if g.group > 0 {
		if w.seen[g.group/64]&(1<<(g.group%64)) != 0 {
			return 0
		}
		w.seen[g.group/64] |= 1 << (g.group % 64)
	}
	if int(g.size) > w.room {
		w.room = 0
		return 0
	}
	w.dst = append(w.dst, w.packed.body[g.at:g.at+uint32(g.size)]...)
	w.room -= int(g.size)
	return 1
}

func (w *writer) extra() (n int) {
	for i := range w.packed.extra {
		if r := &w.packed.extra[i]; int(r.size) <= w.room {
			w.record(r)
			n++
		}
	}
	return n
}
