package dnsserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
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
	if w.park(q, ask, local) {
		return nil
	}
	start := len(dst)
	dst = w.fail(q, dst, dns.RcodeServerFailure)
	dst[start+3] |= 0x80 // RA
	return dst
}

// park makes a query pending, unless too many are.
func (w *worker) park(q *query, ask *cache.Query, local *cache.Packed) bool {
	if !w.asker.Enter(ask.Client) {
		return false
	}
	p := &pending{pipeline: w.pipeline, transport: w.tally.transport, query: *q, ask: *ask, period: w.period, local: local}
	p.query.msg = bytes.Clone(q.msg)
	p.ask.Message, p.ask.Options = p.query.msg, bytes.Clone(ask.Options)
	p.query.cookie = nil
	q.pending = p
	return true
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
			reply, _ = p.write(nil, failedPart())
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, forward.BudgetTime) // for all parts of the answer together
	defer cancel()
	dst := make([]byte, 0, minUDP)
	switch {
	case p.local != nil && p.local.Targets() != nil:
		return p.finish(p.write(dst, p.withTargets(ctx)))
	case p.local == nil:
		question := p.outward(&p.query, p.query.name())
		if f, stale := p.asker.Ask(ctx, question); f.Beyond == "" {
			p.ask.Stale = stale
			reply, truncated := f.Append(dst, &p.ask, time.Now())
			return p.finish(reply, truncated)
		}
	}
	return p.finish(p.write(dst, p.compose(ctx)))
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

// part is a part of an answer, or all of it.
type part struct {
	*dns.Msg
	why  []byte // an Extended DNS Error as an option, or nothing
	next string // the name in wire format that it leads to, and that is on the other side; empty: it leads to none
}

func failedPart() part { return part{Msg: &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}}} }

// readPart reads a reply to a question for a part.
func readPart(reply []byte, next string) part {
	p := part{Msg: new(dns.Msg), next: next}
	if p.Unpack(reply) != nil {
		return failedPart()
	}
	p.Extra = slices.DeleteFunc(p.Extra, func(rr dns.RR) bool {
		opt, ok := rr.(*dns.OPT)
		if ok {
			for _, o := range opt.Option {
				if e, ok := o.(*dns.EDNS0_EDE); ok {
					p.why = cache.AppendError(nil, e.InfoCode, []byte(e.ExtraText))
				}
			}
		}
		return ok
	})
	return p
}

// compose follows the aliases that lead from our zones to others' names, or from
// those to ours, and returns all that is on the way.
func (p *pending) compose(ctx context.Context) part {
	all := part{Msg: new(dns.Msg)}
	name, ours := string(p.query.name()), p.local != nil
	for range maxLeaps {
		var one part
		if ours {
			one = p.ours(name)
		} else {
			one = p.others(ctx, name, p.query.qtype)
		}
		all.Answer, all.Ns, all.Rcode = append(all.Answer, one.Answer...), one.Ns, one.Rcode
		all.Truncated = one.Truncated // by the upstream, which could not be asked over TCP
		if one.why != nil {
			all.why = one.why
		}
		if one.next == "" || one.Rcode != dns.RcodeSuccess {
			return all
		}
		name, ours = one.next, !ours
	}
	return failedPart()
}

const (
	// maxTargets is for how many targets of an answer others are asked.
	maxTargets = 8

	// targetTime is how long such an answer waits for them: it is good without them, too.
	targetTime = 400 * time.Millisecond
)

// withTargets returns an answer of ours, some of whose SRV records send their reader on
// to names of others, with what is known of the addresses of those.
func (p *pending) withTargets(ctx context.Context) part {
	all := p.ours(string(p.query.name()))
	ctx, cancel := context.WithTimeout(ctx, targetTime)
	defer cancel()
	targets := p.local.Targets()
	targets = targets[:min(len(targets), maxTargets)]
	known := make([][]dns.RR, len(targets))
	var asking sync.WaitGroup
	for n, name := range targets {
		asking.Go(func() {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
				if one := p.others(ctx, name, qtype); one.Rcode == dns.RcodeSuccess && one.next == "" {
					known[n] = append(known[n], one.Answer...)
				}
			}
		})
	}
	asking.Wait()
	all.Extra = append(all.Extra, slices.Concat(known...)...)
	return all
}

// whole is a query for a part of an answer, as long as it may be.
func (p *pending) whole(name string, qtype uint16) *cache.Query {
	message := make([]byte, headerSize, headerSize+len(name)+4)
	message = append(message, name...)
	message = append(message, byte(qtype>>8), byte(qtype), 0, dns.ClassINET)
	return &cache.Query{Message: message, End: len(message), EDNS: true, Client: p.ask.Client, Limit: maxTCP, Stale: p.ask.Stale}
}

// ours answers for a name in wire format in one of our zones.
func (p *pending) ours(name string) part {
	fresh, view := p.freshness(), p.registry.View()
	if fresh.Stale && !p.trusts(fresh) {
		return failedPart()
	}
	answer := p.resolve(view, name)
	packed, err := p.cache.Pack(append([]byte(name), byte(p.query.qtype>>8), byte(p.query.qtype)), answer)
	if err != nil {
		return failedPart()
	}
	q := p.whole(name, p.query.qtype)
	q.Turn = packed.Turn()
	if zone := packed.Zone(); zone != nil {
		q.Serial = zone.Serial(view)
	}
	if p.resign(q, packed, view, p.period) != nil {
		return failedPart()
	}
	reply, _ := packed.Append(nil, q)
	return readPart(reply, packed.Beyond())
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

// others answers for a name of others.
func (p *pending) others(ctx context.Context, name string, qtype uint16) part {
	question := p.outward(&p.query, []byte(name))
	question.Type = qtype
	f, stale := p.asker.Ask(ctx, question)
	q := p.whole(name, qtype)
	q.Stale = stale
	reply, _ := f.Append(nil, q, time.Now())
	return readPart(reply, f.Beyond)
}

// write writes a composed reply behind the client's own question.
func (p *pending) write(dst []byte, m part) (reply []byte, truncated bool) {
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
	truncated = truncated || m.Truncated
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
		if len(m.why) > room-len(packed) {
			m.why = nil
		}
		dst[11]++
		dst = cache.AppendOPT(dst, 0, q.do, len(p.ask.Options)+len(m.why))
		dst = append(append(dst, p.ask.Options...), m.why...)
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
