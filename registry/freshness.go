package registry

import "time"

// Freshness tells how far a View can be trusted whose truth is elsewhere. That of
// a registry in this process is always Synced and never Stale.
type Freshness struct {
	// Synced: the View has once been complete, be it from its truth or, after a
	// restart, from disk. Before that, a name that is not in it may yet exist.
	Synced bool
	// Stale: the View is not being kept fresh at the moment.
	Stale bool
	// Since is when it became stale; the zero Time while it is fresh, or where it
	// never was.
	Since time.Time
	// Reason is one sentence on why it is stale.
	Reason string
}
