package chaos

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// replica follows a zone to the letter, where name servers put up with much: what it
// is sent must lead from exactly what it has to what it is to have, and a serial must
// stand for the same records whoever was sent them. It is for one goroutine.
type replica struct {
	j       *journal
	zone    string
	primary string
	whole   bool // it takes no changes, but the zone each time
	ledger  *ledger

	soa     *dns.SOA          // nil: it has nothing yet
	records map[string]dns.RR // by their text
}

const betweenTransfers = 300 * time.Millisecond

// newReplicas returns some that compare what serials stand for.
func newReplicas(j *journal, zone, primary string) (all []*replica) {
	l := newLedger()
	for _, whole := range []bool{false, false, true} {
		all = append(all, &replica{j: j, zone: zone, primary: primary, whole: whole, ledger: l})
	}
	return all
}

// follow takes what is new every so often.
func (r *replica) follow(ctx context.Context) {
	for ctx.Err() == nil {
		r.take(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(betweenTransfers):
		}
	}
}

// take takes what is new, or nothing where the transfer does not come to its end.
func (r *replica) take(ctx context.Context) {
	m := new(dns.Msg).SetAxfr(r.zone)
	if r.soa != nil && !r.whole {
		m.SetIxfr(r.zone, r.soa.Serial, r.soa.Ns, r.soa.Mbox)
	}
	conn, err := (&net.Dialer{Timeout: answerWithin}).DialContext(ctx, "tcp", r.primary)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { closing(conn) })()
	envelopes, err := (&dns.Transfer{Conn: &dns.Conn{Conn: conn}, ReadTimeout: transferWithin}).In(m, r.primary)
	if err != nil {
		return
	}
	var all []dns.RR
	for e := range envelopes {
		if err = e.Error; err == nil {
			all = append(all, e.RR...)
		}
	}
	if err != nil {
		return
	}
	if err := r.apply(all); err != nil {
		r.j.wrong("wrong", "a transfer of %s, asked for with %v: %v", r.zone, r.soa, err)
		r.soa = nil // as if it had nothing
		return
	}
	if err := r.ledger.enter(r.soa.Serial, r.records); err != nil {
		r.j.wrong("wrong", "%s %v", r.zone, err)
	}
}

// apply makes of what it has what it was sent.
func (r *replica) apply(all []dns.RR) error {
	if len(all) == 0 {
		return fmt.Errorf("it is empty")
	}
	to, ok := all[0].(*dns.SOA)
	last, also := all[len(all)-1].(*dns.SOA)
	switch {
	case !ok || !also || to.Serial != last.Serial:
		return fmt.Errorf("it begins with %v and ends with %v", all[0], all[len(all)-1])
	case r.soa != nil && int32(to.Serial-r.soa.Serial) < 0:
		return fmt.Errorf("its serial is %d", to.Serial)
	case len(all) == 1:
		if r.soa == nil || r.soa.Serial != to.Serial {
			return fmt.Errorf("it says that there is nothing newer than %d", to.Serial)
		}
		return nil
	}
	if _, changes := all[1].(*dns.SOA); changes {
		r.j.add("transfers of changes", 1)
		return r.change(to, all[1:len(all)-1])
	}
	r.j.add("transfers of the zone", 1)
	records := make(map[string]dns.RR)
	for _, rr := range all[1 : len(all)-1] {
		if records[rr.String()] != nil {
			return fmt.Errorf("%v is there twice", rr)
		}
		records[rr.String()] = rr
	}
	r.soa, r.records = to, records
	return nil
}

// change applies one change after the other: a SOA and what goes, a SOA and what
// comes.
func (r *replica) change(to *dns.SOA, all []dns.RR) error {
	at, coming := r.soa.Serial, true
	for _, rr := range all {
		soa, ok := rr.(*dns.SOA)
		switch text := rr.String(); {
		case ok:
			if coming = !coming; !coming && soa.Serial != at {
				return fmt.Errorf("a change leads from %d, and not from %d", soa.Serial, at)
			}
			at = soa.Serial
		case coming && r.records[text] != nil:
			return fmt.Errorf("%v comes with %d, and is there", rr, at)
		case coming:
			r.records[text] = rr
		case r.records[text] == nil:
			return fmt.Errorf("%v goes after %d, and is not there", rr, at)
		default:
			delete(r.records, text)
		}
	}
	if at != to.Serial || !coming {
		return fmt.Errorf("the changes lead to %d, and not to %d", at, to.Serial)
	}
	r.soa = to
	return nil
}

// ledger has what each serial of a zone stands for.
type ledger struct {
	mu     sync.Mutex
	sums   map[uint32][sha256.Size]byte
	serial uint32              // that was entered last
	latest map[string]struct{} // what it stands for, to tell what differs
}

func newLedger() *ledger { return &ledger{sums: make(map[uint32][sha256.Size]byte)} }

// enter notes what a serial stands for, or compares it with what was noted.
func (l *ledger) enter(serial uint32, records map[string]dns.RR) error {
	texts := make(map[string]struct{}, len(records))
	for text := range records {
		texts[text] = struct{}{}
	}
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(maps.Keys(texts)), "\n")))
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, known := l.sums[serial]; known && before != sum {
		return fmt.Errorf("has two contents with serial %d%s", serial, l.difference(serial, texts))
	}
	l.sums[serial], l.latest, l.serial = sum, texts, serial
	return nil
}

func (l *ledger) difference(serial uint32, texts map[string]struct{}) (lines string) {
	if serial != l.serial {
		return ""
	}
	for text := range l.latest {
		if _, is := texts[text]; !is {
			lines += "\n-" + text
		}
	}
	for text := range texts {
		if _, is := l.latest[text]; !is {
			lines += "\n+" + text
		}
	}
	return lines[:min(len(lines), tailMost)]
}
