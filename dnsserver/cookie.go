package dnsserver

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/dchest/siphash"
)

// DNS cookies (RFC 7873) of the kind that servers have in common (RFC 9018): who
// shows the one that was given to its address has that address.
const (
	clientCookie = 8  // octets
	serverCookie = 16 // octets
	cookieOption = 4 + clientCookie + serverCookie

	cookiePast   = time.Hour       // for how long a cookie is good
	cookieFuture = 5 * time.Minute // and from when on, where clocks differ

	secretAge = 12 * time.Hour // a secret is used for new cookies; those of the one before are good for as long
)

// cookies makes and checks cookies. Its methods may be called from any goroutine.
type cookies struct{ secrets atomic.Pointer[secrets] }

// secrets are the one that is used and the one before it.
type secrets struct {
	since            time.Time
	current, earlier secret
}

type secret struct{ k0, k1 uint64 }

func newSecret() secret {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return secret{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
}

func newCookies(now time.Time) *cookies {
	c := new(cookies)
	c.secrets.Store(&secrets{now, newSecret(), newSecret()})
	return c
}

// at returns the secrets, with a new one where it is time.
func (c *cookies) at(now time.Time) *secrets {
	s := c.secrets.Load()
	if now.Sub(s.since) < secretAge {
		return s
	}
	next := &secrets{now, newSecret(), s.current}
	if c.secrets.CompareAndSwap(s, next) {
		return next
	}
	return c.secrets.Load()
}

// give writes the option with a client's cookie, and the server's to it.
func (c *cookies) give(option *[cookieOption]byte, client []byte, from netip.Addr, now time.Time) {
	option[0], option[1], option[2], option[3] = 0, optionCookie, 0, clientCookie+serverCookie
	copy(option[4:], client[:clientCookie])
	server := option[4+clientCookie:]
	server[0], server[1], server[2], server[3] = 1, 0, 0, 0 // its version
	binary.BigEndian.PutUint32(server[4:], uint32(now.Unix()))
	binary.LittleEndian.PutUint64(server[8:], c.at(now).current.hash(option[4:4+clientCookie+8], from))
}

// good tells whether a client's cookie comes with the server's that was given to
// it, and lately.
func (c *cookies) good(cookie []byte, from netip.Addr, now time.Time) bool {
	if len(cookie) != clientCookie+serverCookie || cookie[clientCookie] != 1 {
		return false
	}
	age := time.Duration(int32(uint32(now.Unix())-binary.BigEndian.Uint32(cookie[clientCookie+4:]))) * time.Second
	if age > cookiePast || age < -cookieFuture {
		return false
	}
	s, got := c.at(now), binary.LittleEndian.Uint64(cookie[clientCookie+8:])
	said := cookie[:clientCookie+8]
	return s.current.hash(said, from) == got || s.earlier.hash(said, from) == got
}

// hash is that of RFC 9018, section 4.4, of what comes before it and the address.
func (s secret) hash(said []byte, from netip.Addr) uint64 {
	var space [clientCookie + 8 + 16]byte
	text := append(space[:0], said...)
	if from = from.Unmap(); from.Is4() {
		a := from.As4()
		text = append(text, a[:]...)
	} else {
		a := from.As16()
		text = append(text, a[:]...)
	}
	return siphash.Hash(s.k0, s.k1, text)
}
