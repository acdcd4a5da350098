package zones

import (
	"errors"
	"hash/maphash"
	"iter"
	"maps"
	"slices"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones/static"
)

// Contents lists the records of a zone but its SOA, and remembers the list so that
// the next one costs as much as has changed. It belongs to one goroutine.
type Contents struct {
	z        *Zones
	zone     *Zone
	most     int      // records that are remembered
	soa      *dns.SOA // nil: nothing was listed yet
	sections map[string]*section
	records  map[string]int  // packed, without compression, to how many sections have it
	several  map[string]bool // of them, those that several have
	touched  map[string]bool // whether it was there before, of those that may not be now, or may be
	tooMany  int             // so many instances have more records than are remembered; 0: none
}

// maxContents is how many records of a zone are remembered: they take some 130 octets
// each, and an instance with two tags has some 80. A larger zone is listed anew each
// time, and its changes are not known.
const maxContents = 1_000_000

// section is a part of the list that is made anew as a whole.
type section struct {
	stamps  []*registry.Stamp // that it was made from
	keep    bool              // it is true for as long as these are the newest
	records []string          // at names that belong to it, and
	shared  []string          // at names that others may list, too, such as those of addresses
}

// Change is what leads from one list to the next.
type Change struct {
	From, To       *dns.SOA // From is nil for the first list, whose records are not in Added
	Removed, Added []string // packed, without compression
}

// ErrTooLarge is the error of a zone that has more records than are remembered.
var ErrTooLarge = errors.New("the zone has more records than are kept")

// NewContents returns the Contents of a zone, which have listed nothing yet.
func (z *Zones) NewContents(zone *Zone) *Contents {
	c := &Contents{z: z, zone: zone, most: maxContents}
	c.forget()
	return c
}

func (c *Contents) forget() {
	c.soa, c.sections, c.records, c.several = nil, make(map[string]*section), make(map[string]int), make(map[string]bool)
}

// Records yields the records that were listed last, each once, packed without
// compression, and those of a name mostly in a row. It may be called while the next
// list is made.
func (c *Contents) Records() iter.Seq[string] {
	lists, several := make([][]string, 0, len(c.sections)), maps.Clone(c.several)
	for _, s := range c.sections {
		lists = append(lists, s.records)
	}
	return func(yield func(string) bool) {
		seen := make(map[string]bool)
		for _, records := range lists {
			for _, record := range records {
				if several[record] {
					if seen[record] {
						continue
					}
					seen[record] = true
				}
				if !yield(record) {
					return
				}
			}
		}
	}
}

// Len returns how many records were listed last.
func (c *Contents) Len() int { return len(c.records) }

// Update lists the zone as a View has it, and returns what has changed. The error
// is ErrTooLarge; the zone can be had from Each then.
func (c *Contents) Update(v *registry.View) (Change, error) {
	if c.tooMany > 0 && v.InstancesLen() > c.tooMany*3/4 {
		return Change{}, ErrTooLarge
	}
	c.tooMany = 0
	l := c.z.list(c.zone, v)
	if c.soa != nil {
		c.touched = make(map[string]bool)
	}
	seen, fits := make(map[string]bool), true
	l.sections(func(key string, newest []*registry.Stamp, fill func(*section)) bool {
		seen[key] = true
		c.renew(key, newest, fill)
		fits = len(c.records) <= c.most
		return fits
	})
	if !fits {
		c.forget()
		c.tooMany = max(v.InstancesLen(), 1)
		return Change{}, ErrTooLarge
	}
	for key := range c.sections {
		if !seen[key] {
			c.drop(key)
		}
	}
	return c.change(l.soa), nil
}

// change returns what has changed since the last list.
func (c *Contents) change(soa *dns.SOA) Change {
	change := Change{From: c.soa, To: soa}
	for record, before := range c.touched {
		switch now := c.records[record] > 0; {
		case before && !now:
			change.Removed = append(change.Removed, record)
		case now && !before:
			change.Added = append(change.Added, record)
		}
	}
	slices.Sort(change.Removed)
	slices.Sort(change.Added)
	c.soa, c.touched = soa, nil
	return change
}

// renew makes a section anew, where it was made from other stamps than the newest.
// They are compared and not asked: one may be superseded by a later View already.
func (c *Contents) renew(key string, newest []*registry.Stamp, fill func(*section)) {
	isOld := func(s *registry.Stamp) bool { return !slices.Contains(newest, s) }
	if old := c.sections[key]; old != nil && old.keep && !slices.ContainsFunc(old.stamps, isOld) {
		return
	}
	made := fresh(fill)
	made.records = append(made.records, made.shared...)
	made.shared = nil
	slices.Sort(made.records)
	made.records = slices.Compact(made.records)
	for _, record := range made.records {
		c.count(record, 1)
	}
	c.drop(key)
	c.sections[key] = made
}

func fresh(fill func(*section)) *section {
	made := &section{keep: true}
	fill(made)
	return made
}

func (c *Contents) drop(key string) {
	if old := c.sections[key]; old != nil {
		for _, record := range old.records {
			c.count(record, -1)
		}
		delete(c.sections, key)
	}
}

func (c *Contents) count(record string, n int) {
	before := c.records[record]
	if _, known := c.touched[record]; !known && c.touched != nil {
		c.touched[record] = before > 0
	}
	switch now := before + n; {
	case now == 0:
		delete(c.records, record)
	default:
		c.records[record] = now
		if now > 1 {
			c.several[record] = true
		} else {
			delete(c.several, record)
		}
	}
}

// Each lists a zone as a View has it: it hands over the SOA, then each other record,
// packed without compression. No more of them than one service's are held at a time.
// It ends with the first error of either function, and returns it.
func (z *Zones) Each(zone *Zone, v *registry.View, begin func(*dns.SOA) error, record func(string) error) error {
	l := z.list(zone, v)
	err := begin(l.soa)
	seed, seen := maphash.MakeSeed(), make(map[uint64]struct{}) // what is shared goes out once
	l.sections(func(_ string, _ []*registry.Stamp, fill func(*section)) bool {
		made := fresh(fill)
		slices.Sort(made.records)
		for _, text := range slices.Compact(made.records) {
			if err == nil {
				err = record(text)
			}
		}
		for _, text := range made.shared {
			key := maphash.String(seed, text)
			if _, known := seen[key]; !known && err == nil {
				seen[key] = struct{}{}
				err = record(text)
			}
		}
		return err == nil
	})
	return err
}

// Find returns the zone of services or of a file that has this very name, in master
// files' text; nil: there is none.
func (z *Zones) Find(name string) *Zone {
	wire, ok := pack(name)
	if zone := z.byName[wire]; ok && zone != nil && (!zone.reverse || zone.static) {
		return zone
	}
	return nil
}

// list returns the listing of a zone as a View has it.
func (z *Zones) list(zone *Zone, v *registry.View) *listing {
	home, _ := pack(zone.Name)
	l := &listing{z: z, zone: zone, home: home, v: v}
	if zone.file != nil {
		l.file = zone.file.Zone()
	}
	l.soa = z.SOA(zone, v)
	switch { // of just this reading of the file
	case zone.static:
		l.soa = l.file.SOA()
	case l.file != nil:
		l.soa.Serial = uint32(v.ContentIndex()) + l.file.Serial()
	}
	return l
}

// listing is a zone at one moment, on its way to a list of records.
type listing struct {
	z     *Zones
	zone  *Zone
	home  string // the zone's name in wire format
	v     *registry.View
	file  *static.Zone // nil: the zone has none
	soa   *dns.SOA
	space [65535]byte
}
