package dnsserver

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// Of the records behind a question only OPT and TSIG mean anything to a server like
// this one. The others are read as far as it takes to know that they are records: who
// answers a packet that is none helps to find out what other programs make of it.

// maxHops is how many labels and pointers behind pointers are read in a packet: more than
// in any that somebody would send for its sense, and few enough to take no time.
const maxHops = 1024

// skipRecord returns where the record at an offset ends.
func (q *query) skipRecord(at int) (end int, ok bool) {
	msg := q.msg
	at, ok = q.skipName(at)
	if !ok || at+10 > len(msg) {
		return 0, false
	}
	kind, class := binary.BigEndian.Uint16(msg[at:]), binary.BigEndian.Uint16(msg[at+2:])
	data := at + 10
	end = data + int(binary.BigEndian.Uint16(msg[at+8:]))
	if end > len(msg) {
		return 0, false
	}
	if class != dns.ClassINET {
		return end, true
	}
	return end, q.isData(kind, data, end)
}

// isData tells whether the data of a record can be of its type, of those whose length
// is fixed and those whose names may be compressed (RFC 3597, section 4).
func (q *query) isData(kind uint16, at, end int) bool {
	names, rest := 0, 0 // and the octets that stand beside them
	switch kind {
	case dns.TypeA:
		rest = 4
	case dns.TypeAAAA:
		rest = 16
	case dns.TypeNS, dns.TypeMD, dns.TypeMF, dns.TypeCNAME, dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypePTR:
		names = 1
	case dns.TypeMX:
		names, at = 1, at+2
	case dns.TypeMINFO:
		names = 2
	case dns.TypeSOA:
		names, rest = 2, 20
	default:
		return true
	}
	for ok := true; names > 0; names-- {
		if at, ok = q.skipName(at); !ok {
			return false
		}
	}
	return at+rest == end
}

// skipName returns where the name at an offset ends. A pointer leads to where a name,
// or the rest of one, stands before all that was read of this one, and so to no loop,
// and all of the name has 255 octets at most (RFC 9267, section 2).
func (q *query) skipName(at int) (end int, ok bool) {
	msg, size, start := q.msg, 0, at
	for at < len(msg) && size < maxName {
		c := int(msg[at])
		if end > 0 {
			if q.hops--; q.hops < 0 {
				return 0, false
			}
		}
		switch {
		case c == 0:
			return max(end, at+1), true
		case c <= maxLabel:
			size += 1 + c
			at += 1 + c
			continue
		case c < pointerBits || at+2 > len(msg):
			return 0, false
		}
		if end == 0 {
			end = at + 2
		}
		at = int(binary.BigEndian.Uint16(msg[at:]) & 0x3fff)
		switch {
		case at == headerSize && q.size > 0: // which was read already
			return end, size+q.size-2 <= maxName
		case at < headerSize || at >= start:
			return 0, false
		}
		start = at
	}
	return 0, false
}

// typeOf returns the type of a record that was skipped.
func (q *query) typeOf(at int) uint16 {
	for q.msg[at] != 0 && q.msg[at] <= maxLabel {
		at += 1 + int(q.msg[at])
	}
	if q.msg[at] != 0 { // a pointer
		at++
	}
	return binary.BigEndian.Uint16(q.msg[at+1:])
}
