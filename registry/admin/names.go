package admin

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// Asked is which names DNS was asked for most, since it was told last.
type Asked struct {
	Questions uint64 // all that there were, roughly
	Names     []NameCount
}

// NameCount is a name, what was answered, and roughly how often.
type NameCount struct {
	Name string // as zone files write it, with its final dot
	// Kind is the name of the response code, or NODATA for NOERROR without a record,
	// FORWARDED where somebody else was asked, DROPPED where there was no reply.
	Kind  string
	Count uint64
}

// TopNames are the names that were asked for most. Their figures are rather too low
// than too high.
type TopNames struct {
	Minute, Hour NameWindow
}

// NameWindow is what was asked for in a time that ends now.
type NameWindow struct {
	Seconds   float64 // how long it is; less than its name says soon after the start
	Questions uint64
	Names     []NameShare // asked for most, of any kind
	Unknown   []NameShare // those that there are not: NXDOMAIN
}

// NameShare is a name, and how much of all questions was for it.
type NameShare struct {
	Name, Kind string
	Share      float64 // of 1
	PerSecond  float64
}

const (
	shownNames = 20  // of each list
	keptNames  = 256 // of a slot of a nameLog, answered and not each
	minute     = int(time.Minute / trafficEvery)
)

// nameLog remembers the names of the last hour.
type nameLog struct {
	take func() Asked

	mu      sync.Mutex
	at      time.Time   // until when something was taken
	recent  []*nameSlot // of the last minute, a trafficEvery each; oldest first
	minutes []*nameSlot // of the hour before, a minute each
	minute  *nameSlot   // that one is made of
	parts   int         // of it that there are
}

// nameSlot is what was asked for in a time.
type nameSlot struct {
	seconds   float64
	questions uint64
	counts    map[nameKind]uint64
}

type nameKind struct{ name, kind string }

func newNameLog(take func() Asked) *nameLog {
	return &nameLog{take: take, minute: newNameSlot()}
}

func newNameSlot() *nameSlot { return &nameSlot{counts: make(map[nameKind]uint64)} }

// add adds what was asked for in another time.
func (s *nameSlot) add(o *nameSlot) {
	s.seconds += o.seconds
	s.questions += o.questions
	for name, count := range o.counts {
		s.counts[name] += count
	}
}

// prune leaves the names that were asked for most.
func (s *nameSlot) prune() {
	for _, unknown := range []bool{false, true} {
		of := s.most(func(n nameKind) bool { return n.unknown() == unknown })
		for _, n := range of[min(len(of), keptNames):] {
			delete(s.counts, n)
		}
	}
}

func (n nameKind) unknown() bool { return n.kind == "NXDOMAIN" }

// most returns some of the names, the one that was asked for most first.
func (s *nameSlot) most(which func(nameKind) bool) (of []nameKind) {
	for n := range s.counts {
		if which(n) {
			of = append(of, n)
		}
	}
	slices.SortFunc(of, func(a, b nameKind) int {
		return cmp.Or(cmp.Compare(s.counts[b], s.counts[a]), cmp.Compare(a.name, b.name), cmp.Compare(a.kind, b.kind))
	})
	return of
}

// remember notes what was asked for until now.
func (l *nameLog) remember(now time.Time, asked Asked) {
	l.mu.Lock()
	defer l.mu.Unlock()
	since := now.Sub(l.at)
	first := l.at.IsZero()
	if l.at = now; first {
		return // from before
	}
	slot := newNameSlot()
	slot.seconds, slot.questions = since.Seconds(), asked.Questions
	for _, n := range asked.Names {
		slot.counts[nameKind{n.Name, n.Kind}] += n.Count
	}
	slot.prune()
	l.recent = last(append(l.recent, slot), minute)
	l.minute.add(slot)
	if l.parts++; l.parts == minute {
		l.minute.prune()
		l.minutes = last(append(l.minutes, l.minute), int(time.Hour/time.Minute))
		l.minute, l.parts = newNameSlot(), 0
	}
}

// last returns the last ones of a list, so many at most.
func last(slots []*nameSlot, most int) []*nameSlot {
	return slices.Delete(slots, 0, max(0, len(slots)-most))
}

// top returns what was asked for most.
func (l *nameLog) top() TopNames {
	l.mu.Lock()
	defer l.mu.Unlock()
	return TopNames{Minute: windowOf(l.recent), Hour: windowOf(append(slices.Clone(l.minutes), l.minute))}
}

func windowOf(slots []*nameSlot) NameWindow {
	sum := newNameSlot()
	for _, s := range slots {
		sum.add(s)
	}
	shares := func(of []nameKind) []NameShare {
		list := []NameShare{}
		for _, n := range of[:min(len(of), shownNames)] {
			count := float64(sum.counts[n])
			list = append(list, NameShare{n.name, n.kind, min(count/float64(max(sum.questions, 1)), 1), count / sum.seconds})
		}
		return list
	}
	return NameWindow{
		Seconds: sum.seconds, Questions: sum.questions,
		Names: shares(sum.most(func(nameKind) bool { return true })), Unknown: shares(sum.most(nameKind.unknown)),
	}
}

// overviewNames shows which names are asked for most.
func (s *Server) overviewNames(w http.ResponseWriter, r *http.Request) error {
	if s.names == nil {
		return registry.Errorf(registry.NotFound, "nothing here counts the names that are asked for")
	}
	return reply(w, r, s.names.top())
}
