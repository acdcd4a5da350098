package forward

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	mostFailures  = 2                      // in a row, after which an upstream is asked last
	probeInterval = time.Second            // of such an upstream, give or take a half
	loopTime      = 2 * time.Second        // for a question to come back
	loopInterval  = 30 * time.Second       // after which all are looked at, or up to twice that
	firstProbe    = 100 * time.Millisecond // after the start
)

// failed notes that an upstream has not replied.
func (a *Asker) failed(u *upstream, err error) {
	if u.failures.Add(1) >= mostFailures && !u.down.Swap(true) {
		a.logger.Warn("an upstream does not answer, and is asked last until it does", "upstream", u.name, "err", err)
	}
}

// answered notes that it has. One that is asked last stays so until look knows that
// what it answers is not our own.
func (a *Asker) answered(u *upstream) {
	u.answers.Add(1)
	u.failures.Store(0)
}

// allDown tells whether no upstream can be expected to answer a question.
func (a *Asker) allDown(q Question) bool {
	r := a.route(q.Name)
	return r == nil || !slices.ContainsFunc(r.upstreams, func(u *upstream) bool { return !u.down.Load() && !u.loops.Load() })
}

// probe looks at all upstreams now and then, and at those that have failed until they
// answer, until ctx ends.
func (a *Asker) probe(ctx context.Context) error {
	for wait := firstProbe; ; wait = probeInterval/2 + rand.N(probeInterval) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		now := time.Now()
		for _, u := range a.upstreams() {
			lost := u.down.Load() && !u.loops.Load()
			if (lost || !now.Before(u.nextLook)) && u.probing.CompareAndSwap(false, true) {
				u.nextLook = now.Add(loopInterval + rand.N(loopInterval))
				a.asking.Go(func() { defer u.probing.Store(false); a.look(ctx, u, lost) })
			}
		}
	}
}

// look finds out whether an upstream asks us what it is asked, and whether one that is
// lost answers again: what comes back here is answered, too, and by ourselves. Each time
// it asks for another name that nobody else can know, as what there is of the last one
// may be kept on the way; Looped sees it if it comes back.
func (a *Asker) look(ctx context.Context, u *upstream, lost bool) {
	wait := loopTime
	if lost {
		wait = patience
	}
	within, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	marker := newMarker()
	u.returned.Store(false)
	u.marker.Store(&marker)
	queries := []*dns.Msg{probeQuery(marker+"."+marker[:markerSize]+".", dns.TypeHINFO)}
	if lost {
		queries = append(queries, probeQuery(".", dns.TypeNS)) // which every server can answer soon
	}
	var heard atomic.Bool
	var asking sync.WaitGroup
	for _, query := range queries {
		asking.Go(func() {
			if _, err := u.exchange(within, query); err == nil {
				heard.Store(true)
			}
		})
	}
	asking.Wait()
	switch {
	case ctx.Err() != nil, u.returned.Load():
	case heard.Load(), lost && u.failures.Load() == 0: // it has answered a client
		a.answered(u)
		if u.loops.Swap(false) {
			a.logger.Info("an upstream sends back here no longer what it is asked", "upstream", u.name)
		}
		if u.down.Swap(false) {
			a.logger.Info("an upstream answers again", "upstream", u.name)
		}
	case u.loops.Load(): // and now it is silent
		u.failures.Store(mostFailures)
		u.down.Store(true)
		u.loops.Store(false)
	}
}

func probeQuery(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(name, qtype)
}
