package cache

import (
	"fmt"
	"math/rand/v2"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/zones"
)

// Pack makes an answer ready to be sent. The key is the question's: see Get. The
// answer's records belong to Pack from then on, as miekg/dns writes to them.
//
// A record that cannot be written, because a name in it is too long for
// example, is left out and counted by Skipped; the error is for an answer of
// which nothing is left then.
func (c *Cache) Pack(key []byte, a *zones.Answer) (*Packed, error) {
	p := &Packed{
		key:           string(key),
		stamp:         a.Stamp,
		cacheable:     a.Cacheable,
		zone:          a.Zone,
		rcode:         uint8(a.Rcode & 0xf),
		authoritative: a.Authoritative,
		ede:           packExplanation(a.Explanation),
		beyond:        packName(a.Beyond),
		targets:       packNames(a.Targets),
	}
	if len(a.Records) == 0 && len(a.Authority) == 0 && len(a.Extra) == 0 {
		p.subsets = p.only[:] // REFUSED mostly, and asked for by strangers
		return p, nil
	}
	w := c.packers.Get().(*packer)
	defer c.packers.Put(w)
	if err := w.begin(key); err != nil {
		return nil, err
	}

	p.answers, p.glueOf, p.glue = w.answers[:0], w.glueOf[:0], w.glue[:0] // until it settles
	sets := choose(a.Records, c.maxAnswers)
	p.capped = len(sets) > 1
	at := w.packAnswers(p, a.Records, sets)
	if len(p.answers) == 0 && len(a.Records) > 0 {
		return nil, fmt.Errorf("packing an answer: none of its %d records can be written", len(a.Records))
	}
	p.makeSubsets(sets, at, a.Shuffle)
	p.authority = w.packAll(p, a.Authority)
	if a.Sign != nil && a.Zone != nil {
		if err := w.sign(p, a, sets, at); err != nil {
			return nil, err
		}
	}
	for _, r := range p.authority {
		p.authoritySize += int(r.size)
	}
	p.extra = w.packAll(p, a.Extra)
	w.answers, w.glueOf, w.glue, p.body = p.answers, p.glueOf, p.glue, w.body
	p.settle()
	p.turn.Store(rand.Uint32()) // or the first record would be first after every change
	return p, nil
}

// packName returns a name in wire format and in lower case.
func packName(name string) string {
	if name == "" {
		return ""
	}
	var space [256]byte
	n, err := dns.PackDomainName(dns.CanonicalName(name), space[:], 0, nil, false)
	if err != nil {
		return ""
	}
	return string(space[:n])
}

// packNames does it with several.
func packNames(names []string) (packed []string) {
	for _, name := range names {
		packed = append(packed, packName(name))
	}
	return packed
}

// choose returns the records of each subset: of all in one, where they are few
// enough, and otherwise of as many subsets as hold each of them once.
func choose(records []zones.Record, most int) [][]pick {
	if len(records) <= most {
		all := make([]pick, len(records))
		for i, r := range records {
			all[i] = pick{i, float64(r.Weight)}
		}
		return [][]pick{all}
	}
	candidates := make([]candidate, len(records))
	for i, r := range records {
		candidates[i] = candidate{i, float64(r.Weight), hash64([]byte(r.RR.String()))}
	}
	return draw(candidates, most, min((len(records)+most-1)/most, maxSubsets))
}

// makeSubsets makes the wheels of the records that could be written.
func (p *Packed) makeSubsets(sets [][]pick, at map[int]int, shuffle bool) {
	p.subsets = p.only[:0]
	for _, set := range sets {
		var s subset
		packed := make([]pick, 0, len(set))
		for _, r := range set {
			if i, ok := at[r.index]; ok {
				packed = append(packed, pick{i, r.weight})
				s.size += int(p.answers[i].size)
			}
		}
		if s.wheel = fixedWheel(packed); shuffle {
			s.wheel = newWheel(packed)
		}
		p.subsets = append(p.subsets, s)
	}
}

// packExplanation returns the Extended DNS Error option (RFC 8914), or nothing.
func packExplanation(e zones.EDE) []byte {
	if e.Code == 0 && e.Text == "" {
		return nil
	}
	return AppendError(nil, e.Code, cut([]byte(e.Text)))
}

// packer writes records behind each other.
type packer struct {
	scratch  []byte
	suffixes map[string]int // of the question's name, to where they stand in a message
	body     []byte
	known    map[string]uint32 // packed record of glue to index in Packed.glue

	answers []record // room for Packed.answers, and so on
	glueOf  []uint32
	glue    []glue
	glued   []dns.RR // the records of Packed.glue
}

// beyond is where a packer lets miekg/dns write: no name there is remembered
// for compression, as no pointer reaches that far. What remains are the names
// that begin puts in.
const beyond = 1 << 14

// headerSize is the length of a message's header; the question begins there.
const headerSize = 12

func newPacker() *packer {
	return &packer{
		scratch:  make([]byte, beyond+1024),
		suffixes: make(map[string]int),
		known:    make(map[string]uint32),
	}
}

// begin makes the packer forget the last answer, and learn the question's name.
func (w *packer) begin(key []byte) error {
	w.body = w.body[:0]
	clear(w.known)
	clear(w.glued)
	w.glued = w.glued[:0]
	clear(w.suffixes)
	name, _, err := dns.UnpackDomainName(key[:len(key)-2], 0)
	if err != nil {
		return fmt.Errorf("reading the name of a question: %w", err)
	}
	at, more := headerSize, name != "."
	for off, end := 0, false; more && !end; {
		w.suffixes[name[off:]] = at
		at += 1 + int(key[at-headerSize])
		off, end = dns.NextLabel(name, off)
	}
	return nil
}

// pack writes a record to the end of the body.
func (w *packer) pack(rr dns.RR) (record, error) {
	size := dns.Len(rr)
	if len(w.scratch) < beyond+size {
		w.scratch = make([]byte, beyond+size)
	}
	end, err := dns.PackRR(rr, w.scratch, beyond, w.suffixes, true)
	if err != nil {
		return record{}, fmt.Errorf("packing the %s of %s: %w", dns.Type(rr.Header().Rrtype), rr.Header().Name, err)
	}
	r := record{at: uint32(len(w.body)), size: uint16(end - beyond)}
	if rr.Header().Rrtype == dns.TypeSOA {
		r.serial = r.size - 20 // it and four more numbers end the record
	}
	w.body = append(w.body, w.scratch[beyond:end]...)
	return r, nil
}

// packAnswers writes the records that some subset holds, and their glue. It
// returns where each is in Packed.answers.
func (w *packer) packAnswers(p *Packed, records []zones.Record, sets [][]pick) map[int]int {
	at := make(map[int]int, len(records))
	for _, set := range sets {
		for _, chosen := range set {
			if _, done := at[chosen.index]; done {
				continue
			}
			r, err := w.pack(records[chosen.index].RR)
			if err != nil {
				p.skipped++
				continue
			}
			r.glueFrom = uint32(len(p.glueOf))
			for _, rr := range records[chosen.index].Glue {
				w.packGlue(p, rr)
			}
			r.glueTo = uint32(len(p.glueOf))
			at[chosen.index] = len(p.answers)
			p.answers = append(p.answers, r)
		}
	}
	return at
}

// packGlue writes an address record of the target at hand, once for all records
// that have the same target.
func (w *packer) packGlue(p *Packed, rr dns.RR) {
	r, err := w.pack(rr)
	if err != nil {
		p.skipped++
		return
	}
	key := string(w.body[r.at : r.at+uint32(r.size)])
	i, known := w.known[key]
	switch {
	case !known:
		i = uint32(len(p.glue))
		w.known[key] = i
		w.glued = append(w.glued, rr)
		p.glue = append(p.glue, glue{at: r.at, size: r.size})
	default:
		w.body = w.body[:r.at]
		if p.glue[i].group == 0 && p.shared < maxShared {
			p.shared++
			p.glue[i].group = uint16(p.shared)
		}
	}
	p.glueOf = append(p.glueOf, i)
}

// packAll writes records that stand alone.
func (w *packer) packAll(p *Packed, rrs []dns.RR) (records []record) {
	for _, rr := range rrs {
		r, err := w.pack(rr)
		if err != nil {
			p.skipped++
			continue
		}
		records = append(records, r)
	}
	return records
}
