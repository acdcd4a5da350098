package health

import (
	"fmt"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// A target that is well, ill and well again all the time is worse than one that is
// gone: whoever finds it does not know what they find. A probe whose status has
// changed too often is therefore held critical for a while, and for longer each
// time it begins anew.
const (
	mostChanges = 5 // in
	flapTime    = time.Minute
	firstHold   = time.Minute      // doubled each time, up to
	longestHold = 10 * time.Minute // after which without a hold it begins anew
)

// flap is what is remembered of one check for that. The zero value is of one that
// has not changed.
type flap struct {
	status  registry.Status // that the results amount to
	changes []time.Time     // of it, younger than flapTime
	until   time.Time       // the hold ends
	hold    time.Duration   // that was the last
}

// judge takes the status that the results amount to, and returns the one to report.
// began tells whether a hold has begun with it.
func (f *flap) judge(status registry.Status, now time.Time) (reported registry.Status, began bool) {
	if status != f.status {
		if f.status != 0 {
			f.changes = append(f.changes, now)
		}
		f.status = status
	}
	for len(f.changes) > 0 && now.Sub(f.changes[0]) >= flapTime {
		f.changes = f.changes[1:]
	}
	if len(f.changes) > mostChanges {
		if f.hold *= 2; f.hold == 0 || now.Sub(f.until) > longestHold {
			f.hold = firstHold
		}
		f.hold = min(f.hold, longestHold)
		f.until, f.changes, began = now.Add(f.hold), nil, true
	}
	if now.Before(f.until) {
		return registry.Critical, began
	}
	return status, false
}

// held says in words that a check is held, and what it said.
func (f *flap) held(output string) string {
	return fmt.Sprintf("held critical for %v, as it changed more than %d times in %v: %s", f.hold, mostChanges, flapTime, output)
}
