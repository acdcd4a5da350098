package dnsserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/dnsserver/forward"
	"github.com/rollcall-dns/rollcall/dnsserver/transfer"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
	"github.com/rollcall-dns/rollcall/zones/dnssec"
)

const (
	minUDP = 512   // octets that every client takes
	maxTCP = 65535 // octets that TCP's framing has room for

	// A reply over UDP is at most so many times as long as the query where no cookie
	// shows that who asks has the address, unless longer replies than usual are wanted,
	// and where ANY is asked for, which is done in somebody else's name most of the time
	// (RFC 8482).
	strangerFactor = 25
	anyFactor      = 10
)

// pipeline answers queries. It is shared by all transports.
type pipeline struct {
	newest *atomic.Pointer[pipeline] // of the Server: another one after Reconfigure

	registry registry.Registry
	zones    *zones.Zones
	cache    *cache.Cache
	logger   *slog.Logger
	metrics  *metrics
	nameLog  *nameLog
	denials  denials

	freshness func() *registry.Freshness
	maxStale  time.Duration
	cookies   *cookies
	udpSize   int              // octets that a reply over UDP may have
	unbundled bool             // each reply over UDP is sent alone
	limiter   *limiter         // nil: there is none
	asker     *forward.Asker   // nil: names of others are refused
	signing   *signing         // nil: no zone is signed
	transfers *transfer.Server // nil: nobody gets a zone, and TSIG means nothing
	observers []Observer
	faults    *faults
}

// always is how fresh a View is that is the truth itself.
var always = registry.Freshness{Synced: true}

// worker is one goroutine's share in the pipeline: what it needs for a query,
// and its own counts.
type worker struct {
	*pipeline
	*tally
	resolver *zones.Resolver
	front    *cache.Front // nil: none, as for a connection, of which there may be many
	stream   bool         // not UDP: a reply may be as long as its framing allows
	keeps    bool         // its clients may ask how long a connection may wait
	queries  []query
	denied   lastDenied
	period   dnssec.Period // of signatures, now
	now      time.Time     // when the queries were received: the clock is read once for all of them
	watches  []watch       // none: nobody observes
	names    *names        // that are asked for
	looker
	seen []byte // a copy of the query that somebody observes
}

// ahead is how many queries of a batch are read before the first is answered.
const ahead = cache.WarmLen

func (p *pipeline) newWorker(transport string) *worker {
	p = p.newest.Load()
	w := &worker{pipeline: p, tally: p.metrics.newTally(transport), resolver: p.zones.NewResolver(), watches: newWatches(p.observers), names: p.nameLog.of(transport), looker: newLooker()}
	w.keeps = transport == "tcp" || transport == "tls"
	if w.stream = transport != "udp"; w.stream {
		w.queries = make([]query, 1)
	} else {
		w.queries, w.front = make([]query, ahead), p.cache.NewFront()
	}
	return w
}

// serve appends the reply to a message, and publishes what it counted. Where there
// must be no reply, or there is none yet, it returns nil; see pending.
func (w *worker) serve(dst, msg []byte, from netip.AddrPort) (reply []byte) {
	w.tick()
	q := &w.queries[0]
	if q.pending = nil; w.read(q, msg) {
		if w.watches == nil {
			reply = w.reply(q, dst, from.Addr())
		} else {
			reply = w.replySeen(q, dst, from)
		}
	}
	w.publish()
	return reply
}

// pending returns the query that serve was given last, if its reply takes what
// others say.
func (w *worker) pending() *pending { return w.queries[0].pending }

// padded tells whether the reply to that query is to hide its length.
func (w *worker) padded() bool { return w.queries[0].padded }

// publish lets others see what was counted, and find what was answered. That is done
// once for a batch, when its replies have left.
func (w *worker) publish() {
	w.tally.publish()
	if w.front != nil {
		w.front.Publish()
	}
}

// read reads a message, and tells whether there may be a reply to it.
func (w *worker) read(q *query, msg []byte) bool {
	if len(msg) < headerSize {
		w.dropped[dropShort].Add(1)
		return false
	}
	if msg[2]&0x80 != 0 { // a reply: to answer it could begin an endless exchange
		w.dropped[dropReply].Add(1)
		return false
	}
	q.readable = q.read(msg)
	if w.signing != nil {
		w.extend(q)
	}
	if w.front != nil && q.size > 0 {
		q.hash = w.front.Hash(q.key[:q.keyed])
	}
	return true
}

// reply appends the reply to a query. It is nil where there is to be none, or
// where the query is pending.
func (w *worker) reply(q *query, dst []byte, from netip.Addr) (reply []byte) {
	defer func() {
		if fault := recover(); fault != nil {
			w.panics.Add(1)
			w.faults.add(time.Now())
			w.logger.Error("a query ended in a panic", "query", fmt.Sprintf("%x", q.msg[:min(len(q.msg), 512)]), "panic", fmt.Sprint(fault))
			reply = w.fail(q, dst, dns.RcodeServerFailure)
		}
	}()
	w.until--
	looked := w.until <= 0
	if looked {
		w.look(w.now)
	}
	w.request(q, from)
	q.keepalive = q.keepalive && w.keeps
	baked := q.cookie == nil || w.bakes(q, from)
	var refusal []byte
	if q.tsig && q.readable && w.transfers != nil {
		q.signer, refusal = w.transfers.Verify(q.msg)
		q.padded = false // the signature is last, and over what is there
	}
	switch {
	case refusal != nil:
		reply = append(dst, refusal...)
		w.responses[reply[len(dst)+3]&0xf].Add(1)
	case q.opcode() != dns.OpcodeQuery:
		reply = w.fail(q, dst, dns.RcodeNotImplemented)
	case !q.readable && !q.bare:
		reply = w.fail(q, dst, dns.RcodeFormatError)
	case q.version != 0:
		reply = w.fail(q, dst, dns.RcodeBadVers)
	case !baked:
		reply = w.fail(q, dst, dns.RcodeBadCookie)
	case q.bare:
		reply = w.fail(q, dst, dns.RcodeSuccess)
	case q.class == dns.ClassINET && isTransfer(q.qtype) && w.transfers != nil:
		reply = append(dst, w.transfers.Answer(q.msg, from, q.signer.Key())...)
		w.responses[reply[len(dst)+3]&0xf].Add(1)
	case q.class != dns.ClassINET, isTransfer(q.qtype):
		reply = w.fail(q, dst, dns.RcodeRefused)
	case q.qtype == dns.TypeNXNAME: // RFC 9824, section 3.5
		reply = w.explain(q, dst, dns.RcodeFormatError, dns.ExtendedErrorCodeInvalidQueryType, "NXNAME is no type of records")
	default:
		reply = w.answer(q, dst, from)
	}
	if w.limiter != nil && !w.stream && !q.known && q.pending == nil {
		reply = w.limited(q, dst, reply, from)
	}
	if q.signer != nil && reply != nil {
		reply = w.sign(q, reply, len(dst))
	}
	if looked {
		w.saw(q, reply[min(len(dst), len(reply)):])
	}
	return reply
}

// bakes puts a cookie into the reply for the one of the query. It returns false
// where the client has to ask again with that, because it has shown another over
// a transport that lets anybody ask in its name.
func (w *worker) bakes(q *query, from netip.Addr) bool {
	w.cookies.give((*[cookieOption]byte)(q.given[:]), q.cookie, from, w.now)
	q.known = len(q.cookie) > clientCookie && w.cookies.good(q.cookie, from, w.now)
	return q.known || w.stream || len(q.cookie) == clientCookie
}

// limited returns what of a reply is sent to a network that gets many.
func (w *worker) limited(q *query, dst, reply []byte, from netip.Addr) []byte {
	switch w.limiter.judge(from, reply[len(dst):], q, w.now) {
	case send:
		return reply
	case drop:
		w.overRate.Add(1)
		w.dropped[dropRate].Add(1)
		return nil
	}
	w.overRate.Add(1)
	return w.cutShort(q, reply, len(dst))
}

// cutShort leaves of a reply what makes its client ask again over TCP.
func (w *worker) cutShort(q *query, reply []byte, start int) []byte {
	w.truncated.Add(1)
	return q.cutShort(reply, start)
}

// cutShort takes all records out of a reply, which begins at an offset, and sets TC.
func (q *query) cutShort(reply []byte, start int) []byte {
	extended := uint8(0) // part of the response code, where OPT is alone
	if at := start + q.end; q.edns && binary.BigEndian.Uint32(reply[start+6:]) == 0 && at+5 < len(reply) {
		extended = reply[at+5]
	}
	reply[start+2] |= 0x02
	clear(reply[start+6 : start+headerSize])
	reply = reply[:start+q.end]
	if q.edns {
		reply[start+11] = 1
		reply = append(cache.AppendOPT(reply, extended, q.do, len(q.options())), q.options()...)
	}
	return reply
}

// answer answers a question for records: from the cache, or else from the View,
// which is read once.
func (w *worker) answer(q *query, dst []byte, client netip.Addr) []byte {
	fresh := w.freshness() // before the View, which is then no older than that
	view := w.registry.View()
	var ask cache.Query // field by field: the processor waits for a whole that is copied right after its parts
	ask.Message, ask.End, ask.EDNS, ask.DO = q.msg, q.end, q.edns, q.do
	ask.Client, ask.Limit, ask.Stale, ask.Options = client, w.limit(q), fresh.Stale, q.options()
	ask.RA = w.asker != nil && w.asker.Serves(client)
	packed, turn := w.find(q)
	if packed == nil {
		var reply []byte
		if packed, reply = w.prepare(q, dst, &ask, view, fresh); packed == nil {
			return reply
		}
		turn = packed.Turn()
	}
	if ask.RA && packed.Beyond() != "" && q.msg[2]&1 != 0 {
		return w.suspend(q, dst, &ask, packed)
	}
	if ask.RA && packed.Targets() != nil && q.msg[2]&1 != 0 && w.park(q, &ask, packed) {
		return nil
	}
	ask.Turn = turn
	packed.Use()
	zone := packed.Zone()
	if zone != nil {
		ask.Serial = zone.Serial(view)
		if w.signing != nil {
			ask.CO = q.co && zone.Signer() != nil
			if err := w.resign(&ask, packed, view, w.period); err != nil {
				w.errors[errorPack].Add(1)
				return w.fail(q, dst, dns.RcodeServerFailure)
			}
		}
	}
	if zone == nil || !zone.Registered() {
		ask.Stale = false // the name does not depend on the registry
	} else if fresh.Stale && !w.trusts(fresh) {
		return w.notReady(q, dst)
	}
	reply, truncated := packed.Append(dst, &ask)
	if truncated {
		w.truncated.Add(1)
	}
	if packed.Capped() {
		w.capped.Add(1)
	}
	w.responses[reply[len(dst)+3]&0xf].Add(1)
	return reply
}

// prepare makes the answer to a question anew, and has it found from then on. Where
// there is none the reply is made already, or is not there yet.
func (w *worker) prepare(q *query, dst []byte, ask *cache.Query, view *registry.View, fresh *registry.Freshness) (packed *cache.Packed, reply []byte) {
	answer, absence := w.resolver.Resolve(view, q.name(), q.qtype)
	if absence != nil && !w.proves(q, ask, absence, fresh) {
		return nil, w.deny(q, dst, ask, view, absence, fresh)
	}
	if ask.RA && answer != nil && answer.Rcode == dns.RcodeRefused {
		return nil, w.forward(q, dst, ask)
	}
	if answer != nil && answer.Zone != nil && answer.MadeUp() {
		q.source = answer.Zone.Name
	}
	if q.signed && (answer == nil || answer.Zone != nil) {
		order, ok := w.order(w.period, ask.Client, w.stream), true
		if answer.MadeUp() {
			if order, ok = prepaid(order); !ok {
				return nil, w.unsigned(q, dst)
			}
		}
		answer = w.resolver.Prove(answer, order)
	}
	packed, err := w.cache.Pack(q.key[:q.keyed], answer)
	switch {
	case errors.Is(err, dnssec.ErrBudget):
		return nil, w.unsigned(q, dst)
	case err != nil:
		w.errors[errorPack].Add(1)
		w.logger.Debug("an answer could not be packed", "err", err)
		return nil, w.fail(q, dst, dns.RcodeServerFailure)
	}
	if w.asker == nil || answer.Rcode != dns.RcodeRefused { // which is for some to ask
		w.keep(q, packed)
	}
	return packed, nil
}

// find returns the cached answer to the question, if there is one, and its turn.
func (w *worker) find(q *query) (*cache.Packed, uint32) {
	key := q.key[:q.keyed]
	if w.front != nil {
		return w.front.Get(q.hash, key)
	}
	if p := w.cache.Get(key); p != nil {
		return p, p.Turn()
	}
	return nil, 0
}

// keep has the answer to the question found by find.
func (w *worker) keep(q *query, p *cache.Packed) {
	if w.front != nil {
		w.front.Keep(q.hash, p)
	} else {
		w.cache.Put(p)
	}
}

// deny answers that a name does not exist. That is made anew each time, and kept
// nowhere: names that somebody makes up crowd out no other's answer.
func (w *worker) deny(q *query, dst []byte, ask *cache.Query, view *registry.View, absence *zones.Absence, fresh *registry.Freshness) []byte {
	zone := absence.Zone
	if !zone.Registered() {
		ask.Stale = false
	} else if fresh.Stale && !w.trusts(fresh) {
		return w.notReady(q, dst)
	}
	if ask.RA && w.asker.Claims(q.name()) {
		return w.forward(q, dst, ask)
	}
	denial, err := w.denial(zone, view)
	if err != nil {
		w.errors[errorPack].Add(1)
		return w.fail(q, dst, dns.RcodeServerFailure)
	}
	w.responses[dns.RcodeNameError].Add(1)
	ask.Serial = zone.Serial(view)
	return denial.Append(dst, ask, absence.Why)
}

// trusts tells whether a View that is not kept fresh may be answered from. One
// that was never complete does not tell what does not exist.
func (p *pipeline) trusts(f *registry.Freshness) bool {
	return f.Synced && (p.maxStale == 0 || time.Since(f.Since) <= p.maxStale)
}

// notReady answers that nothing is known at the moment (RFC 8914, error 14).
func (w *worker) notReady(q *query, dst []byte) []byte {
	return w.explain(q, dst, dns.RcodeServerFailure, dns.ExtendedErrorCodeNotReady, "the registry has not told yet what there is, or too long ago")
}

// explain fails with an Extended DNS Error (RFC 8914).
func (w *worker) explain(q *query, dst []byte, rcode int, code uint16, text string) []byte {
	reply := w.fail(q, dst, rcode)
	if q.edns {
		at := len(reply) - len(q.options())
		binary.BigEndian.PutUint16(reply[at-2:], uint16(len(q.options())+6+len(text)))
		reply = cache.AppendError(reply, code, []byte(text))
	}
	return reply
}

// limit returns how many octets the reply may have.
func (w *worker) limit(q *query) int {
	if w.stream {
		return maxTCP - q.signer.Size()
	}
	limit := minUDP
	if q.edns {
		limit = min(max(q.udpSize, minUDP), w.udpSize)
	}
	if !q.known && w.udpSize <= cache.UDPSize {
		limit = min(limit, strangerFactor*len(q.msg))
	}
	if q.qtype == dns.TypeANY {
		limit = min(limit, anyFactor*len(q.msg))
	}
	return limit - q.signer.Size()
}

// fail appends a reply that has nothing but a response code, the question where
// one was read, and OPT where the query has one.
func (w *worker) fail(q *query, dst []byte, rcode int) []byte {
	start := len(dst)
	dst = append(dst, q.msg[:headerSize]...)
	header := dst[start:]
	header[2] = 0x80 | header[2]&0x79 // QR, and the query's opcode and RD
	header[3] = header[3]&0x10 | byte(rcode&0xf)
	clear(header[4:])
	if q.size > 0 {
		header[5] = 1
		dst = append(dst, q.msg[headerSize:q.end]...)
	}
	if q.edns {
		dst[start+11] = 1
		dst = cache.AppendOPT(dst, uint8(rcode>>4), q.do, len(q.options()))
		dst = append(dst, q.options()...)
	}
	w.responses[min(rcode, len(w.responses)-1)].Add(1)
	return dst
}
