package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxForwardedTTL and maxDenialTTL are the longest that an upstream's answer is
	// kept, and one that there is nothing.
	maxForwardedTTL = 24 * time.Hour
	maxDenialTTL    = time.Hour

	// keptStale is for how long an answer is kept beyond its TTL, to be given where
	// no upstream gives a newer one, and forwardedStaleTTL the TTL that it has then
	// (RFC 8767, section 4).
	keptStale         = 24 * time.Hour
	forwardedStaleTTL = 30

	// An answer is hot, and asked for anew before it runs out, when it was given so
	// often; that is when a tenth of its TTL is left.
	hot      = 3
	lastPart = 10
)

// bitRA is in the fourth octet of a header.
const bitRA = 0x80

// ForwardedFlags are what the answer of an upstream depends on beside the
// question. Where they differ, so may the answers.
type ForwardedFlags byte

// The flags of a query that are sent on.
const (
	ForwardedDO ForwardedFlags = 1 << iota // DNSSEC OK
	ForwardedCD                            // checking disabled
)

// Forwarded is what an upstream has answered to a question, ready to be sent: the
// records, whose TTLs count down from the moment it came. It is immutable but for
// how often it was given.
type Forwarded struct {
	// Beyond is the name in wire format, in a zone of ours, that the answer leads to:
	// the rest of it is there. It is set before the answer is given to others.
	Beyond string

	key       string
	rcode     uint8
	body      []byte // the records, as they stand behind the question
	records   []span
	answers   int           // of the records are in the answer section; the rest is in the authority section
	denial    bool          // it says that there is nothing
	cut       bool          // the upstream has left out some records
	ttl       time.Duration // of all records the smallest
	came      time.Time
	given     atomic.Uint32
	refreshes atomic.Bool
}

// span is where a record of Forwarded.body ends, and where its TTL stands.
type span struct{ end, ttl uint16 }

// NewForwarded makes a Forwarded of what is kept of an upstream's reply: its
// question, answers and authorities. The key is the question's: see
// ForwardedCache.Get. One that is truncated is not to be kept.
func NewForwarded(key []byte, reply *dns.Msg, now time.Time) (*Forwarded, error) {
	m := dns.Msg{Question: reply.Question, Answer: reply.Answer, Ns: reply.Ns, Compress: true}
	packed, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("packing an upstream's answer: %w", err)
	}
	f := &Forwarded{
		key: string(key), rcode: uint8(reply.Rcode), came: now, answers: len(reply.Answer), denial: denies(reply), cut: reply.Truncated,
		body: packed[headerSize+len(key)-1-2+4:],
	}
	if len(packed) > 1<<16-1 {
		return nil, fmt.Errorf("an upstream's answer has %d octets when written again", len(packed))
	}
	if f.records, f.ttl = spans(f.body, len(reply.Answer)+len(reply.Ns)); f.records == nil {
		return nil, errors.New("an upstream's answer has records that end nowhere")
	}
	if f.ttl = min(f.ttl, f.limitTTL()); f.cut {
		f.ttl = 0
	}
	return f, nil
}

// denies tells whether a reply says that there is nothing: no such name, or no record of
// the type, be it at once or where aliases lead (RFC 2308, section 2). One that ends with
// an alias into a zone of ours counts, too, which does no harm.
func denies(reply *dns.Msg) bool {
	if reply.Rcode == dns.RcodeNameError {
		return true
	}
	qtype := reply.Question[0].Qtype
	return !slices.ContainsFunc(reply.Answer, func(rr dns.RR) bool {
		return qtype == dns.TypeANY || rr.Header().Rrtype == qtype
	})
}

// FailedForwarded says that no upstream answers a question. It is kept for a
// second, so that who asks again and again is not asked on (RFC 9520).
func FailedForwarded(key []byte, now time.Time) *Forwarded {
	return &Forwarded{key: string(key), rcode: dns.RcodeServerFailure, came: now, ttl: time.Second}
}

// spans finds so many records, and the smallest TTL of them; without a record it
// is zero, as nothing says how long that is true.
func spans(body []byte, n int) (records []span, smallest time.Duration) {
	records = make([]span, 0, n)
	for at := 0; at < len(body); {
		for body[at] != 0 && body[at]&0xc0 == 0 {
			at += 1 + int(body[at])
		}
		at += 1 + int(body[at]>>7) // a pointer has a second octet
		ttl := time.Duration(binary.BigEndian.Uint32(body[at+4:])) * time.Second
		if len(records) == 0 || ttl < smallest {
			smallest = ttl
		}
		end := at + 10 + int(binary.BigEndian.Uint16(body[at+8:]))
		records = append(records, span{uint16(end), uint16(at + 4)})
		at = end
	}
	if len(records) != n {
		return nil, 0
	}
	return records, smallest
}

// Fresh tells whether the answer's TTL has not run out.
func (f *Forwarded) Fresh(now time.Time) bool { return now.Sub(f.came) < f.ttl }

// Refresh tells, of an answer that is often asked for, when it is time to ask for
// it anew, once.
func (f *Forwarded) Refresh(now time.Time) bool {
	return f.given.Load() >= hot && f.ttl-now.Sub(f.came) < f.ttl/lastPart && f.refreshes.CompareAndSwap(false, true)
}

// Failed tells whether it says that no upstream could answer.
func (f *Forwarded) Failed() bool { return f.rcode == dns.RcodeServerFailure }

// Append appends the reply to a query, as Packed.Append does.
func (f *Forwarded) Append(dst []byte, q *Query, now time.Time) (reply []byte, truncated bool) {
	f.given.Add(1)
	start := len(dst)
	dst = append(dst, q.Message[:q.End]...)
	ede := f.staleEDE(q)
	room := q.Limit - q.End
	if q.EDNS {
		room -= optSize + len(q.Options)
	}
	n, size := len(f.records), len(f.body)
	for n > 0 && size > room {
		if n--; n == 0 {
			size = 0
		} else {
			size = int(f.records[n-1].end)
		}
	}
	truncated = n < f.answers || f.cut
	dst = append(dst, f.body[:size]...)
	age := uint32(now.Sub(f.came) / time.Second)
	for _, r := range f.records[:n] {
		ttl := dst[start+q.End+int(r.ttl):]
		left := min(binary.BigEndian.Uint32(ttl), uint32(f.limitTTL()/time.Second))
		switch {
		case q.Stale:
			left = forwardedStaleTTL
		case left > age:
			left -= age
		default:
			left = 0
		}
		binary.BigEndian.PutUint32(ttl, left)
	}
	if q.EDNS {
		if len(ede) > room-size {
			ede = nil
		}
		dst = AppendOPT(dst, 0, q.DO, len(q.Options)+len(ede))
		dst = append(append(dst, q.Options...), ede...)
	}
	flags := byte(0)
	if truncated {
		flags |= bitTC
	}
	header(dst[start:], q, flags, f.rcode, counts{answers: min(n, f.answers), authority: max(0, n-f.answers)})
	return dst, truncated
}

// limitTTL is the longest that any record may be kept.
func (f *Forwarded) limitTTL() time.Duration {
	if f.denial {
		return maxDenialTTL
	}
	return maxForwardedTTL
}

// The Extended DNS Errors of answers that are older than their TTL.
var (
	forwardedStale = AppendError(nil, dns.ExtendedErrorCodeStaleAnswer, []byte("no upstream answers: this was true when one last did"))
	forwardedNone  = AppendError(nil, dns.ExtendedErrorCodeStaleNXDOMAINAnswer, []byte("no upstream answers: there was no such name when one last did"))
	forwardedFail  = AppendError(nil, dns.ExtendedErrorCodeNoReachableAuthority, []byte("no upstream answers"))
)

func (f *Forwarded) staleEDE(q *Query) []byte {
	switch {
	case f.Failed():
		return forwardedFail
	case !q.Stale:
		return nil
	case f.rcode == dns.RcodeNameError:
		return forwardedNone
	}
	return forwardedStale
}

func (f *Forwarded) cost() int64 {
	return int64(unsafe.Sizeof(*f)) + int64(len(f.key)+len(f.Beyond)+cap(f.body)+cap(f.records)*int(unsafe.Sizeof(span{})))
}

// ForwardedCache keeps the answers of upstreams for as long as their TTLs say,
// and a while beyond. It is apart from Cache, so that no name of somebody else's
// crowds out one of ours. Its methods may be called from any goroutine.
type ForwardedCache struct {
	store *ristretto.Cache[uint64, *Forwarded]
	seed  maphash.Seed
}

// NewForwardedCache returns an empty one for so many octets.
func NewForwardedCache(maxBytes int64, metrics prometheus.Registerer) (*ForwardedCache, error) {
	c := &ForwardedCache{seed: maphash.MakeSeed()}
	var err error
	c.store, err = ristretto.NewCache(&ristretto.Config[uint64, *Forwarded]{
		MaxCost: maxBytes, NumCounters: max(maxBytes/50, 1000), BufferItems: 64,
		KeyToHash: func(hash uint64) (uint64, uint64) { return hash, 0 },
	})
	if err != nil {
		return nil, fmt.Errorf("making a cache of %d bytes: %w", maxBytes, err)
	}
	if metrics != nil {
		err = metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "rollcall_forward_cache_bytes", Help: "Memory that the upstreams' answers take.",
		}, func() float64 { return float64(c.store.MaxCost() - c.store.RemainingCost()) }))
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("registering the metrics of forwarded answers: %w", err)
	}
	return c, nil
}

// Get returns what is known of a question, even beyond its TTL; nil: nothing. The
// key is the question's name on the wire in lower case, the two octets of its
// type, and its ForwardedFlags.
func (c *ForwardedCache) Get(key []byte, now time.Time) *Forwarded {
	f, ok := c.store.Get(maphash.Bytes(c.seed, key))
	if !ok || f.key != string(key) || now.Sub(f.came) >= f.ttl+keptStale {
		return nil
	}
	return f
}

// Put offers an answer to the cache, which need not take it. What is too old to be
// given stays until there is no room for it: with a time to live of its own in
// ristretto, each answer that is replaced would leave something there for a day.
func (c *ForwardedCache) Put(f *Forwarded) {
	if f.ttl > 0 {
		c.store.Set(maphash.String(c.seed, f.key), f, f.cost())
	}
}

// Successor returns an empty cache in the same memory: what is kept here, or put here
// later, makes room for what is kept there. Close is for the first of them alone.
func (c *ForwardedCache) Successor() *ForwardedCache {
	return &ForwardedCache{store: c.store, seed: maphash.MakeSeed()}
}

// Close ends the cache's goroutines; see Cache.Close.
func (c *ForwardedCache) Close() { c.store.Close() }

// Wait returns when the cache has taken what was put into it, or not.
func (c *ForwardedCache) Wait() { c.store.Wait() }
