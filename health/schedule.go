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

// maxStarts is how many probes are started in a second at most.
const maxStarts = 2000

// slots bounds how many probes run at once. Those whose last probe timed out may
// hold three quarters of them, so that hung targets do not keep the others
// waiting.
type slots struct{ all, used, slow int }

func (s *slots) take(slow bool) bool {
	if s.used >= s.all || slow && s.slow >= max(1, s.all*3/4) {
		return false
	}
	s.used++
	if slow {
		s.slow++
	}
	return true
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
	const atOnce = maxStarts / 100
	now := time.Now()
	for started := 0; len(r.queue) > 0; started++ {
		t := r.queue[0]
		if wait := t.due.Sub(now); wait > 0 {
			return wait
		}
		if started == atOnce {
			return time.Second / 100
		}
		if t.prober != nil && !r.slots.take(t.slow) {
			r.postpone(t, now)
			continue
		}
		heap.Pop(&r.queue)
		check := t.check
		taskCtx, cancel := context.WithCancel(ctx)
		t.cancel = cancel
		running.Go(func() {
			defer cancel()
			r.run(taskCtx, t, check)
		})
	}
	return time.Hour
}

// postpone puts a task behind those that may find a slot.
func (r *Runner) postpone(t *task, now time.Time) {
	t.due = now.Add(time.Second/50 + rand.N(time.Second/50))
	heap.Fix(&r.queue, 0)
}

// run runs a task once and queues it again.
func (r *Runner) run(ctx context.Context, t *task, c *registry.Check) {
	var next time.Time
	slow := t.slow
	if t.prober == nil {
		next = r.expire(ctx, t, c)
	} else {
		r.probe(ctx, t, c)
		next = time.Now().Add(nextDelay(c.Definition.Interval, rand.Float64()))
	}
	r.reap(ctx, t)
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.prober != nil {
		r.slots.give(slow)
	}
	if !t.removed {
		t.due = next
		r.wait(t)
	}
}

// wait queues a task.
func (r *Runner) wait(t *task) {
	heap.Push(&r.queue, t)
	if t.at == 0 {
		select {
		case r.sooner <- struct{}{}:
		default:
		}
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
