package health

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestNobodyIsDeregisteredWhereManyFailAtOnce(t *testing.T) {
	for _, row := range []struct{ all, ill, left int }{
		{100, 15, 85},
		{100, 16, 100},
		{100, 100, 100},
		{20, 10, 10}, // which is not many
	} {
		synctest.Test(t, func(t *testing.T) {
			b := start(t, nil)
			for n := range row.all {
				r := ttl(fmt.Sprint("web-", n), 24*time.Hour)
				if r.Checks[0].Definition.DeregisterCriticalServiceAfter = time.Minute; n < row.ill {
					r.Checks[0].Definition.TTL = 10 * time.Second
				}
				b.register(r)
			}
			left := func(after time.Duration, want int) {
				b.after(after)
				if n := b.View().InstancesLen(); n != want {
					t.Errorf("%d of %d have failed; %v later there are %d, not %d", row.ill, row.all, after, n, want)
				}
			}
			left(5*time.Minute, row.left)
			t.Logf("%d of %d have failed: %d are left", row.ill, row.all, b.View().InstancesLen())
			left(2*time.Hour, row.all-row.ill) // nobody has done anything about it
		})
	}
}
