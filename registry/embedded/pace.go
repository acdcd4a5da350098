package embedded

import "time"

// A sync costs the processor about as much for one operation as for many, and queries
// wait for the processor meanwhile. So syncs follow each other at a pace where changes
// come one by one and go on coming, and the operations that come until the next one is
// due share it. Clients that each wait for the reply to send the next one are another
// matter: to let them wait gains nothing, so where as many as were answered are back
// promptly, their operations are synced at once.
const (
	paceInterval = 4 * time.Millisecond // between syncs
	paceBurst    = 64                   // syncs that may come at once after a rest
	promptly     = time.Millisecond / 2 // after the last sync
	crowd        = 16                   // operations that wait for no pace
)

// pace says when a sync is due. Its methods are the writer's.
type pace struct {
	due   time.Time // of the next one, were the burst used up
	ended time.Time // the last one
	group int       // the operations that shared it
}

// wait returns for how long the next sync should wait; 0: not at all.
func (p *pace) wait(now time.Time) time.Duration {
	return max(0, p.due.Sub(now))
}

// enough returns how many operations need not wait for it.
func (p *pace) enough(now time.Time) int {
	if now.Sub(p.ended) < promptly {
		return min(p.group, crowd)
	}
	return crowd
}

// count notes a sync for so many operations. One that did not wait makes the next one
// wait no longer than others do.
func (p *pace) count(now time.Time, group int) {
	p.ended, p.group = now, group
	if rested := now.Add(-paceBurst * paceInterval); p.due.Before(rested) {
		p.due = rested
	}
	p.due = p.due.Add(paceInterval)
	if longest := now.Add(paceInterval); p.due.After(longest) {
		p.due = longest
	}
}

// await has the writer, who has an operation, wait until it is time for the next sync:
// it is due, or there are operations enough, or the Registry closes.
func (r *Registry) await() {
	now := time.Now()
	wait := r.pace.wait(now)
	if wait == 0 {
		return
	}
	r.enough.Store(int64(r.pace.enough(now)))
	due := time.NewTimer(wait)
	defer due.Stop()
	for 1+len(r.ops) < r.pace.enough(time.Now()) {
		select {
		case <-r.crowded:
		case <-due.C:
			return
		case <-r.closing:
			return
		}
	}
}

// came wakes up the writer when there may be operations enough.
func (r *Registry) came() {
	if 1+int64(len(r.ops)) < r.enough.Load() {
		return
	}
	select {
	case r.crowded <- struct{}{}:
	default:
	}
}
