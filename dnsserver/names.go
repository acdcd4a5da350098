package dnsserver

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Names are what was asked for most. What is asked for seldom may be missing, and
// counts are rather too low than too high: there is room for so many names only.
type Names struct {
	Questions uint64 // all that there were, roughly
	Asked     []NameCount
}

// NameCount is a name, in lower case as zone files write it, what was answered, and
// roughly how often.
type NameCount struct {
	Name, Kind string
	Count      uint64
}

// What was answered to a question for a name: the name of a response code, or one of
// these.
const (
	KindNoData    = "NODATA"    // NOERROR, with no record in the answer
	KindForwarded = "FORWARDED" // somebody else answered
	KindDropped   = "DROPPED"   // nobody did
)

// kind is a Kind in an octet: a response code, or one of those below.
type kind uint8

const (
	noData kind = 0x10 + iota
	forwarded
	dropped
)

func (k kind) String() string {
	switch k {
	case noData:
		return KindNoData
	case forwarded:
		return KindForwarded
	case dropped:
		return KindDropped
	}
	return dns.RcodeToString[int(k)]
}

// Room for names: so many sets of so many each. A name can be in one set alone.
const (
	nameSets = 32
	nameWays = 8
)

// names counts what is asked for most: Misra and Gries's way of finding frequent
// items, in each set by itself. A name that finds its set full takes one from
// every count in it; those that are at nothing make room. So a flood of names that
// come once each leaves those that come often, and a name is never counted too high.
//
// Each worker for UDP has its own. The lock is between it and who takes the counts
// every few seconds, so it is free nearly always.
type names struct {
	seed   maphash.Seed
	mu     sync.Mutex
	all    uint64
	known  [nameSets]nameSet // answered, with a record or none
	others [nameSets]nameSet // not answered: those are found however much is
	_      [64]byte          // nothing else is in the last one's cache line
}

type nameSet struct {
	hashes [nameWays]uint64
	counts [nameWays]uint32
	kinds  [nameWays]kind
	names  [nameWays][]byte // on the wire; used again
}

// count counts questions for a name on the wire, in lower case.
func (n *names) count(name []byte, k kind, times uint32) {
	hash := maphash.Bytes(n.seed, name) ^ uint64(k)*0x9e3779b97f4a7c15
	sets := &n.others
	if k == dns.RcodeSuccess || k == noData || k == forwarded {
		sets = &n.known
	}
	n.mu.Lock()
	n.all += uint64(times)
	sets[hash%nameSets].count(hash, name, k, times)
	n.mu.Unlock()
}

func (s *nameSet) count(hash uint64, name []byte, k kind, times uint32) {
	least := 0
	for i, count := range s.counts {
		if count > 0 && s.hashes[i] == hash {
			s.counts[i] += times
			return
		}
		if count < s.counts[least] {
			least = i
		}
	}
	off := min(s.counts[least], times)
	for i := range s.counts {
		s.counts[i] -= off
	}
	if times > off {
		s.hashes[least], s.counts[least], s.kinds[least] = hash, times-off, k
		s.names[least] = append(s.names[least][:0], name...)
	}
}

// take adds what was counted since it was taken last, and begins anew.
func (n *names) take(to *Names) {
	n.mu.Lock()
	defer n.mu.Unlock()
	to.Questions += n.all
	n.all = 0
	for _, sets := range []*[nameSets]nameSet{&n.known, &n.others} {
		for i := range sets {
			s := &sets[i]
			for way, count := range s.counts {
				if count == 0 {
					continue
				}
				if name, _, err := dns.UnpackDomainName(s.names[way], 0); err == nil {
					to.Asked = append(to.Asked, NameCount{name, s.kinds[way].String(), uint64(count)})
				}
				s.counts[way] = 0
			}
		}
	}
}

// nameLog has the names of all workers.
type nameLog struct {
	streams *names // of all connections together, of which there may be many

	mu      sync.Mutex
	workers []*names
}

func newNameLog() *nameLog { return &nameLog{streams: &names{seed: maphash.MakeSeed()}} }

// of returns where a worker counts.
func (l *nameLog) of(transport string) *names {
	if transport != "udp" {
		return l.streams
	}
	n := &names{seed: l.streams.seed}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.workers = append(l.workers, n)
	return n
}

// TakeNames returns which names were asked for most since it was called last, by
// whoever did. A name is in there once for each worker that counted it.
func (s *Server) TakeNames() (all Names) {
	l := s.newest.Load().nameLog
	l.mu.Lock()
	workers := slices.Clone(l.workers)
	l.mu.Unlock()
	for _, n := range append(workers, l.streams) {
		n.take(&all)
	}
	return all
}

// looker chooses which questions are looked at: all of them while they are few, and
// one in sampling while they are many, so that nothing asked for on a quiet machine
// is missed, and a busy one pays next to nothing. Which one it is, is chance: what
// comes in turn is seen all the same.
type looker struct {
	until   int // questions to the next that is looked at
	every   int // on average; each of those stands for so many
	last    time.Time
	untimed int // since one was timed

	weight int       // how many the one that is looked at stands for
	start  time.Time // of its answer; zero: it is not timed
}

// lookApart is how long it is from one look to the next, while that takes less than
// sampling questions.
const lookApart = time.Millisecond

func newLooker() looker { return looker{every: 1, untimed: sampling} }

// look looks at the next question, and chooses the one after it.
func (l *looker) look(now time.Time) {
	l.weight, l.start = l.every, time.Time{}
	if l.untimed += l.every; l.untimed >= sampling {
		l.untimed, l.start = 0, time.Now()
	}
	switch apart := now.Sub(l.last); {
	case apart < lookApart:
		l.every = min(2*l.every, sampling)
	case apart > 100*lookApart:
		l.every = 1
	case apart > 2*lookApart:
		l.every = max(l.every/2, 1)
	}
	l.last, l.until = now, 1+rand.IntN(2*l.every-1)
}

// saw measures the question that was looked at, and counts its name. The reply is nil
// where there is none, or not yet.
func (w *worker) saw(q *query, reply []byte) {
	if !w.start.IsZero() {
		w.duration.Observe(time.Since(w.start).Seconds())
		w.asked.Observe(float64(len(q.msg)))
		if len(reply) > 0 {
			w.replied.Observe(float64(len(reply)))
		}
	}
	if q.size == 0 || q.opcode() != dns.OpcodeQuery {
		return
	}
	k := dropped
	switch {
	case q.pending != nil:
		k = forwarded
	case len(reply) >= headerSize:
		if k = kind(reply[3] & 0xf); k == dns.RcodeSuccess && reply[6]|reply[7] == 0 {
			k = w.nothing(q)
		}
	}
	w.names.count(q.name(), k, uint32(w.weight))
}

// nothing tells why there is nothing in an answer. One that proves it may say
// NOERROR of a name that does not exist (RFC 9824).
func (w *worker) nothing(q *query) kind {
	if q.signed {
		if _, absence := w.resolver.Resolve(w.registry.View(), q.name(), q.qtype); absence != nil {
			return dns.RcodeNameError
		}
	}
	return noData
}
