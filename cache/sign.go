package cache

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/zones"
	"github.com/rollcall-dns/rollcall/zones/dnssec"
)

// A signature is over an RRset and not over an order of it, so each subset has one,
// whatever its turn. In a reply the signatures stand behind the records that they
// are over. Those of the answer and of the authority section belong to it as the
// records do: where they do not fit the reply is truncated (RFC 4035, section
// 3.1.1). Those of additional records come last of all, and are left out first.

// signed is what a signed answer has beside its records.
type signed struct {
	subsets   []signatures // of each subset
	glue      []uint32     // the index in Packed.glue of the signature of each that is none; 0: it has none
	authority signatures   // without which the authority section is worth nothing
	soa       bool         // there is a signature over a SOA, which is put in as the serial is
	absent    bool         // NSEC says that the name does not exist
}

// signatures are those over a subset.
type signatures struct {
	records []record
	size    int // octets
}

func (s *signed) cost() int {
	if s == nil {
		return 0
	}
	records := cap(s.authority.records)
	for _, over := range s.subsets {
		records += cap(over.records)
	}
	return int(unsafe.Sizeof(*s)) + 4*cap(s.glue) + cap(s.subsets)*int(unsafe.Sizeof(signatures{})) + records*int(unsafe.Sizeof(record{}))
}

// soaSigned stands in record.serial for a signature over a SOA, which is another
// one with each serial.
const soaSigned = 0xffff

// maxSignedGlue is how many RRsets of additional records are signed: of a large
// answer, which comes over TCP, only the first targets' are. Whoever validates asks
// for the others' where they are needed.
const maxSignedGlue = 8

// signature is a record that is a signature.
func (w *packer) signature(p *Packed, rr dns.RR) (record, error) {
	r, err := w.pack(rr)
	if err != nil {
		return record{}, fmt.Errorf("packing a signature: %w", err)
	}
	if rr.(*dns.RRSIG).TypeCovered == dns.TypeSOA && p.zone != nil && p.zone.SOAStamp() == nil {
		r.serial, p.signed.soa = soaSigned, true
	}
	return r, nil
}

// signatures writes the signatures of some records.
func (w *packer) signatures(p *Packed, a *zones.Answer, rrs []dns.RR) (over signatures, err error) {
	for _, rrset := range rrsets(rrs) {
		rrsigs, err := a.Sign(rrset)
		if err != nil {
			return signatures{}, err
		}
		for _, rr := range rrsigs {
			r, err := w.signature(p, rr)
			if err != nil {
				return signatures{}, err
			}
			over.records = append(over.records, r)
			over.size += int(r.size)
		}
	}
	return over, nil
}

// rrsets parts records by their owners and types, in the order of the first of
// each.
func rrsets(rrs []dns.RR) (sets [][]dns.RR) {
	type kind struct {
		owner  string
		rrtype uint16
	}
	at := make(map[kind]int)
	for _, rr := range rrs {
		k := kind{dns.CanonicalName(rr.Header().Name), rr.Header().Rrtype}
		i, known := at[k]
		if !known {
			i = len(sets)
			at[k] = i
			sets = append(sets, nil)
		}
		sets[i] = append(sets[i], rr)
	}
	return sets
}

// sign writes the signatures of an answer.
func (w *packer) sign(p *Packed, a *zones.Answer, sets [][]pick, at map[int]int) error {
	p.signed = &signed{absent: a.Absent, subsets: make([]signatures, len(sets))}
	for i, set := range sets {
		if err := w.signSubset(p, &p.signed.subsets[i], a, set, at); err != nil {
			return err
		}
	}
	over, err := w.signatures(p, a, a.Authority)
	if err != nil {
		return err
	}
	p.signed.authority = over
	p.authoritySize += over.size
	if p.zone.SOAStamp() != nil { // its SOA is what was signed for as long as the answer is true
		for _, records := range [...][]record{p.answers, p.authority} {
			for i := range records {
				records[i].serial = 0
			}
		}
	}
	if a.OnlySignatures {
		p.onlySignatures()
		return nil
	}
	return w.signGlue(p, a)
}

// signSubset writes the signatures of what is in a subset.
func (w *packer) signSubset(p *Packed, over *signatures, a *zones.Answer, set []pick, at map[int]int) (err error) {
	rrs := make([]dns.RR, 0, len(set))
	for _, r := range set {
		if _, packed := at[r.index]; packed && !a.Records[r.index].Made {
			rrs = append(rrs, a.Records[r.index].RR)
		}
	}
	*over, err = w.signatures(p, a, rrs)
	return err
}

// signGlue writes the signatures of additional records. They are glue as well, and
// follow what is glue for the answer.
func (w *packer) signGlue(p *Packed, a *zones.Answer) error {
	if len(p.glue) == 0 {
		return nil
	}
	at := make(map[dns.RR]int, len(w.glued)) // in p.glue
	for i, rr := range w.glued {
		at[rr] = i
	}
	sets := rrsets(w.glued)
	p.signed.glue = make([]uint32, len(p.glue))
	for _, rrset := range sets[:min(len(sets), maxSignedGlue)] {
		signatures, err := a.Sign(rrset)
		switch {
		case errors.Is(err, dnssec.ErrBudget):
			p.cacheable = false
			return nil // they are not needed
		case err != nil:
			return err
		}
		for _, rr := range signatures { // one, as these are no keys
			r, err := w.signature(p, rr)
			if err != nil {
				return err
			}
			g := glue{at: r.at, size: r.size}
			if p.shared < maxShared {
				p.shared++
				g.group = uint16(p.shared)
			}
			for _, rr := range rrset {
				p.signed.glue[at[rr]] = uint32(len(p.glue))
			}
			p.glue = append(p.glue, g)
		}
	}
	return nil
}

// onlySignatures leaves of an answer the signatures of its records.
func (p *Packed) onlySignatures() {
	for i := range p.subsets {
		over := p.signed.subsets[i]
		picks := make([]pick, len(over.records))
		for n := range picks {
			picks[n] = pick{len(p.answers) + n, 1}
		}
		p.answers = append(p.answers, over.records...)
		p.subsets[i] = subset{size: over.size, wheel: fixedWheel(picks)}
	}
	clear(p.signed.subsets)
}

// signatures appends the signatures of a section.
func (w *writer) signatures(over *signatures) (n int, whole bool) {
	if over.size > w.room {
		w.room = 0
		return 0, false
	}
	for i := range over.records {
		r := &over.records[i]
		w.dst = append(w.dst, w.packed.body[r.at:r.at+uint32(r.size)]...)
		w.room -= int(r.size)
		if r.serial == soaSigned && w.soa != nil {
			copy(w.dst[len(w.dst)-dnssec.SignatureSize:], w.soa[:])
		}
	}
	return len(over.records), true
}

// affordable returns the reason for an answer, or nothing where a signed answer has
// room without it alone: there is no need of TCP for that.
func (p *Packed) affordable(q *Query, subset, room int) []byte {
	answer := p.subsets[subset].size + p.signed.subsets[subset].size
	if answer+p.authoritySize+optSize+len(q.Options)+len(p.ede) > room {
		return nil
	}
	return p.ede
}

// glueSignatures appends the signatures of the additional records of an order.
func (w *writer) glueSignatures(order []uint16) (n int) {
	for _, i := range order {
		r := &w.packed.answers[i]
		for _, g := range w.packed.glueOf[r.glueFrom:r.glueTo] {
			if s := w.packed.signed.glue[g]; s != 0 {
				n += w.glue(&w.packed.glue[s])
			}
		}
	}
	return n
}
