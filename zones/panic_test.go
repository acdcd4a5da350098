package zones

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// fleet is a service of so many instances, of which some are critical and some in
// maintenance.
func fleet(all, critical, maintained int) *registry.View {
	var instances []any
	instances = append(instances, foo())
	for n := range all {
		i := instance("web", id(fmt.Sprint("web-", n)), at(fmt.Sprintf("10.0.0.%d", n)))
		switch {
		case n < critical:
			i.Checks = []*registry.Check{{Node: "foo", ID: i.ID, InstanceID: i.ID, Status: registry.Critical}}
		case n < critical+maintained:
			i.Checks = []*registry.Check{{Node: "foo", ID: registry.ServiceMaintenancePrefix + i.ID, InstanceID: i.ID, Status: registry.Critical}}
		}
		instances = append(instances, i)
	}
	return view(instances...)
}

func TestWhereMostInstancesFailAtOnceNobodyIsBelieved(t *testing.T) {
	for _, row := range []struct {
		threshold, all, critical, maintained int
		want                                 int
	}{
		{50, 100, 40, 0, 60},
		{50, 100, 50, 0, 50},
		{50, 100, 51, 0, 100},
		{50, 100, 60, 0, 100},
		{50, 100, 100, 0, 100},
		{0, 100, 60, 0, 40}, // as without the setting
		{0, 100, 100, 0, 0},
		{50, 1, 1, 0, 0}, // there is nobody to compare it with
		{50, 2, 1, 0, 1},
		{50, 100, 0, 60, 40}, // somebody has said so
		{50, 100, 30, 60, 40},
		{50, 100, 10, 60, 30},
	} {
		z, err := New(Config{Zones: []string{"consul"}, TTL: 5 * time.Second, NegativeTTL: 5 * time.Second, PanicBelow: row.threshold})
		if err != nil {
			t.Fatal(err)
		}
		v := fleet(row.all, row.critical, row.maintained)
		a := z.Resolve(v, Question{Name: "\x03web\x07service\x06consul\x00", Type: dns.TypeA})
		if len(a.Records) != row.want {
			t.Errorf("of %d instances, %d critical and %d in maintenance, the answer has %d, not %d", row.all, row.critical, row.maintained, len(a.Records), row.want)
		}
		panics := strings.Contains(a.Explanation.Text, "too few to believe")
		if n := z.Panicking(v); panics != (n == 1) || panics != (row.want > row.all-row.critical-row.maintained) {
			t.Errorf("of %d critical instances of %d the answer says %q, and %d services panic", row.critical, row.all, a.Explanation.Text, n)
		}
	}
}
