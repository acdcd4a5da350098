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

// of returns the denial of a zone.
func (ds denials) of(zone *zones.Zone, z *zones.Zones, c *cache.Cache, v *registry.View) (*cache.Denial, error) {
	if d := ds[zone].Load(); d.stamp.Current() {
		return d.Denial, nil
	}
	return ds.renew(zone, z, c, v)
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
