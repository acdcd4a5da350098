package dnsserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/dnsserver/forward"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
	"github.com/rollcall-dns/rollcall/zones/dnssec"
)

// pending is a query whose reply takes what others say. All other queries go on
// meanwhile: whoever has read it calls reply in a goroutine of its own, in which it
// shares nothing with the worker that it comes from.
type pending struct {
	*pipeline
	transport string
	query     query
	ask       cache.Query
	period    dnssec.Period // of signatures
	sight     sight         // who sees it
	local     *cache.Packed // leads to a name of others; nil: the question itself is for them
}

// maxLeaps is how often an alias may lead from our zones out of them, or back.
const maxLeaps = 8

// forward appends the reply to a question for somebody else's name, where that is
// known. Otherwise the query is pending.
func (w *worker) forward(q *query, dst []byte, ask *cache.Query) []byte {
	if q.msg[2]&1 == 0 || w.asker.Looped(q.name()) { // nobody asked for recursion
		return w.fail(q, dst, dns.RcodeRefused)
	}
	now := time.Now()
	f := w.asker.Cached(w.outward(q, q.name()), now)
	if f == nil || f.Beyond != "" {
		return w.suspend(q, dst, ask, nil)
	}
	ask.Stale = false
	reply, truncated := f.Append(dst, ask, now)
	if truncated {
		w.truncated.Add(1)
	}
	w.responses[reply[len(dst)+3]&0xf].Add(1)
	return reply
}

// outward returns the question for a name as upstreams are asked it.
func (p *pipeline) outward(q *query, name []byte) forward.Question {
	return forward.Question{Name: name, Type: q.qtype, DO: q.do, CD: q.msg[3]&0x10 != 0}
}

// suspend makes a query pending. It appends a reply only where too many are.
func (w *worker) suspend(q *query, dst []byte, ask *cache.Query, local *cache.Packed) []byte {
	if !w.asker.Enter(ask.Client) {
		start := len(dst)
		dst = w.fail(q, dst, dns.RcodeServerFailure)
		dst[start+3] |= 0x80 // RA
		return dst
	}
	p := &pending{pipeline: w.pipeline, transport: w.tally.transport, query: *q, ask: *ask, period: w.period, local: local}
	p.query.msg = bytes.Clone(q.msg)
	p.ask.Message, p.ask.Options = p.query.msg, bytes.Clone(ask.Options)
	p.query.cookie = nil
	q.pending = p
	return nil
}

// reply waits for the others, and returns the reply; nil: there is to be none.
func (p *pending) reply(ctx context.Context) []byte {
	reply := p.answer(ctx)
	if p.sight.by != 0 {
		p.show(p.sight, p.transport, p.query.msg, reply)
	}
	return reply
}

func (p *pending) answer(ctx context.Context) (reply []byte) {
	defer p.asker.Leave(p.ask.Client)
	defer func() {
		if fault := recover(); fault != nil {
			p.faults.add(time.Now())
			p.metrics.late(p.transport, func(t *tally) { t.panics.Add(1) })
			p.logger.Error("a query ended in a panic", "query", fmt.Sprintf("%x", p.query.msg[:min(len(p.query.msg), 512)]), "panic", fmt.Sprint(fault))
			reply, _ = p.write(nil, &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}}, false)
		}
	}()
	dst := make([]byte, 0, minUDP)
	if p.local == nil {
		question := p.outward(&p.query, p.query.name())
		if f, stale := p.asker.Ask(ctx, question); f.Beyond == "" {
			p.ask.Stale = stale
			reply, truncated := f.Append(dst, &p.ask, time.Now())
			return p.finish(reply, truncated)
		}
	}
	m, stale := p.compose(ctx)
	return p.finish(p.write(dst, m, stale))
}

// finish counts a reply, and bounds what the client's network gets.
func (p *pending) finish(reply []byte, truncated bool) []byte {
	limit := send
	if p.limiter != nil && p.transport == "udp" && !p.query.known {
		limit = p.limiter.judge(p.ask.Client, reply, &p.query, time.Now())
	}
	p.metrics.late(p.transport, func(t *tally) {
		switch {
		case limit == drop:
			t.dropped[dropRate].Add(1)
			return
		case limit == cutShort, truncated:
			t.truncated.Add(1)
		}
		t.responses[reply[3]&0xf].Add(1)
	})
	switch limit {
	case drop:
		return nil
	case cutShort:
		reply = p.query.cutShort(reply, 0)
	}
	if p.query.signer != nil {
		reply = p.sign(&p.query, reply, 0)
	}
	return reply
}

// compose follows the aliases that lead from our zones to others' names, or from
// those to ours, and returns all that is on the way.
func (p *pending) compose(ctx context.Context) (m *dns.Msg, stale bool) {
	m = new(dns.Msg)
	name, ours := string(p.query.name()), p.local != nil
	for range maxLeaps {
		var part *dns.Msg
		var next string
		if ours {
			part, next = p.ours(name)
		} else {
			var old bool
			part, next, old = p.others(ctx, name)
			stale = stale || old
		}
		m.Answer, m.Ns, m.Rcode = append(m.Answer, part.Answer...), part.Ns, part.Rcode
		if next == "" || part.Rcode != dns.RcodeSuccess {
			return m, stale
		}
		name, ours = next, !ours
	}
	return &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}}, stale
}

// whole is a query for a part of an answer, as long as it may be.
func (p *pending) whole(name string) *cache.Query {
	message := make([]byte, headerSize, headerSize+len(name)+4)
	message = append(message, name...)
	message = append(message, byte(p.query.qtype>>8), byte(p.query.qtype), 0, dns.ClassINET)
	return &cache.Query{Message: message, End: len(message), Client: p.ask.Client, Limit: maxTCP, Stale: p.ask.Stale}
}

// ours answers for a name in wire format in one of our zones, and says to which of
// others that leads.
func (p *pending) ours(name string) (part *dns.Msg, next string) {
	failure := &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}}
	fresh, view := p.freshness(), p.registry.View()
	if fresh.Stale && !p.trusts(fresh) {
		return failure, ""
	}
	answer := p.resolve(view, name)
	packed, err := p.cache.Pack(append([]byte(name), byte(p.query.qtype>>8), byte(p.query.qtype)), answer)
	if err != nil {
		return failure, ""
	}
	q := p.whole(name)
	q.Turn = packed.Turn()
	if zone := packed.Zone(); zone != nil {
		q.Serial = zone.Serial(view)
	}
	if p.resign(q, packed, view, p.period) != nil {
		return failure, ""
	}
	part = new(dns.Msg)
	reply, _ := packed.Append(nil, q)
	if part.Unpack(reply) != nil {
		return failure, ""
	}
	return part, packed.Beyond()
}

// resolve answers for a name in one of our zones, with the signatures of who has
// asked for them.
func (p *pending) resolve(view *registry.View, name string) *zones.Answer {
	if !p.query.signed {
		return p.zones.Resolve(view, zones.Question{Name: name, Type: p.query.qtype})
	}
	r := p.zones.NewResolver()
	answer, _ := r.Resolve(view, []byte(name), p.query.qtype)
	return r.Prove(answer, p.order(p.period, p.ask.Client, p.transport != "udp"))
}

// others answers for a name of others, and says to which of ours that leads.
func (p *pending) others(ctx context.Context, name string) (part *dns.Msg, next string, stale bool) {
	f, stale := p.asker.Ask(ctx, p.outward(&p.query, []byte(name)))
	part = new(dns.Msg)
	q := p.whole(name)
	q.Stale = stale
	reply, _ := f.Append(nil, q, time.Now())
	if part.Unpack(reply) != nil {
		part.Rcode = dns.RcodeServerFailure
	}
	return part, f.Beyond, stale
}

// write writes a composed reply behind the client's own question.
func (p *pending) write(dst []byte, m *dns.Msg, stale bool) (reply []byte, truncated bool) {
	q := &p.query
	name, _, _ := dns.UnpackDomainName(q.name(), 0)
	m.Question = []dns.Question{{Name: name, Qtype: q.qtype, Qclass: q.class}}
	m.Compress = true
	room := p.ask.Limit
	if q.edns {
		room -= len(cache.AppendOPT(nil, 0, q.do, 0)) + len(p.ask.Options)
	}
	packed, err := m.Pack()
	if err != nil {
		packed = append(make([]byte, headerSize), q.msg[headerSize:q.end]...)
		packed[3], packed[5] = dns.RcodeServerFailure, 1
	}
	packed, truncated = fit(packed, q.end, room)
	dst = append(dst, packed...)
	copy(dst, q.msg[:2])
	copy(dst[headerSize:], q.msg[headerSize:q.end])
	dst[2] = 0x80 | q.msg[2]&1 // QR, RD as asked
	if truncated {
		dst[2] |= 2 // TC
	}
	if p.local != nil {
		dst[2] |= 4 // AA is for the name that was asked for
	}
	dst[3] = 0x80 | q.msg[3]&0x10 | dst[3]&0xf // RA, CD as asked
	if q.edns {
		dst[11]++
		dst = append(cache.AppendOPT(dst, 0, q.do, len(p.ask.Options)), p.ask.Options...)
	}
	return dst, truncated
}

// fit takes from the end of a message, whose question ends at an offset, the records
// that there is no room for, and tells whether one of the answer is among them. What
// miekg/dns has for that knows no room below 512 octets, and an OPT record is beside
// the room that is meant here.
func fit(message []byte, end, room int) (fitting []byte, truncated bool) {
	if len(message) <= room {
		return message, false
	}
	var kept [3]uint16
	eachRecord(message, func(section, _, _, recordEnd int) {
		if recordEnd <= room {
			kept[section]++
			end = recordEnd
		} else if section == 0 {
			truncated = true
		}
	})
	for section, n := range kept {
		binary.BigEndian.PutUint16(message[6+2*section:], n)
	}
	return message[:end], truncated
}
