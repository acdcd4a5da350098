package transfer

import (
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
)

// journal is a zone as it was handed on last, and the changes that led there.
type journal struct {
	zones *zones.Zones
	zone  *zones.Zone
	bytes prometheus.Gauge
	most  int          // octets of changes
	took  atomic.Int64 // nanoseconds, for the last transfer of a zone that is not remembered

	mu       sync.Mutex
	contents *zones.Contents
	changes  []zones.Change // each begins where the one before it ends
	size     int            // of them, octets
}

// maxJournal is how large the changes of a zone may be together, octets. A
// secondary that is behind all of them gets the whole zone.
const maxJournal = 16 << 20

// perChange is what a change takes beside its records.
const perChange = 512

// plan is what is to be sent to one secondary.
type plan struct {
	kind    string // axfr, ixfr or soa
	soa     *dns.SOA
	records iter.Seq[string]                                                  // of the whole zone
	changes []zones.Change                                                    // or these
	each    func(begin func(*dns.SOA) error, record func(string) error) error // or what lists it
}

// plan brings the journal up to a View, and returns what a secondary needs that has
// a serial, or that has nothing it could go on from.
func (j *journal) plan(v *registry.View, have uint32, since bool) (*plan, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change, err := j.contents.Update(v)
	switch {
	case errors.Is(err, zones.ErrTooLarge):
		return j.streamed(v, have, since), nil
	case err != nil:
		return nil, err
	}
	j.took.Store(0)
	j.note(change)
	p := &plan{kind: "axfr", soa: change.To}
	if since {
		if int32(change.To.Serial-have) <= 0 { // RFC 1982
			p.kind = "soa"
			return p, nil
		}
		records := 0
		for at := len(j.changes) - 1; at >= 0 && records <= j.contents.Len(); at-- { // of more than that the whole zone is shorter
			records += len(j.changes[at].Removed) + len(j.changes[at].Added)
			if j.changes[at].From.Serial == have {
				p.kind, p.changes = "ixfr", append(p.changes, j.changes[at:]...)
				break
			}
		}
	}
	if p.kind == "axfr" {
		p.records = j.contents.Records()
	}
	return p, nil
}

// streamed plans the transfer of a zone that is too large to be remembered.
func (j *journal) streamed(v *registry.View, have uint32, since bool) *plan {
	j.changes, j.size = nil, 0
	j.bytes.Set(0)
	soa := j.zones.SOA(j.zone, v)
	if since && int32(soa.Serial-have) <= 0 {
		return &plan{kind: "soa", soa: soa}
	}
	return &plan{kind: "axfr", soa: soa, each: func(begin func(*dns.SOA) error, record func(string) error) error {
		start := time.Now()
		err := j.zones.Each(j.zone, v, begin, record)
		j.took.Store(int64(time.Since(start)))
		return err
	}}
}

// note appends a change. One that no serial tells breaks the chain: whoever has
// that serial may have one content or the other.
func (j *journal) note(change zones.Change) {
	defer func() { j.bytes.Set(float64(j.size)) }()
	same := len(change.Added)+len(change.Removed) == 0
	switch {
	case change.From == nil || same && change.From.Serial == change.To.Serial:
		return
	case int32(change.To.Serial-change.From.Serial) <= 0:
		j.changes, j.size = nil, 0
		return
	}
	j.changes = append(j.changes, change)
	j.size += sizeOf(change)
	for j.size > j.most {
		j.size -= sizeOf(j.changes[0])
		j.changes = append(j.changes[:0:0], j.changes[1:]...)
	}
}

func sizeOf(c zones.Change) int {
	size := perChange
	for _, records := range [2][]string{c.Removed, c.Added} {
		for _, record := range records {
			size += len(record) + 16
		}
	}
	return size
}

// rest is for how long nobody is told of changes after a transfer of a zone that is
// too large to be remembered, so that such transfers take a fifth of the time.
func (j *journal) rest() time.Duration { return 4 * time.Duration(j.took.Load()) }

// send sends the plan.
func (p *plan) send(out *stream) error {
	if p.each != nil {
		return p.sendEach(out)
	}
	out.soa(p.soa)
	switch p.kind {
	case "soa":
		return out.flush()
	case "ixfr":
		for _, change := range p.changes {
			out.soa(change.From)
			out.all(change.Removed)
			out.soa(change.To)
			out.all(change.Added)
		}
	default:
		for record := range p.records {
			if out.add(record); out.err != nil {
				break
			}
		}
	}
	out.soa(p.soa)
	return out.flush()
}

// sendEach sends the zone while it is being listed.
func (p *plan) sendEach(out *stream) error {
	err := p.each(
		func(soa *dns.SOA) error {
			p.soa = soa
			out.soa(soa)
			return out.err
		},
		func(record string) error {
			out.add(record)
			return out.err
		})
	if err != nil {
		return err
	}
	out.soa(p.soa)
	return out.flush()
}
