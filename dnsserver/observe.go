package dnsserver

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// Exchange is a query and what became of it, as it is on the wire. Its octets are
// written to again when See returns.
type Exchange struct {
	Query     []byte
	Reply     []byte // nil: there was none
	From      netip.AddrPort
	Transport string // as in the metrics: udp, tcp
	Began     time.Time
	Ended     time.Time
}

// Observer is shown queries with their replies, each so many-th of every worker.
// See is called by many goroutines, and everybody's next answer waits until it
// returns: it copies what it wants to keep and leaves the work to others.
type Observer struct {
	Every int // at least 1: all of them
	See   func(*Exchange)
}

// maxObservers fit into a sight.
const maxObservers = 8

// watch is an Observer, and how many queries of a worker it does not see before the
// next one.
type watch struct {
	Observer
	left int
}

// sight is who sees a query. The zero value is nobody.
type sight struct {
	by    uint8 // a bit for each Observer
	began time.Time
	from  netip.AddrPort
}

// newWatches begins anywhere: a connection may have but one query.
func newWatches(observers []Observer) (watches []watch) {
	for _, o := range observers[:min(len(observers), maxObservers)] {
		watches = append(watches, watch{o, rand.N(max(o.Every, 1))})
	}
	return watches
}

// sighted tells who sees the next query.
func (w *worker) sighted() (s sight) {
	for i := range w.watches {
		if at := &w.watches[i]; at.left > 0 {
			at.left--
		} else {
			at.left = at.Every - 1
			s.by |= 1 << i
		}
	}
	if s.by != 0 {
		s.began = time.Now()
	}
	return s
}

// replySeen is reply where somebody observes. It shows a query to who sees it, or
// leaves that to the end of a pending one.
func (w *worker) replySeen(q *query, dst []byte, from netip.AddrPort) []byte {
	s := w.sighted()
	if s.by == 0 {
		return w.reply(q, dst, from.Addr())
	}
	w.seen = append(w.seen[:0], q.msg...) // over which the reply may be written
	reply := w.reply(q, dst, from.Addr())
	s.from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if q.pending != nil {
		q.pending.sight = s
	} else {
		w.show(s, w.transport, w.seen, reply[min(len(dst), len(reply)):])
	}
	return reply
}

func (p *pipeline) show(s sight, transport string, query, reply []byte) {
	e := Exchange{Query: query, Reply: reply, From: s.from, Transport: transport, Began: s.began, Ended: time.Now()}
	for i, o := range p.observers {
		if s.by&(1<<i) != 0 {
			o.See(&e)
		}
	}
}
