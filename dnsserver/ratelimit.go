package dnsserver

import (
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
	PerSecond int            // replies of each kind to a /24 or /56; zero: no bound
	Exempt    []netip.Prefix // networks that have none: of who is known
}

// slip is how many replies over the bound there are to each that is sent cut
// short: who has really asked comes back over TCP then.
const slip = 2

// limiter counts replies by the network that they go to and by kind. What it
// takes is fixed: two networks that fall together share a count. Its methods may
// be called from any goroutine.
type limiter struct {
	perSecond uint64
	exempt    []netip.Prefix
	seed      maphash.Seed
	counts    [1 << 16]atomic.Uint64 // a second and some of the hash above, the replies in it below
}

const countBits = 24

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

// judge counts a reply of a kind, and says what becomes of it. Kinds are counted
// apart, so that a flood of one leaves the others alone.
func (l *limiter) judge(to netip.Addr, kind int, now time.Time) verdict {
	to = to.Unmap()
	for _, network := range l.exempt {
		if network.Contains(to) {
			return send
		}
	}
	bits := 24
	if to.Is6() {
		bits = 56
	}
	network, err := to.Prefix(bits)
	if err != nil {
		return send
	}
	hash := maphash.Comparable(l.seed, counted{network, kind})
	slot := &l.counts[hash%uint64(len(l.counts))]
	const hashBits = 8
	stamp := (uint64(now.Unix())<<hashBits | hash>>(64-hashBits)) << countBits
	for {
		before := slot.Load()
		n := uint64(1)
		if before&^(1<<countBits-1) == stamp {
			n = min(before&(1<<countBits-1)+1, 1<<countBits-1)
		}
		if !slot.CompareAndSwap(before, stamp|n) {
			continue
		}
		switch {
		case n <= l.perSecond:
			return send
		case n%slip == 0:
			return cutShort
		}
		return drop
	}
}

// counted is what replies are counted by.
type counted struct {
	network netip.Prefix
	kind    int
}

// kindOf returns the kind of a reply, its response code, and one for all beyond NXDOMAIN. What
// has no answer denies something, also where its code is NOERROR: it is that of every
// compact denial.
func kindOf(reply []byte) int {
	rcode, hasAnswer, isShort := int(reply[3]&0xf), reply[6]|reply[7] != 0, reply[2]&0x02 != 0
	if rcode == dns.RcodeSuccess && !hasAnswer && !isShort {
		return dns.RcodeNameError
	}
	return min(rcode, dns.RcodeNameError+1)
}
