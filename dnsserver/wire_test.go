package dnsserver

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/miekg/dns"
)

// wireReply is a reply as its octets are, read more strictly than a client would.
type wireReply struct {
	octets   []byte
	id       uint16
	flags    uint16 // the third and fourth octet
	question []byte // with type and class, as it stands there
	answer   []wireRecord
	ns       []wireRecord
	extra    []wireRecord // without OPT
	opt      *wireRecord
}

type wireRecord struct {
	name   string // in lower case on the wire
	rrtype uint16
	class  uint16
	ttl    uint32
	data   []byte // its names spelled out
	packed bool   // a name in the data is compressed
}

func (r *wireReply) rcode() int {
	code := int(r.flags & 0xf)
	if r.opt != nil {
		code |= int(r.opt.ttl>>24) << 4
	}
	return code
}

func (r *wireReply) has(bit uint16) bool { return r.flags&bit != 0 }

// The bits of the flags.
const (
	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagRA = 1 << 7
	flagZ  = 1 << 6
	flagAD = 1 << 5
	flagCD = 1 << 4
)

// options returns the options of OPT by their codes.
func (r *wireReply) options() map[uint16][]byte {
	found := make(map[uint16][]byte)
	if r.opt == nil {
		return found
	}
	for rest := r.opt.data; len(rest) >= 4; {
		size := int(binary.BigEndian.Uint16(rest[2:]))
		found[binary.BigEndian.Uint16(rest)] = rest[4 : 4+size]
		rest = rest[4+size:]
	}
	return found
}

// parseReply reads a reply. Every octet has to be part of something, a pointer has
// to lead to a name before it, and there is at most one OPT, in its place.
func parseReply(octets []byte) (r *wireReply, err error) {
	if len(octets) < headerSize {
		return nil, fmt.Errorf("a reply of %d octets", len(octets))
	}
	u16 := func(at int) int { return int(binary.BigEndian.Uint16(octets[at:])) }
	r = &wireReply{octets: octets, id: uint16(u16(0)), flags: uint16(u16(2))}
	at := headerSize
	if u16(4) > 1 {
		return nil, errors.New("more than one question")
	}
	if u16(4) == 1 {
		_, end, _, err := parseName(octets, at)
		if err != nil || end+4 > len(octets) {
			return nil, fmt.Errorf("the question: %w", err)
		}
		r.question = octets[at : end+4]
		at = end + 4
	}
	for n, section := range []*[]wireRecord{&r.answer, &r.ns, &r.extra} {
		for range u16(6 + 2*n) {
			var record wireRecord
			if record, at, err = parseRecord(octets, at); err != nil {
				return nil, fmt.Errorf("section %d: %w", n, err)
			}
			if record.rrtype != dns.TypeOPT {
				*section = append(*section, record)
				continue
			}
			if n != 2 || r.opt != nil || record.name != "\x00" {
				return nil, errors.New("an OPT record where there must be none")
			}
			r.opt = &record
		}
	}
	if at != len(octets) {
		return nil, fmt.Errorf("%d octets behind the last record", len(octets)-at)
	}
	return r, nil
}

func parseRecord(octets []byte, at int) (record wireRecord, end int, err error) {
	if record.name, at, _, err = parseName(octets, at); err != nil {
		return record, 0, err
	}
	if at+10 > len(octets) {
		return record, 0, errors.New("a record is cut off")
	}
	record.rrtype, record.class = binary.BigEndian.Uint16(octets[at:]), binary.BigEndian.Uint16(octets[at+2:])
	record.ttl = binary.BigEndian.Uint32(octets[at+4:])
	end = at + 10 + int(binary.BigEndian.Uint16(octets[at+8:]))
	if at += 10; end > len(octets) {
		return record, 0, errors.New("a record's data is cut off")
	}
	fixed, names, behind := map[uint16]int{dns.TypeSRV: 6, dns.TypeMX: 2}[record.rrtype], 0, 0
	switch record.rrtype {
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR, dns.TypeSRV, dns.TypeMX, dns.TypeDNAME:
		names = 1
	case dns.TypeSOA:
		names, behind = 2, 20
	default:
		record.data = octets[at:end]
		return record, end, nil
	}
	record.data = append(record.data, octets[at:at+fixed]...)
	at += fixed
	for range names {
		name, next, packed, err := parseName(octets[:end], at)
		if err != nil {
			return record, 0, err
		}
		record.data, record.packed, at = append(record.data, name...), record.packed || packed, next
	}
	if record.data = append(record.data, octets[at:end]...); end-at != behind {
		return record, 0, fmt.Errorf("a record has %d octets too many", end-at-behind)
	}
	return record, end, nil
}

// parseName returns a name in lower case and spelled out.
func parseName(octets []byte, at int) (name string, end int, packed bool, err error) {
	limit := at // pointers lead to before it
	for {
		if at >= len(octets) {
			return "", 0, false, errors.New("a name is cut off")
		}
		switch c := int(octets[at]); {
		case c == 0:
			name += "\x00"
			if !packed {
				end = at + 1
			}
			if len(name) > maxName {
				return "", 0, false, errors.New("a name is too long")
			}
			return name, end, packed, nil
		case c <= maxLabel && at+1+c <= len(octets):
			label := make([]byte, 1+c)
			lower(label, octets[at:at+1+c])
			name += string(label)
			at += 1 + c
		case c >= pointerBits && at+2 <= len(octets):
			to := int(binary.BigEndian.Uint16(octets[at:]) & 0x3fff)
			if to >= limit || to < headerSize {
				return "", 0, false, fmt.Errorf("a pointer from %d to %d", at, to)
			}
			if !packed {
				end = at + 2
			}
			packed, at, limit = true, to, to
		default:
			return "", 0, false, fmt.Errorf("a label of the kind %#x", octets[at])
		}
	}
}
