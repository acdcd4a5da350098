package forward

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
)

// How long who waits for whom.
const (
	// clientPatience is how long a client waits for a new answer where there is an
	// old one (RFC 8767, section 5), and BudgetTime how long where there is none. Who asks
	// several names for one client gives them a context of so long together.
	clientPatience = 1800 * time.Millisecond
	BudgetTime     = 5 * time.Second

	tryTime  = 2 * time.Second        // for one upstream, after which it has failed
	patience = 800 * time.Millisecond // after which the next one is asked, too
)

// The errors of Ask.
var (
	errNoUpstream = errors.New("no upstream is there to be asked")
	errLoop       = errors.New("every upstream sends back here what it is asked")
)

// Cached returns the answer to a question that is kept, if its TTL has not run
// out, and sees to it that an answer that is asked for often never does.
func (a *Asker) Cached(q Question, now time.Time) *cache.Forwarded {
	var space [260]byte
	f := a.cache.Get(q.key(space[:0]), now)
	if f == nil || !f.Fresh(now) {
		return nil
	}
	if f.Refresh(now) {
		a.metrics.count(prefetched)
		a.begin(own(q))
	}
	a.metrics.count(hit)
	return f
}

// own returns the question with a name of its own.
func own(q Question) Question {
	q.Name = append([]byte(nil), q.Name...)
	return q
}

// Ask returns the answer to a question: the one that is kept, or a new one, or
// where there is none in time the one whose TTL has run out; it is stale then. If
// there is nothing to give, it is an answer that says so, SERVFAIL.
func (a *Asker) Ask(ctx context.Context, q Question) (f *cache.Forwarded, stale bool) {
	if f := a.Cached(q, time.Now()); f != nil {
		return f, false
	}
	old := a.cache.Get(q.key(nil), time.Now())
	if old != nil && old.Failed() {
		old = nil
	}
	wait := BudgetTime
	switch {
	case old != nil && a.allDown(q):
		wait = 0 // it is asked for anew nonetheless
	case old != nil:
		wait = clientPatience
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	flight := a.begin(own(q))
	select {
	case <-flight.landed:
		if old == nil || !flight.answer.Failed() {
			return flight.answer, false
		}
	case <-timer.C:
	case <-ctx.Done():
	}
	if old != nil {
		a.metrics.count(staleGiven)
		return old, true
	}
	return cache.FailedForwarded(q.key(nil), time.Now()), false
}

// flight is a question that is on its way.
type flight struct {
	landed chan struct{}
	answer *cache.Forwarded // once it has landed
}

// begin asks a question of the upstreams, unless it is on its way already. That it
// is asked does not depend on whether somebody waits.
func (a *Asker) begin(q Question) *flight {
	key := q.key(nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.flights[string(key)]; f != nil {
		return f
	}
	f := &flight{landed: make(chan struct{})}
	a.flights[string(key)] = f
	a.asking.Go(func() {
		f.answer = a.fetch(q, key)
		a.mu.Lock()
		delete(a.flights, string(key)) // first: who asks after it has landed asks anew
		a.mu.Unlock()
		close(f.landed)
	})
	return f
}

// fetch finds the answer to a question outside, and keeps it.
func (a *Asker) fetch(q Question, key []byte) *cache.Forwarded {
	ctx, cancel := context.WithTimeout(a.ctx, BudgetTime)
	defer cancel()
	a.metrics.count(miss)
	f, err := a.resolve(ctx, q, key)
	if err != nil {
		a.metrics.count(failed)
		a.logger.Debug("no upstream answers", "name", q.owner(), "type", dns.Type(q.Type), "err", err)
		f = cache.FailedForwarded(key, time.Now())
		if old := a.cache.Get(key, time.Now()); old != nil && !old.Failed() {
			return f // what is known, though old, is better
		}
	}
	a.cache.Put(f)
	return f
}

// resolve asks the upstreams of a name, if it is one for them.
func (a *Asker) resolve(ctx context.Context, q Question, key []byte) (f *cache.Forwarded, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			a.logger.Error("an upstream's reply ended in a panic", "name", q.owner(), "panic", fmt.Sprint(fault))
			err = fmt.Errorf("the reply ended in a panic: %v", fault)
		}
	}()
	owner := q.owner()
	if isMeta(q.Type) {
		return cache.NewForwarded(key, refusal(owner, q.Type), time.Now())
	}
	route := a.route(q.Name)
	if route == nil {
		return nil, errNoUpstream
	}
	if m := special(owner, q.Type, route); m != nil {
		return cache.NewForwarded(key, m, time.Now())
	}
	m, err := a.askAll(ctx, route.order(), newQuery(owner, q))
	if err != nil {
		return nil, err
	}
	limitDenial(m.Msg)
	if route.public && !a.mayBePrivate(owner) {
		a.metrics.rebound.Add(float64(dropPrivate(m.Msg)))
	}
	f, err = cache.NewForwarded(key, m.Msg, time.Now())
	if err == nil {
		f.Beyond = m.into
	}
	return f, err
}

// newQuery returns the query to send. Nothing of the client's is in it but the
// question, DO and CD.
func newQuery(owner string, q Question) *dns.Msg {
	m := new(dns.Msg).SetQuestion(owner, q.Type)
	m.CheckingDisabled = q.CD
	return m.SetEdns0(cache.UDPSize, q.DO)
}

// order returns the upstreams in the order to ask them: those that fail come
// last, and those that ask us not at all. One alone is asked twice, as datagrams
// get lost.
func (r *route) order() (order []*upstream) {
	var down []*upstream
	for _, u := range r.upstreams {
		switch {
		case u.loops.Load():
		case u.down.Load():
			down = append(down, u)
		default:
			order = append(order, u)
		}
	}
	if order = append(order, down...); len(order) == 1 {
		order = append(order, order[0])
	}
	return order
}

// askAll asks upstreams, the next one when one has failed or takes long, and
// returns the first answer; one that is cut short only where no other comes.
func (a *Asker) askAll(ctx context.Context, order []*upstream, query *dns.Msg) (answer, error) {
	if len(order) == 0 {
		return answer{}, errLoop
	}
	ctx, cancel := context.WithCancel(ctx) // the others, when one has answered
	defer cancel()
	type outcome struct {
		reply *dns.Msg
		err   error
		from  int
	}
	outcomes := make(chan outcome, len(order))
	next := time.NewTimer(0)
	defer next.Stop()
	var cut answer
	rest := func(err error) (answer, error) {
		if cut.Msg != nil {
			return cut, nil
		}
		return answer{}, err
	}
	var errs []error
	waits := make([]wait, len(order))
	for asked := 0; ; {
		select {
		case <-ctx.Done():
			return rest(errors.Join(append(errs, ctx.Err())...))
		case <-next.C:
			if asked == len(order) {
				continue
			}
			i, u := asked, order[asked]
			asked++
			waits[i] = wait{u, time.Now(), u.answers.Load()}
			next.Reset(patience)
			a.asking.Go(func() {
				reply, err := a.askOne(ctx, u, query)
				outcomes <- outcome{reply, err, i}
			})
		case o := <-outcomes:
			waits[o.from] = wait{}
			err := o.err
			if err == nil {
				m, fault := a.scrub(o.reply, query.Question[0].Name, query.Question[0].Qtype)
				switch {
				case fault != nil:
					err = fmt.Errorf("upstream %s: %w", order[o.from].name, fault)
				case m.Truncated:
					cut, err = m, fmt.Errorf("upstream %s: %w", order[o.from].name, errCut)
				default:
					a.passOver(waits[:asked])
					return m, nil
				}
			}
			if errs = append(errs, err); len(errs) == len(order) {
				return rest(errors.Join(errs...))
			}
			next.Reset(0)
		}
	}
}

// wait is for the reply of an upstream.
type wait struct {
	upstream *upstream // nil when it is over
	since    time.Time
	answers  uint64 // that it had given then
}

// passOver notes which upstreams had their time and have been silent, to
// everybody, when another one has answered in their place.
func (a *Asker) passOver(waits []wait) {
	for _, w := range waits {
		if w.upstream != nil && time.Since(w.since) >= patience && w.upstream.answers.Load() == w.answers {
			a.failed(w.upstream, fmt.Errorf("it was silent for %v", patience))
		}
	}
}

// askOne asks one upstream, and learns from how it goes.
func (a *Asker) askOne(ctx context.Context, u *upstream, query *dns.Msg) (*dns.Msg, error) {
	start := time.Now()
	try, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	reply, err := u.exchange(try, query)
	switch {
	case ctx.Err() != nil && err != nil: // another was faster
		return nil, err
	case err != nil:
		a.metrics.asked(u.name, "error", start)
		a.failed(u, err)
		return nil, fmt.Errorf("upstream %s: %w", u.name, err)
	}
	a.answered(u)
	a.metrics.asked(u.name, dns.RcodeToString[reply.Rcode], start)
	switch {
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
		return nil, fmt.Errorf("upstream %s answers %s", u.name, dns.RcodeToString[reply.Rcode])
	case refers(reply):
		return nil, fmt.Errorf("upstream %s only knows whom else to ask", u.name)
	}
	return reply, nil
}

// refers tells whether a reply is a referral, from a server that does not ask
// others itself: it does not say that there is nothing.
func refers(reply *dns.Msg) bool {
	if reply.RecursionAvailable || reply.Authoritative || reply.Rcode != dns.RcodeSuccess || len(reply.Answer) > 0 {
		return false
	}
	is := func(rrtype uint16) func(dns.RR) bool {
		return func(rr dns.RR) bool { return rr.Header().Rrtype == rrtype }
	}
	return slices.ContainsFunc(reply.Ns, is(dns.TypeNS)) && !slices.ContainsFunc(reply.Ns, is(dns.TypeSOA))
}
