package dnsserver

import (
	"sync/atomic"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
)

// denials are the replies to names that do not exist, one for each zone. That of a
// zone file is made anew when the file's SOA has become another one.
type denials map[*zones.Zone]*atomic.Pointer[denial]

type denial struct {
	*cache.Denial
	stamp *registry.Stamp
}

// prepare makes the denial of a zone that has none yet.
func (ds denials) prepare(zone *zones.Zone, config Config) error {
	ds[zone] = new(atomic.Pointer[denial])
	_, err := ds.renew(zone, config.Zones, config.Cache, config.Registry.View())
	return err
}

// lastDenied is the zone of the last name that a worker denied, as most are of one.
type lastDenied struct {
	zone   *zones.Zone
	denial *atomic.Pointer[denial]
}

// denial returns the denial of a zone.
func (w *worker) denial(zone *zones.Zone, v *registry.View) (*cache.Denial, error) {
	if w.denied.zone != zone {
		w.denied = lastDenied{zone, w.denials[zone]}
	}
	if d := w.denied.denial.Load(); d.stamp.Current() {
		return d.Denial, nil
	}
	return w.denials.renew(zone, w.zones, w.cache, v)
}

func (ds denials) renew(zone *zones.Zone, z *zones.Zones, c *cache.Cache, v *registry.View) (*cache.Denial, error) {
	stamp := zone.SOAStamp() // before the SOA, which is at least as new then
	d, err := c.NewDenial(z.SOA(zone, v))
	if err != nil {
		return nil, err
	}
	ds[zone].Store(&denial{d, stamp})
	return d, nil
}
