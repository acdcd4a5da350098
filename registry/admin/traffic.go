package admin

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// Traffic is what was asked and answered so far; every figure only grows.
type Traffic struct {
	Queries   uint64
	Responses map[string]uint64 // by the name of the response code
	// Durations are how long answers took, of such as were timed: how many took no
	// longer than each bound, in the order of the bounds.
	Durations []DurationCount
}

// DurationCount is how many answers took no longer than a time.
type DurationCount struct {
	UpTo  time.Duration
	Count uint64
}

// Sample is what happened in a trafficEvery.
type Sample struct {
	At        time.Time          // its end
	Queries   float64            // a second
	Responses map[string]float64 // a second, those that there were
	Median    float64            `json:",omitempty"` // seconds; zero: none was timed
	Slowest   float64            `json:",omitempty"` // of 100, 99 were faster
}

// The page draws the last hour.
const (
	trafficEvery  = 10 * time.Second
	trafficMemory = int(time.Hour / trafficEvery)
)

// trafficLog remembers the last hour's traffic.
type trafficLog struct {
	read func() Traffic

	mu      sync.Mutex
	before  Traffic
	at      time.Time // of before
	samples []Sample  // oldest first
}

func newTrafficLog(read func() Traffic) *trafficLog { return &trafficLog{read: read} }

// measure has the traffic and the names remembered until ctx ends.
func (s *Server) measure(ctx context.Context) {
	note := func(now time.Time) {
		if s.traffic != nil {
			s.traffic.take(now, s.traffic.read())
		}
		if s.names != nil {
			s.names.remember(now, s.names.take())
		}
	}
	note(time.Now())
	tick := time.NewTicker(trafficEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			note(now)
		case <-ctx.Done():
			return
		}
	}
}

func (l *trafficLog) take(now time.Time, t Traffic) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, seconds := l.before, now.Sub(l.at).Seconds()
	first := l.at.IsZero() || t.Queries < before.Queries // it was counted anew
	l.before, l.at = t, now
	if first || seconds <= 0 {
		return
	}
	sample := Sample{At: now.UTC(), Queries: float64(t.Queries-before.Queries) / seconds, Responses: map[string]float64{}}
	for code, count := range t.Responses {
		if since := count - before.Responses[code]; since > 0 {
			sample.Responses[code] = float64(since) / seconds
		}
	}
	since := slices.Clone(t.Durations)
	for n := range min(len(since), len(before.Durations)) {
		since[n].Count -= before.Durations[n].Count
	}
	sample.Median, sample.Slowest = quantile(since, 0.5), quantile(since, 0.99)
	if len(l.samples) >= trafficMemory {
		l.samples = slices.Delete(l.samples, 0, len(l.samples)-trafficMemory+1)
	}
	l.samples = append(l.samples, sample)
}

// quantile returns the seconds that a share of all took at most: as in
// Prometheus, by taking those between two bounds for evenly spread.
func quantile(counts []DurationCount, share float64) float64 {
	if len(counts) == 0 || counts[len(counts)-1].Count == 0 {
		return 0
	}
	rank := share * float64(counts[len(counts)-1].Count)
	var below DurationCount
	for _, c := range counts {
		if float64(c.Count) >= rank && c.Count > below.Count {
			part := (rank - float64(below.Count)) / float64(c.Count-below.Count)
			return below.UpTo.Seconds() + part*(c.UpTo-below.UpTo).Seconds()
		}
		below = c
	}
	return below.UpTo.Seconds()
}

type hourOfTraffic struct {
	Every   float64 // seconds
	Samples []Sample
}

// overviewTraffic shows the last hour.
func (s *Server) overviewTraffic(w http.ResponseWriter, r *http.Request) error {
	if s.traffic == nil {
		return registry.Errorf(registry.NotFound, "nothing here counts DNS questions")
	}
	s.traffic.mu.Lock()
	samples := append([]Sample{}, s.traffic.samples...)
	s.traffic.mu.Unlock()
	return reply(w, r, hourOfTraffic{trafficEvery.Seconds(), samples})
}
