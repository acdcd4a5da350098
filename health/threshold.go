package health

import (
	"cmp"

	"github.com/rollcall-dns/rollcall/registry"
)

// Where a definition does not say how often in a row, an answer that is out of the
// ordinary once is none yet: HAProxy's fall and rise.
const (
	defaultFailures  = 3
	defaultSuccesses = 2
)

// counter turns results into a status with Consul's thresholds: so many
// successes in a row before a check passes, so many failures before it warns or
// is critical. A warning is a success that passes less well.
type counter struct {
	successBeforePassing, failuresBeforeWarning, failuresBeforeCritical int
	successes, failures                                                 int
	status                                                              registry.Status
	fresh                                                               bool // it has not passed yet, and so need not come back
}

// newCounter returns a counter of what a definition says, which begins with a status. Of
// a check that is new the first success is enough, unless the definition says how many.
func newCounter(d registry.Definition, status registry.Status, isNew bool) counter {
	c := counter{
		successBeforePassing:   cmp.Or(d.SuccessBeforePassing, defaultSuccesses),
		failuresBeforeWarning:  d.FailuresBeforeWarning,
		failuresBeforeCritical: cmp.Or(d.FailuresBeforeCritical, max(defaultFailures, d.FailuresBeforeWarning)),
		status:                 status,
		fresh:                  isNew && d.SuccessBeforePassing == 0,
	}
	if c.failuresBeforeWarning == 0 {
		c.failuresBeforeWarning = c.failuresBeforeCritical // no warning on the way
	}
	return c
}

// isInDoubt tells whether the last results were others than the status is.
func (c *counter) isInDoubt() bool {
	if c.status == registry.Critical {
		return c.successes > 0
	}
	return c.failures > 0
}

// count takes a result and returns the status after it.
func (c *counter) count(result registry.Status) registry.Status {
	if result != registry.Critical {
		c.failures = 0
		if c.successes++; c.fresh || c.successes >= c.successBeforePassing {
			c.status, c.fresh = result, false
		}
		return c.status
	}
	c.successes = 0
	switch c.failures++; {
	case c.failures >= c.failuresBeforeCritical:
		c.status = registry.Critical
	case c.failures >= c.failuresBeforeWarning:
		c.status = registry.Warning
	}
	return c.status
}
