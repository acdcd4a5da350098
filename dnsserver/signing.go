package dnsserver

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
	"github.com/rollcall-dns/rollcall/zones/dnssec"
)

// A client that sets DO is answered from the cache as others are, under a key of
// its own, in which the period of the signatures stands: no answer is found any
// more when its signatures are a day old.
//
// What is not in the cache has to be signed, which costs as much as two hundred
// answers, and names can be made up without end. So there is a budget of signatures
// that are made in a second. Beyond it a query over UDP is answered with TC and
// nothing else, which costs no signature: who has asked comes back over TCP, and who
// has asked in somebody else's name does not. TCP has a budget of its own, which no
// such flood uses up. Beyond that too the answer is SERVFAIL, which sends a resolver
// to another server; one without signatures would pass for a forgery.
const (
	signaturesPerNetwork = 2_000 // a second, for a /24 or /56
	signaturesInAll      = 8_000 // and for all: a third of a core
)

// signing is the budget of signatures.
type signing struct{ network, all *limiter }

func newSigning() *signing {
	return &signing{
		network: newLimiter(RateLimit{PerSecond: signaturesPerNetwork}),
		all:     newLimiter(RateLimit{PerSecond: signaturesInAll}),
	}
}

// allows tells whether a signature may be made for a client, and counts it.
func (s *signing) allows(client netip.Addr, stream bool, now time.Time) bool {
	transport := uint64(0)
	if stream {
		transport = 1
	}
	return s.network.bound(counted{networkOf(client), transport}, s.network.perSecond, now) == send &&
		s.all.bound(counted{what: transport}, s.all.perSecond, now) == send
}

// signaturesMade is the metric of what signing costs.
func signaturesMade(newest *atomic.Pointer[pipeline]) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "rollcall_dns_signatures_total", Help: "Signatures made for zones with keys.",
	}, func() float64 { return float64(newest.Load().zones.SignaturesMade()) })
}

// extend makes the key of a query that of its signed answer, if it is for one.
func (w *worker) extend(q *query) {
	if q.size > 0 && (q.do || q.qtype == dns.TypeRRSIG) {
		q.signed = true
		q.keyed = q.size + 2
		q.key[q.size], q.key[q.size+1] = byte(w.period>>8), byte(w.period)
	}
}

// tick follows the newest pipeline and reads the clock, once for a batch.
func (w *worker) tick() {
	if p := w.newest.Load(); p != w.pipeline {
		w.follow(p)
	}
	if w.now = time.Now(); w.signing != nil {
		w.period = dnssec.PeriodAt(w.now)
	}
}

// proves tells whether a name that is absent is denied with a proof: not while
// nobody knows whether it is, nor where others are to be asked for it.
func (w *worker) proves(q *query, ask *cache.Query, absence *zones.Absence, fresh *registry.Freshness) bool {
	return q.do && absence.Zone.Signer() != nil &&
		!(absence.Zone.Registered() && fresh.Stale && !w.trusts(fresh)) && !(ask.RA && w.asker.Claims(q.name()))
}

// order is what a client may have signed.
func (p *pipeline) order(period dnssec.Period, client netip.Addr, stream bool) dnssec.Order {
	now := time.Now()
	return dnssec.Order{Period: period, Allow: func() bool { return p.signing.allows(client, stream, now) }}
}

// prepaid takes one signature from the budget for what cannot do without. ok is
// false where there is none left: that is found out before anything else is made.
func prepaid(order dnssec.Order) (_ dnssec.Order, ok bool) {
	allow, paid := order.Allow, true
	if !allow() {
		return order, false
	}
	order.Allow = func() bool {
		if paid {
			paid = false
			return true
		}
		return allow()
	}
	return order, true
}

// unsigned answers where no more signatures may be made.
func (w *worker) unsigned(q *query, dst []byte) []byte {
	w.overBudget.Add(1)
	if w.stream {
		return w.explain(q, dst, dns.RcodeServerFailure, dns.ExtendedErrorCodeOther, dnssec.ErrBudget.Error())
	}
	return w.cutShort(q, w.fail(q, dst, dns.RcodeSuccess), len(dst))
}

// resign puts into what a reply depends on the signature over the zone's SOA, where
// the answer has it, and the serial that is signed.
func (p *pipeline) resign(ask *cache.Query, packed *cache.Packed, view *registry.View, period dnssec.Period) (err error) {
	if packed.SOASigned() {
		ask.Serial, ask.SOASignature, err = p.zones.SignedSerial(packed.Zone(), view, period)
	}
	return err
}
