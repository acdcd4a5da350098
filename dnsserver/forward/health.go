package forward

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	mostFailures  = 2                      // in a row, after which an upstream is asked last
	probeInterval = time.Second            // of such an upstream, give or take a half
	loopTime      = 2 * time.Second        // for a question to come back
	loopInterval  = 30 * time.Second       // of one that asked us
	firstProbe    = 100 * time.Millisecond // after the start
)

// failed notes that an upstream has not replied.
func (a *Asker) failed(u *upstream, err error) {
	if u.failures.Add(1) >= mostFailures && !u.down.Swap(true) {
		a.logger.Warn("an upstream does not answer, and is asked last until it does", "upstream", u.name, "err", err)
	}
}

// answered notes that it has.
func (a *Asker) answered(u *upstream) {
	u.answers.Add(1)
	u.failures.Store(0)
	if u.down.Swap(false) {
		a.logger.Info("an upstream answers again", "upstream", u.name)
	}
}

// allDown tells whether no upstream can be expected to answer a question.
func (a *Asker) allDown(q Question) bool {
	r := a.route(q.Name)
	return r == nil || !slices.ContainsFunc(r.upstreams, func(u *upstream) bool { return !u.down.Load() && !u.loops.Load() })
}

// probe asks the upstreams that have failed until they answer, and at first all of
// them whether they ask us, until ctx ends.
func (a *Asker) probe(ctx context.Context) error {
	checked := make(map[*upstream]time.Time) // for a loop
	for wait := firstProbe; ; wait = probeInterval/2 + rand.N(probeInterval) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		for _, u := range a.upstreams() {
			last, known := checked[u]
			switch {
			case !known, u.loops.Load() && time.Since(last) >= loopInterval:
				checked[u] = time.Now()
				a.asking.Go(func() { a.checkLoop(ctx, u) })
			case u.down.Load() && u.probing.CompareAndSwap(false, true):
				a.asking.Go(func() {
					defer u.probing.Store(false)
					ctx, cancel := context.WithTimeout(ctx, patience)
					defer cancel()
					if _, err := u.exchange(ctx, probeQuery(".", dns.TypeNS)); err == nil {
						a.answered(u)
					}
				})
			}
		}
	}
}

func probeQuery(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(name, qtype)
}

// checkLoop asks an upstream for a name that nobody else can know. Looped sees it
// if it comes back.
func (a *Asker) checkLoop(ctx context.Context, u *upstream) {
	ctx, cancel := context.WithTimeout(ctx, loopTime)
	defer cancel()
	u.loops.Store(false)
	_, _ = u.exchange(ctx, probeQuery(u.marker+"."+u.marker[:markerSize]+".", dns.TypeHINFO))
	if !u.loops.Load() {
		return
	}
	a.metrics.loops.Inc()
}
