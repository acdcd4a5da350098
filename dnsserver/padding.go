package dnsserver

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// paddingBlock is what the length of an encrypted reply is a multiple of, octets,
// so that it tells little of what is in it (RFC 8467, section 4.1).
const paddingBlock = 468

// pad fills a reply that begins at an offset up to whole blocks, if it has an OPT
// record, which comes last then, and room up to a limit.
func pad(reply []byte, start, limit int) []byte {
	message, opt := reply[start:], -1
	eachRecord(message, func(_, at, fixed, _ int) {
		if fixed == at+1 && binary.BigEndian.Uint16(message[fixed:]) == dns.TypeOPT {
			opt = fixed
		}
	})
	const option = 4 // octets before its content
	size := len(message) + option
	fill := min((paddingBlock-size%paddingBlock)%paddingBlock, limit-size)
	if opt < 0 || fill < 0 {
		return reply
	}
	length := message[opt+8:]
	binary.BigEndian.PutUint16(length, binary.BigEndian.Uint16(length)+uint16(option+fill))
	reply = append(reply, 0, dns.EDNS0PADDING, byte(fill>>8), byte(fill))
	return append(reply, make([]byte, fill)...)
}

// eachRecord calls f with each record of a reply of ours: its section, 0 being that
// of the answer, where it begins, where its name ends, and where it ends.
func eachRecord(reply []byte, f func(section, at, fixed, end int)) {
	skipName := func(at int) int {
		for reply[at] != 0 && reply[at]&pointerBits == 0 {
			at += 1 + int(reply[at])
		}
		return at + 1 + int(reply[at]>>7) // a pointer has a second octet
	}
	count := func(n int) int { return int(binary.BigEndian.Uint16(reply[4+2*n:])) }
	at := headerSize
	for range count(0) {
		at = skipName(at) + 4
	}
	for section := range 3 {
		for range count(1 + section) {
			fixed := skipName(at)
			end := fixed + 10 + int(binary.BigEndian.Uint16(reply[fixed+8:]))
			f(section, at, fixed, end)
			at = end
		}
	}
}
