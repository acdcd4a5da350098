package cache

import (
	"net/netip"
	"sync/atomic"
	"unsafe"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
)

// Packed is the answer to one question, ready to be sent. It is immutable but
// for the turn, which moves on with each reply.
//
// All records lie one behind the other in body. Each is whole by itself: names
// are spelled out, or end in a pointer into the question, which stands at the
// same place in every reply. So a record means the same wherever it is put.
type Packed struct {
	key           string // the question: see Cache.Get
	stamp         *registry.Stamp
	zone          *zones.Zone // nil: the name is in none of ours
	signed        *signed     // nil: nothing of it has a signature
	memory        []byte      // of what replies are made of; nil: there are no records
	rcode         uint8       // at most 15: no answer from a zone has an extended one
	authoritative bool
	capped        bool // answers were left out to keep an RRset small
	cacheable     bool
	turn          atomic.Uint32

	subsets   []subset  // never empty; each client has one of them
	only      [1]subset // most often, this is all of them
	answers   []record
	body      []byte
	glue      []glue
	glueOf    []uint32 // indexes into glue; each record has a range of them
	authority []record
	extra     []record // additional records of no answer record
	ede       []byte   // the Extended DNS Error option, or nothing
	beyond    string   // the name of others that the answer leads to, in wire format
	targets   []string // the names of others that records send their reader on to, in wire format

	authoritySize int
	shared        int // how many of glue belong to several records
	skipped       int // records that could not be written
}

// record is a range of Packed.body.
type record struct {
	at       uint32
	size     uint16
	serial   uint16 // where in the record a SOA's serial stands; 0: it is no SOA; or soaSigned
	glueFrom uint32 // the record's range of Packed.glueOf
	glueTo   uint32
}

// glue is the address of a target, a range of Packed.body.
type glue struct {
	at   uint32
	size uint16
	// group numbers, from 1 on, the ones that several records need and one reply
	// holds once; 0: only one record does.
	group uint16
}

// subset is what one client gets: of a small answer all, of a large one as many
// records as an RRset may have.
type subset struct {
	size  int   // of its records, octets
	wheel wheel // the orders it is given in
}

// Turn returns the next turn that a reply may take: see Query.
func (p *Packed) Turn() uint32 { return p.turn.Add(1) }

// Use notes that the answer was asked for, in its Stamp.
func (p *Packed) Use() { p.stamp.Use() }

// Zone returns the zone that the name is in, or nil.
func (p *Packed) Zone() *zones.Zone { return p.zone }

// Beyond returns the name, in wire format and in lower case, that the answer leads
// to and that is in none of our zones; empty: it is whole.
func (p *Packed) Beyond() string { return p.beyond }

// Targets returns names, in wire format and in lower case, that SRV records of the
// answer send their reader on to, and that are in none of our zones.
func (p *Packed) Targets() []string { return p.targets }

// Capped tells whether records were left out so that BIND accepts the RRset.
func (p *Packed) Capped() bool { return p.capped }

// Skipped returns how many records were left out because they cannot be written
// as DNS demands.
func (p *Packed) Skipped() int { return p.skipped }

// SOASigned tells whether a reply takes the signature over the zone's SOA: see
// Query.
func (p *Packed) SOASigned() bool { return p.signed != nil && p.signed.soa }

// isReferral tells whether the answer says who else is to be asked.
func (p *Packed) isReferral() bool {
	return !p.authoritative && len(p.answers) == 0 && len(p.authority) > 0
}

// subsetFor returns the number of the client's subset: the same for the same client, from any
// port and over any transport, for as long as the answer stays the same.
func (p *Packed) subsetFor(client netip.Addr) (number int) {
	if len(p.subsets) == 1 {
		return 0
	}
	octets := client.Unmap().As16()
	return int(hash64(octets[:]) % uint64(len(p.subsets)))
}

// warmSelf reads from each line of memory that a Packed is in, and warmParts from
// those that a reply is made of.
func (p *Packed) warmSelf() uint64 {
	return uint64(len(p.key)) + uint64(len(p.subsets)) + uint64(p.only[0].wheel.n) + uint64(len(p.body)) + uint64(len(p.extra))
}

func (p *Packed) warmParts() (sum uint64) {
	const line = 64
	if p.stamp.Current() {
		sum = 1
	}
	for at := 0; at < min(len(p.memory), 16*line); at += line {
		sum += uint64(p.memory[at])
	}
	return sum
}

// cost returns the memory that a Packed takes, octets.
func (p *Packed) cost() int64 {
	n := int(unsafe.Sizeof(*p)) + cap(p.ede) + (cap(p.authority)+cap(p.extra))*int(unsafe.Sizeof(record{})) + p.signed.cost()
	if p.memory == nil {
		n += len(p.key)
	}
	if len(p.subsets) > 1 {
		n += cap(p.subsets) * int(unsafe.Sizeof(subset{}))
	}
	for _, name := range p.targets {
		n += int(unsafe.Sizeof(name)) + len(name)
	}
	return int64(n + cap(p.memory))
}

// hash64 is FNV-1a with a final mix. It is the same in every process, so that
// several servers with the same view give a client the same subset.
func hash64(b []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	return h ^ h>>33
}
