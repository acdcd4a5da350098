package dnsserver

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bounds of a bundle. Older kernels take no more than that.
const (
	maxSegments = 64    // UDP_MAX_SEGMENTS
	maxBundle   = 65000 // octets: it is one datagram, up to where it is cut
)

// bundles are replies of one length to one port. The kernel takes each bundle as
// one datagram, on one way, and cuts it up at the end of that (UDP_SEGMENT of
// udp(7)): most of what it costs to send a reply is its way. Other DNS servers and
// proxies, who ask much from few ports, get much of what they ask for in bundles.
//
// Only headers are bundled. The replies stay where they are, and keep those of
// their own, with which each can still be sent alone.
type bundles struct {
	headers  [batchLen]mmsghdr
	vectors  [batchLen]unix.Iovec // of one bundle after the other
	control  [batchLen][controlSize + segmentSize]byte
	of       [batchLen]uint8     // the bundle that each reply is in
	first    [batchLen]uint8     // the first reply of each bundle,
	segments [batchLen]uint8     // and how many it has
	latest   [2 * batchLen]uint8 // bundles by a hash of port and length, counted from 1; 0: none
}

// segmentSize is room for the control message that says how long a segment is.
const segmentSize = 24

// bundle makes bundles of the first n replies, and returns how many: n where no two
// go together.
func (b *batch) bundle(n int) (count int) {
	s := &b.bundles
	clear(s.latest[:])
	for k := range n {
		latest := &s.latest[b.destination(k)]
		if *latest == 0 || !b.joins(k, int(*latest-1)) {
			s.first[count], s.segments[count] = uint8(k), 0
			count++
			*latest = uint8(count)
		}
		s.of[k] = *latest - 1
		s.segments[s.of[k]]++
	}
	if count < n {
		b.address(n, count)
	}
	return count
}

// destination returns a hash of the port that reply k goes to, and of its length,
// as a place in bundles.latest.
func (b *batch) destination(k int) uint64 {
	h := &b.headers[k].hdr
	port := binary.NativeEndian.Uint64(octets(h.Name, 8)) // and the family, and an IPv4 address
	return (port + uint64(h.Iov.Len)) * 0x9e3779b97f4a7c15 >> (64 - 7)
}

// joins tells whether reply k may be put into a bundle.
func (b *batch) joins(k, bundle int) bool {
	h, with, segments := &b.headers[k].hdr, &b.headers[b.bundles.first[bundle]].hdr, int(b.bundles.segments[bundle])
	return h.Iov.Len == with.Iov.Len && segments < maxSegments && (segments+1)*int(h.Iov.Len) <= maxBundle &&
		bytes.Equal(octets(h.Name, int(h.Namelen)), octets(with.Name, int(with.Namelen))) &&
		bytes.Equal(octets(h.Control, int(h.Controllen)), octets(with.Control, int(with.Controllen)))
}

// address puts the replies of each bundle side by side, behind one header.
func (b *batch) address(n, count int) {
	s, at := &b.bundles, 0
	var next [batchLen]int // where in vectors the next reply of a bundle stands
	for i := range count {
		next[i] = at
		h := &s.headers[i].hdr
		*h = b.headers[s.first[i]].hdr
		if s.segments[i] > 1 {
			s.cut(i, h)
		}
		h.Iov = &s.vectors[at]
		h.SetIovlen(int(s.segments[i]))
		at += int(s.segments[i])
	}
	for k := range n {
		i := s.of[k]
		s.vectors[next[i]] = *b.headers[k].hdr.Iov
		next[i]++
	}
}

// cut has the kernel cut bundle i into segments as long as its first.
func (s *bundles) cut(i int, h *unix.Msghdr) {
	control := &s.control[i]
	at := copy(control[:], octets(h.Control, int(h.Controllen)))
	c := (*unix.Cmsghdr)(unsafe.Pointer(&control[at]))
	c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	c.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(control[at+unix.CmsgLen(0):], uint16(h.Iov.Len))
	h.Control = &control[0]
	h.SetControllen(at + unix.CmsgSpace(2))
}

// octets returns what a header points to; nothing where that is nil.
func octets(at *byte, n int) []byte { return unsafe.Slice(at, n) }
