package cache

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/miekg/dns"
)

// Denial is the reply to every name of a zone that does not exist, ready to be
// sent but for the name and the reason. So such replies are in no cache, which
// names that somebody makes up could fill. It is immutable.
type Denial struct {
	soa      []byte // as it stands behind a question for the zone's own name
	serial   int    // where in it the serial stands
	pointers []int  // and the pointers, all of which lead into the zone's name
	end      int    // of that name in its message
}

// NewDenial returns the Denial of the zone that a SOA is of.
func (c *Cache) NewDenial(soa *dns.SOA) (*Denial, error) {
	w := c.packers.Get().(*packer)
	defer c.packers.Put(w)
	var space [256 + 2]byte
	size, err := dns.PackDomainName(soa.Hdr.Name, space[:256], 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("packing the name of the zone %s: %w", soa.Hdr.Name, err)
	}
	if err := w.begin(space[:size+2]); err != nil {
		return nil, err
	}
	r, err := w.pack(soa)
	if err != nil {
		return nil, err
	}
	d := &Denial{soa: append([]byte(nil), w.body...), serial: int(r.serial), end: headerSize + size}
	const fixed = 10 // octets between the owner and the data
	d.findPointer(d.findPointer(d.findPointer(0) + fixed))
	return d, nil
}

// findPointer notes the pointer that the name at an offset of the SOA ends in,
// if it does. It returns where the name ends.
func (d *Denial) findPointer(at int) (end int) {
	for d.soa[at] != 0 {
		if d.soa[at]&0xc0 != 0 {
			d.pointers = append(d.pointers, at)
			return at + 2
		}
		at += 1 + int(d.soa[at])
	}
	return at + 1
}

// Append appends the reply to a query for a name in the zone, and why the name
// does not exist. The SOA, and before it the reason, is left out where it does
// not fit.
func (d *Denial) Append(dst []byte, q *Query, why []byte) []byte {
	start := len(dst)
	dst = append(dst, q.Message[:q.End]...)
	why = cut(why)
	room := q.Limit - q.End
	stale, explained := q.reserve(&room, errorSize(why))
	authority := 0
	if len(d.soa) <= room {
		dst = d.appendSOA(dst, q)
		authority = 1
	}
	if q.Stale {
		shortenTTLs(dst[start+q.End:], staleTTL)
	}
	if q.EDNS {
		if !explained {
			why = nil
		}
		dst = AppendOPT(dst, 0, q.DO, len(q.Options)+len(stale)+errorSize(why))
		dst = append(append(dst, q.Options...), stale...)
		if len(why) > 0 {
			dst = AppendError(dst, dns.ExtendedErrorCodeOther, why)
		}
	}
	header(dst[start:], q, bitAA, dns.RcodeNameError, counts{authority: authority})
	return dst
}

func (d *Denial) appendSOA(dst []byte, q *Query) []byte {
	at := len(dst)
	dst = append(dst, d.soa...)
	soa := dst[at:]
	binary.BigEndian.PutUint32(soa[d.serial:], q.Serial)
	// The question's name is longer than the zone's, which ends it.
	further := uint16(q.End - 4 - d.end)
	for _, p := range d.pointers {
		binary.BigEndian.PutUint16(soa[p:], binary.BigEndian.Uint16(soa[p:])+further)
	}
	return dst
}

// errorSize returns how long the option is that holds an Extended DNS Error's
// text, if there is one.
func errorSize(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	return 6 + len(text)
}

// AppendError appends an Extended DNS Error as an option (RFC 8914).
func AppendError(dst []byte, code uint16, text []byte) []byte {
	size := 2 + len(text)
	dst = append(dst, 0, dns.EDNS0EDE, byte(size>>8), byte(size), byte(code>>8), byte(code))
	return append(dst, text...)
}

// cut shortens the text of an Extended DNS Error, so that it fits in beside a
// SOA in 512 octets. No character is cut through.
func cut(text []byte) []byte {
	const most = 200
	for len(text) > most {
		_, size := utf8.DecodeLastRune(text)
		text = text[:len(text)-size]
	}
	return text
}
