package transfer

import (
	"math"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rollcall-dns/rollcall/registry"
)

// diary is the journal of a zone of services.
type diary struct {
	*journal
	*source
}

func newDiary(t testing.TB, s *source) diary {
	server := newServer(t, s, Config{})
	return diary{server.journal(server.config.Zones.Primary()), s}
}

// kind returns what a secondary gets that has a serial, and how many changes.
func (d diary) kind(t testing.TB, have uint32) (string, int) {
	t.Helper()
	p, err := d.plan(d.View(), have, true)
	if err != nil {
		t.Fatal(err)
	}
	return p.kind, len(p.changes)
}

func (d diary) expect(t testing.TB, have uint32, kind string, changes int) {
	t.Helper()
	if k, n := d.kind(t, have); k != kind || n != changes {
		t.Errorf("who has %d gets %s of %d changes, and not %s of %d", have, k, n, kind, changes)
	}
}

func TestASecondaryGetsWhatItHasNotYet(t *testing.T) {
	d := newDiary(t, newSource())
	d.expect(t, 1000, "soa", 0)
	d.expect(t, 999, "axfr", 0)
	d.expect(t, 1001, "soa", 0) // it knows better
	for range 3 {
		d.change()
		d.expect(t, uint32(d.View().Index())-1, "ixfr", 1)
	}
	d.expect(t, 1000, "ixfr", 3)
	d.expect(t, 1002, "ixfr", 1)
	d.expect(t, 1003, "soa", 0)
	d.expect(t, 7, "axfr", 0)
}

// TestSerialsGoRound has a serial that passes its largest value (RFC 1982).
func TestSerialsGoRound(t *testing.T) {
	s := newSource()
	tx := s.View().Txn(math.MaxUint32 - 1)
	tx.PutNode(&registry.Node{Name: "n2", Address: "10.0.0.8"})
	s.feed.Publish(tx.Commit())
	d := newDiary(t, s)
	d.expect(t, math.MaxUint32-1, "soa", 0)
	for range 4 {
		d.change()
		_, _ = d.kind(t, 0)
	}
	d.expect(t, math.MaxUint32-1, "ixfr", 4)
	d.expect(t, 1, "ixfr", 1)
	d.expect(t, 2, "soa", 0)
}

func TestTheJournalIsBounded(t *testing.T) {
	d := newDiary(t, newSource())
	d.most = 20_000
	d.expect(t, 1000, "soa", 0)
	for range 50 {
		d.change()
		_, _ = d.kind(t, 0)
	}
	d.expect(t, 1000, "axfr", 0)
	d.expect(t, 1049, "ixfr", 1)
	if d.size > d.most || testutil.ToFloat64(d.bytes) != float64(d.size) {
		t.Errorf("the journal has %d octets, and the metric says %v", d.size, testutil.ToFloat64(d.bytes))
	}
}

// TestMoreChangesThanRecordsAreNotSent has a zone that is shorter than its history.
func TestMoreChangesThanRecordsAreNotSent(t *testing.T) {
	s := newSource()
	d := newDiary(t, s)
	d.expect(t, 1000, "soa", 0)
	for n := range 40 {
		tx := s.View().Txn(s.View().Index() + 1)
		if n%2 == 0 {
			tx.PutInstance(&registry.Instance{Node: "n1", ID: "web", Service: "web", Port: 80, Address: "10.0.0.1"})
		} else {
			tx.DeleteInstance("n1", "web")
		}
		s.feed.Publish(tx.Commit())
		_, _ = d.kind(t, 0)
	}
	d.expect(t, 1000, "axfr", 0)
}
