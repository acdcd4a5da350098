package health

import "github.com/rollcall-dns/rollcall/registry"

// counter turns results into a status with Consul's thresholds: so many
// successes in a row before a check passes, so many failures before it warns or
// is critical. A warning is a success that passes less well.
type counter struct {
	successBeforePassing, failuresBeforeWarning, failuresBeforeCritical int
	successes, failures                                                 int
	status                                                              registry.Status
}

func newCounter(d registry.Definition, status registry.Status) counter {
	c := counter{
		successBeforePassing:   d.SuccessBeforePassing,
		failuresBeforeWarning:  d.FailuresBeforeWarning,
		failuresBeforeCritical: d.FailuresBeforeCritical,
		status:                 status,
	}
	if c.failuresBeforeWarning == 0 {
		c.failuresBeforeWarning = c.failuresBeforeCritical // no warning on the way
	}
	return c
}

// count takes a result and returns the status after it.
func (c *counter) count(result registry.Status) registry.Status {
	if result != registry.Critical {
		c.failures = 0
		if c.successes++; c.successes >= c.successBeforePassing {
			c.status = result
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
