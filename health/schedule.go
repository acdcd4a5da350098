package health

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// soon is how long a check that was just registered waits for its first run at
// most: somebody may be waiting for the answer.
const soon = time.Second

// firstDelay returns when to run a check for the first time, at a random point
// so that checks that came together do not run together. Those found at the
// start are spread over their whole interval.
func firstDelay(interval time.Duration, atStart bool, random float64) time.Duration {
	if !atStart {
		interval = min(interval, soon)
	}
	return time.Duration(random * float64(interval))
}

// nextDelay returns the time from one run to the next: the interval, a tenth
// more or less.
func nextDelay(interval time.Duration, random float64) time.Duration {
	return time.Duration((0.9 + 0.2*random) * float64(interval))
}

// outputInterval is how long a new output of an unchanged status may wait to be
// told: five minutes or so, as in Consul. Writing it each time would cost a sync
// to disk for each probe.
func outputInterval(l *registry.Lease) time.Duration {
	spread := time.Duration(l.Renewed().Nanosecond()) % time.Minute // another one for each check
	return 5*time.Minute + spread
}

// Probes are started at a pace: a quarter more than their intervals ask for, so that
// those that came together, or that waited, are not started together; and fewer than
// maxStarts in a second in any case.
const (
	maxStarts = 2000
	minStarts = 50 // a second: where there are few, nobody waits for the pace
	atOnce    = 10 * time.Millisecond
)

// pace is how fast probes are started: a bucket that holds what may be started in
// atOnce.
type pace struct {
	wanted float64 // probes a second, by their intervals
	left   float64
	at     time.Time // when left was so much
}

// perSecond returns how many probes may be started in a second.
func (p *pace) perSecond() float64 { return min(maxStarts, minStarts+1.2*p.wanted) }

// perSecond returns how many starts a task's interval asks for.
func perSecond(t *task) float64 { return 1 / max(t.check.Definition.Interval, time.Second).Seconds() }

// take takes one start, or returns how long to wait for it.
func (p *pace) take(now time.Time) (wait time.Duration) {
	rate := p.perSecond()
	p.left = min(max(1, rate*atOnce.Seconds()), p.left+rate*now.Sub(p.at).Seconds())
	p.at = now
	if p.left < 1 {
		return time.Duration((1-p.left)/rate*float64(time.Second)) + time.Nanosecond
	}
	p.left--
	return 0
}

// slots bounds how many probes run at once. Those whose last probe timed out may
// hold three quarters of them, so that hung targets do not keep the others
// waiting.
type slots struct{ all, used, slow int }

func (s *slots) has(slow bool) bool {
	return s.used < s.all && (!slow || s.slow < max(1, s.all*3/4))
}

func (s *slots) take(slow bool) {
	s.used++
	if slow {
		s.slow++
	}
}

func (s *slots) give(slow bool) {
	s.used--
	if slow {
		s.slow--
	}
}

// dispatch starts what is due until ctx ends.
func (r *Runner) dispatch(ctx context.Context, running *sync.WaitGroup) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	beats := time.NewTicker(pulseEvery)
	defer beats.Stop()
	r.pulse.feel()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beats.C:
			r.pulse.feel()
			continue
		case <-timer.C:
		case <-r.sooner:
		}
		timer.Reset(r.startDue(ctx, running))
	}
}

// startDue starts the tasks that are due, and returns when to look again.
func (r *Runner) startDue(ctx context.Context, running *sync.WaitGroup) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	next := min(r.startTimed(ctx, running, &r.heartbeats, now), r.startProbes(ctx, running, now))
	if len(r.ends) > 0 {
		next = min(next, r.startTimed(ctx, running, &r.ends, now), endEvery)
	}
	return next
}

// startTimed looks after the heartbeats that should have come by now, or ends what is
// to end by now.
func (r *Runner) startTimed(ctx context.Context, running *sync.WaitGroup, q *queue, now time.Time) time.Duration {
	for started := 0; len(*q) > 0; started++ {
		t := (*q)[0]
		if wait := t.due.Sub(now); wait > 0 {
			return wait
		}
		if started == maxStarts/100 {
			return time.Second / 100
		}
		heap.Pop(q)
		r.start(ctx, running, t)
	}
	return time.Hour
}

// startProbes starts the probes that are due, as their pace and the slots allow. Where
// there is no slot, the end of a probe leads here again.
func (r *Runner) startProbes(ctx context.Context, running *sync.WaitGroup, now time.Time) time.Duration {
	for {
		q := r.nextQueue()
		if q == nil {
			return time.Hour
		}
		t := (*q)[0]
		if wait := t.due.Sub(now); wait > 0 {
			return wait
		}
		if wait := r.pace.take(now); wait > 0 {
			return wait
		}
		r.slots.take(t.slow)
		heap.Pop(q)
		r.start(ctx, running, t)
	}
}

// nextQueue returns the queue of the probe that is due first and finds a slot; nil: there
// is none.
func (r *Runner) nextQueue() (next *queue) {
	for _, q := range []*queue{&r.probes, &r.slowProbes} {
		if len(*q) > 0 && r.slots.has((*q)[0].slow) && (next == nil || (*q)[0].due.Before((*next)[0].due)) {
			next = q
		}
	}
	return next
}

// start runs a task in a goroutine of its own.
func (r *Runner) start(ctx context.Context, running *sync.WaitGroup, t *task) {
	check := t.check
	taskCtx, cancel := context.WithCancel(ctx)
	t.cancel = cancel
	running.Go(func() {
		defer cancel()
		r.run(taskCtx, t, check)
	})
}

// run runs a task once and queues it again.
func (r *Runner) run(ctx context.Context, t *task, c *registry.Check) {
	var next time.Time
	slow := t.slow
	switch {
	case t.ends:
		next = r.end(ctx, c)
	case t.prober == nil:
		next = r.expire(ctx, t, c)
	default:
		r.probe(ctx, t, c)
		random := rand.Float64()
		if t.counter.isInDoubt() {
			random = 0 // the sooner it is known the better
		}
		next = time.Now().Add(nextDelay(c.Definition.Interval, random))
	}
	r.reap(ctx, t)
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.prober != nil {
		r.slots.give(slow)
		r.lookNow()
	}
	if !t.removed {
		t.due = next
		r.wait(t)
	}
}

// queueOf returns the queue that a task waits in.
func (r *Runner) queueOf(t *task) *queue {
	switch {
	case t.ends:
		return &r.ends
	case t.prober == nil:
		return &r.heartbeats
	case t.slow:
		return &r.slowProbes
	}
	return &r.probes
}

// wait queues a task.
func (r *Runner) wait(t *task) {
	heap.Push(r.queueOf(t), t)
	if t.at == 0 {
		r.lookNow()
	}
}

// lookNow has the dispatcher look for what is due.
func (r *Runner) lookNow() {
	select {
	case r.sooner <- struct{}{}:
	default:
	}
}

// queue is a heap of tasks by the time when they are due.
type queue []*task

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i]; q[i].at, q[j].at = i, j }

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	t := x.(*task)
	t.at = len(*q)
	*q = append(*q, t)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	t.at = -1
	return t
}

func (q *queue) remove(t *task) { heap.Remove(q, t.at) }
