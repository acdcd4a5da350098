package health

import (
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// Where many heartbeats do not come at once, it is not those who send them that have
// gone but the way from them. They are left as they said that they were then, as long as
// massFailure would have it, with the same shares: so many in the TTL of each expire,
// and no more.

// lateness counts the heartbeats that are late: that should have come, or were found not
// to have in the last TTL.
type lateness struct {
	late, of int
	paused   bool
}

// mark notes whether a task is late.
func (l *lateness) mark(t *task, late bool) {
	switch {
	case late && !t.late:
		l.late++
	case !late && t.late:
		l.late--
	}
	t.late = late
}

// isMass tells whether more are late than can be believed.
func (l *lateness) isMass() bool { return l.late > massLeast && l.late*100 > l.of*massPercent }

// isInTime notes that a heartbeat is not late, or that it has been known to be for long.
func (r *Runner) isInTime(t *task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.removed {
		return
	}
	r.late.mark(t, false)
	if r.late.paused && !r.late.isMass() {
		r.late.paused = false
		r.metrics.unexpired.Set(0)
		r.config.Logger.Info("heartbeats expire again, as fewer are late")
	}
}

// tooManyLate notes that a heartbeat is late, by so much, and tells whether it is not to
// expire because many others are. That of a service's only instance always does.
func (r *Runner) tooManyLate(t *task, by time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.removed || r.isAlone(t.check) {
		return false
	}
	r.late.mark(t, true)
	if !r.late.isMass() || by > massPatience {
		return false
	}
	if !r.late.paused {
		r.late.paused = true
		r.metrics.unexpired.Set(1)
		r.config.Logger.Error("no heartbeat expires for now, as too many are late at once", "late", r.late.late, "of", r.late.of, "until", massPatience)
	}
	return true
}

// isAlone tells whether a check is about the only instance of its service: to leave it as
// it is would help nobody.
func (r *Runner) isAlone(c *registry.Check) bool {
	s := r.config.Registry.View().Service(c.Service)
	return s != nil && len(s.Instances) == 1
}
