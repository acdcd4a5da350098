package dnsserver

import (
	"encoding/binary"
	"time"
)

// The options of EDNS that mean something here. All others are read over, and none of
// them is copied into a reply (RFC 6891, section 6.1.2).
const (
	optionSubnet    = 8
	optionCookie    = 10
	optionKeepalive = 11
	optionPadding   = 12

	// How many octets they take; a subnet at most, where it is an address of IPv6.
	keepaliveOption = 6
	subnetOption    = 24
)

// readOptions reads the options of an OPT record. It returns false where one that means
// something here is malformed.
func (q *query) readOptions(options []byte) bool {
	for len(options) > 0 {
		if len(options) < 4 {
			return false
		}
		code, size := binary.BigEndian.Uint16(options), int(binary.BigEndian.Uint16(options[2:]))
		if 4+size > len(options) {
			return false
		}
		switch code {
		case optionKeepalive:
			q.keepalive = true
		case optionPadding:
			q.padded = true
		case optionSubnet:
			if !isSubnet(options[4 : 4+size]) {
				return false
			}
			if q.subnetSize == 0 {
				q.subnetSize = copy(q.subnet[:], options[:4+size])
			}
		case optionCookie:
			// RFC 7873, 5.2.2: a client's cookie, and perhaps a server's of 8 to 32.
			if size != 8 && (size < 16 || size > 40) {
				return false
			}
			if q.cookie == nil { // 5.2: of several the first counts
				q.cookie = options[4 : 4+size]
			}
		}
		options = options[4+size:]
	}
	return true
}

// isSubnet tells whether an option's content is a client's subnet in a query (RFC 7871,
// section 6): of IPv4, IPv6 or nobody, with as many octets as it takes, no bit beyond
// its length, and no scope.
func isSubnet(content []byte) bool {
	if len(content) < 4 {
		return false
	}
	longest := 0
	switch family := binary.BigEndian.Uint16(content); family {
	case 0:
	case 1:
		longest = 32
	case 2:
		longest = 128
	default:
		return false
	}
	bits, scope, address := int(content[2]), content[3], content[4:]
	if bits > longest || scope != 0 || len(address) != (bits+7)/8 {
		return false
	}
	return bits%8 == 0 || address[len(address)-1]<<(bits%8) == 0
}

// options returns what goes into the reply's OPT record: a cookie for a cookie, for how
// long a connection may wait for the next query, and the client's subnet with a scope of
// 0, as an answer is the same for all (RFC 7871, section 7.2.1).
func (q *query) options() []byte {
	from, to := cookieOption, cookieOption
	if q.cookie != nil {
		from = 0
	}
	if q.keepalive {
		to += copy(q.given[to:], keepalive[:])
	}
	if q.subnetSize > 0 {
		to += copy(q.given[to:], q.subnet[:q.subnetSize])
	}
	return q.given[from:to]
}

// keepalive is the option that says so, in tenths of a second (RFC 7828).
var keepalive = [keepaliveOption]byte{0, optionKeepalive, 0, 2, 0, byte(streamIdle / (100 * time.Millisecond))}
