package dnsserver

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// RateLimit bounds the replies that one network can be made to get over UDP in a
// second, where somebody else may have asked in its name. The zero value is no
// bound.
type RateLimit struct {
	PerSecond int            // answers for each name, and denials and errors of each kind, to a /24 or /56; zero: no bound
	Exempt    []netip.Prefix // networks that have none: of who is known
}

const (
	// slip is how many replies over the bound there are to each that is sent cut
	// short: who has really asked comes back over TCP then.
	slip = 2

	// namesAtOnce is for how many names a network gets as many answers as for one. Who
	// knows more names than that, or makes them up where any is answered, has a lever
	// no longer than this.
	namesAtOnce = 10
)

// limiter counts replies by the network that they go to, and by name or kind. What it
// takes is fixed: where more is counted in a second than it has room for, what has the
// fewest replies is forgotten. Its methods may be called from any goroutine.
type limiter struct {
	counts    [1 << 13][countsAtOnce]atomic.Uint64 // a second, some of the hash, and the replies in it; first, so that a row is a line of the processor's cache
	perSecond uint64
	exempt    []netip.Prefix
	seed      maphash.Seed
}

const (
	countsAtOnce = 8 // among which one is looked for

	countBits  = 24 // of a count: the lowest are the replies
	tagBits    = 20 // then some of the hash, and above that the second: it comes again after 12 days
	secondFrom = countBits + tagBits
	mostCount  = 1<<countBits - 1
)

// verdict is what becomes of a reply.
type verdict uint8

const (
	send verdict = iota
	cutShort
	drop
)

func newLimiter(config RateLimit) *limiter {
	if config.PerSecond <= 0 {
		return nil
	}
	return &limiter{perSecond: uint64(config.PerSecond), exempt: config.Exempt, seed: maphash.MakeSeed()}
}

// judge counts a reply, and says what becomes of it. Answers are counted by name, others
// by kind, so that a flood of one leaves the rest alone; and all that is sent for one
// name or another, together.
func (l *limiter) judge(to netip.Addr, reply []byte, q *query, now time.Time) verdict {
	to = to.Unmap() // as prefixes are
	for _, network := range l.exempt {
		if network.Contains(to) {
			return send
		}
	}
	network, kind := networkOf(to), kindOf(reply)
	if kind != kindAnswer {
		return l.bound(counted{network, kind}, l.perSecond, now)
	}
	v := l.bound(counted{network, l.named(q)}, l.perSecond, now)
	if v == send {
		v = l.bound(counted{network, kindAnswer}, namesAtOnce*l.perSecond, now)
	}
	return v
}

// bound counts one more of something, of which there may be so many in a second.
func (l *limiter) bound(c counted, most uint64, now time.Time) verdict {
	switch n := l.count(c, now); {
	case n <= most:
		return send
	case n%slip == 0:
		return cutShort
	}
	return drop
}

// counted is what replies are counted by.
type counted struct{ network, what uint64 }

// networkOf returns the /24 or /56 that an address is in.
func networkOf(a netip.Addr) uint64 {
	octets := a.As16()
	if a.Unmap().Is4() {
		return 1<<56 | uint64(binary.BigEndian.Uint32(octets[12:])>>8)
	}
	return binary.BigEndian.Uint64(octets[:]) >> 8
}

// named returns the number of the name that an answer is counted by.
func (l *limiter) named(q *query) uint64 {
	if q.source != "" {
		return maphash.String(l.seed, q.source) | 1<<63
	}
	return maphash.Bytes(l.seed, q.name()) | 1<<63 // above all kinds
}

// count counts one more, and returns how many there are in this second.
func (l *limiter) count(c counted, now time.Time) (n uint64) {
	hash := maphash.Comparable(l.seed, c)
	row := &l.counts[hash%uint64(len(l.counts))]
	stamp := (uint64(now.Unix())<<tagBits | hash>>(64-tagBits)) << countBits
	for {
		found, fewest := 0, uint64(1<<countBits)
		var before uint64
		for i := range row {
			other := row[i].Load()
			if other&^mostCount == stamp {
				found, fewest, before = i, other&mostCount, other
				break
			}
			replies := other & mostCount
			if other>>secondFrom != stamp>>secondFrom {
				replies = 0
			}
			if replies < fewest {
				found, fewest, before = i, replies, other
			}
		}
		n = 1
		if before&^mostCount == stamp {
			n = min(fewest+1, mostCount)
		}
		if row[found].CompareAndSwap(before, stamp|n) {
			return n
		}
	}
}

// The kinds of replies: that of a denial or an error is its response code, and one for
// all beyond NXDOMAIN.
const (
	kindAnswer = dns.RcodeSuccess
	kindShort  = dns.RcodeNameError + 2 // an answer that there is no room for
)

// kindOf returns the kind of a reply. What has no answer denies something, also where its
// code is NOERROR: it is that of every compact denial.
func kindOf(reply []byte) uint64 {
	rcode, hasAnswer, isShort := reply[3]&0xf, reply[6]|reply[7] != 0, reply[2]&0x02 != 0
	switch {
	case rcode != dns.RcodeSuccess:
		return uint64(min(rcode, dns.RcodeNameError+1))
	case hasAnswer:
		return kindAnswer
	case isShort:
		return kindShort
	}
	return dns.RcodeNameError
}
