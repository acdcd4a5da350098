package dnsserver

import (
	"net/netip"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sizes of a batch. 64 datagrams are enough to make a system call's cost small
// next to theirs; with more, replies wait longer for the batch to fill.
const (
	batchLen    = 64
	controlSize = 64 // room for one IP_PKTINFO or IPV6_PKTINFO message
)

// batch is a set of datagrams received by one recvmmsg, and the replies to
// them, sent by one sendmmsg. It owns all its memory and belongs to one worker.
//
// A reply is written where its query is, whose header and question begin it, and
// leaves with the headers that the query came with: what a datagram takes in the
// processor's cache it takes once.
type batch struct {
	headers   [batchLen]mmsghdr
	vectors   [batchLen]unix.Iovec
	names     [batchLen]unix.RawSockaddrInet6 // room for an IPv4 address, too
	control   [batchLen][controlSize]byte
	datagrams []byte // their octets, so many for each
	size      int
	used      int  // headers that are not as receive needs them
	wildcard  bool // keep the address a query came to, and reply from it
	bundles   bundles
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// newBatch returns a batch whose datagrams have so many octets at most.
func newBatch(size int, wildcard bool) *batch {
	return &batch{datagrams: make([]byte, batchLen*size), size: size, wildcard: wildcard, used: batchLen}
}

// receive fills the batch with what waits on the socket and returns how many
// datagrams that is. It never blocks, so it is made without telling Go's
// scheduler: a batch takes longer than the time after which the scheduler would
// take the processor away from a goroutine in an ordinary system call.
func (b *batch) receive(fd int) (int, syscall.Errno) {
	for i := range b.used {
		b.empty(i)
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers)), batchLen, unix.MSG_DONTWAIT, 0, 0)
	if b.used = int(n); errno != 0 {
		b.used = 0
	}
	return b.used, errno
}

// empty makes room for datagram i.
func (b *batch) empty(i int) {
	b.vectors[i].Base = &b.datagrams[i*b.size]
	b.vectors[i].SetLen(b.size)
	h := &b.headers[i].hdr
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.names[i])), unix.SizeofSockaddrInet6
	h.Iov = &b.vectors[i]
	h.SetIovlen(1)
	if b.wildcard {
		h.Control = &b.control[i][0]
		h.SetControllen(controlSize)
	}
}

// query returns datagram i.
func (b *batch) query(i int) []byte { return b.datagrams[i*b.size:][:b.headers[i].len] }

// from returns where datagram i came from.
func (b *batch) from(i int) netip.Addr {
	name := &b.names[i]
	if name.Family == unix.AF_INET {
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr)
	}
	return netip.AddrFrom16(name.Addr).Unmap()
}

// port returns the port that datagram i came from. It lies in the same place for
// both families, in network order.
func (b *batch) port(i int) uint16 {
	p := (*[2]byte)(unsafe.Pointer(&b.names[i].Port))
	return uint16(p[0])<<8 | uint16(p[1])
}

// room returns where the reply to datagram i is to be written: over the query,
// which is read by then but for its header and question.
func (b *batch) room(i int) []byte { return b.datagrams[i*b.size : i*b.size : (i+1)*b.size] }

// reply queues the reply to datagram i as number k of those to send, which are no
// more than those before it.
func (b *batch) reply(k, i int, reply []byte) {
	b.vectors[i].Base = &reply[0]
	b.vectors[i].SetLen(len(reply))
	if k != i {
		b.headers[k] = b.headers[i]
	}
	if b.wildcard {
		replyControl(&b.headers[k].hdr)
	}
}

// shorten takes the records out of reply k, which is too long for the way that it
// has to take. It returns false where there are none.
func (b *batch) shorten(k int) bool {
	v := b.headers[k].hdr.Iov
	reply := unsafe.Slice(v.Base, v.Len)
	v.SetLen(len(withoutRecords(reply)))
	return int(v.Len) < len(reply)
}

// origin is where a datagram came from, and which address it came to.
type origin struct {
	hdr     unix.Msghdr
	vec     unix.Iovec
	name    unix.RawSockaddrInet6
	control [controlSize]byte
}

// origin returns that of datagram i, in memory of its own.
func (b *batch) origin(i int) *origin {
	o := &origin{hdr: b.headers[i].hdr, name: b.names[i]}
	o.hdr.Name = (*byte)(unsafe.Pointer(&o.name))
	o.hdr.Iov, o.hdr.Flags = &o.vec, 0
	if b.wildcard {
		o.control = b.control[i]
		o.hdr.Control = &o.control[0]
		replyControl(&o.hdr)
	}
	return o
}

// send sends a reply there. It never blocks.
func (o *origin) send(fd int, reply []byte) syscall.Errno {
	o.vec.Base = &reply[0]
	o.vec.SetLen(len(reply))
	_, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&o.hdr)), unix.MSG_DONTWAIT)
	runtime.KeepAlive(reply)
	return errno
}

// sendAll sends what headers say, and returns how many of them the kernel took.
// Like receive it never blocks.
func sendAll(fd int, headers []mmsghdr) (int, syscall.Errno) {
	sent, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(sent), 0
}

// replyControl turns the control message that says which address a query came
// to into the one that sends the reply from there, by any interface.
func replyControl(h *unix.Msghdr) {
	if h.Controllen < unix.SizeofCmsghdr {
		h.Control, h.Controllen = nil, 0
		return
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(h.Control))
	data := unsafe.Add(unsafe.Pointer(c), unix.CmsgLen(0))
	switch {
	case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO:
		info := (*unix.Inet4Pktinfo)(data)
		info.Ifindex = 0
		info.Addr = [4]byte{}
	case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_PKTINFO:
		info := (*unix.Inet6Pktinfo)(data)
		if !netip.AddrFrom16(info.Addr).IsLinkLocalUnicast() { // which means nothing without its interface
			info.Ifindex = 0
		}
	default:
		h.Control, h.Controllen = nil, 0
	}
}
