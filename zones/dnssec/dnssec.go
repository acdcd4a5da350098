// Package dnssec signs what is in a zone (RFC 4033 to 4035), at the moment it is
// asked for: it holds the keys, makes the signature of an RRset, and the NSEC that
// proves what is not there (RFC 9824).
//
// It knows neither what is in a zone nor who asks. Which RRsets are signed, and
// what an NSEC has to say, is decided in package zones; where a signature stands in
// a reply in package cache.
//
// A signature is made for a Period, a day, and good for a week more. Whoever keeps
// one keeps its Period, too, and no longer than that.
package dnssec

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Period is a day, by its number since 1970 in UTC. All signatures that are made in
// it begin and end at the same time.
type Period uint16

const (
	periodLength = 24 * time.Hour
	validity     = 7 * 24 * time.Hour // beyond the end of the period
	skew         = time.Hour          // that validators' clocks may be late
)

// PeriodAt returns the Period that a moment lies in.
func PeriodAt(t time.Time) Period { return Period(t.Unix() / int64(periodLength/time.Second)) }

// begins and ends return from when to when the signatures of a period are good.
func (p Period) begins() time.Time {
	return time.Unix(int64(p)*int64(periodLength/time.Second), 0).Add(-skew)
}
func (p Period) ends() time.Time { return p.begins().Add(skew + periodLength + validity) }

// Signer signs RRsets of a zone. Its methods may be called from any goroutine.
//
// Of several keys, those that a DS may point to sign the keys, and the first that
// none may point to, or else the very first, signs all else. So a key is rolled
// over by naming a new one behind the old, later before it, and later alone.
type Signer struct {
	zone     string
	keys     []*Key
	entries  []*Key // sign the keys
	first    *Key   // signs all else
	memory   [slots]atomic.Pointer[memo]
	made     atomic.Uint64
	recalled atomic.Uint64
}

// slots is how many signatures are remembered, at most: half a megabyte.
const slots = 1 << 11

// memo is a signature that was made.
type memo struct {
	rrset [sha256.Size]byte
	rrsig *dns.RRSIG
	Period
}

// NewSigner returns the Signer with the keys of a zone.
func NewSigner(keys []*Key) (*Signer, error) {
	s := &Signer{zone: keys[0].Zone(), keys: keys, first: keys[0]}
	for i, k := range keys {
		if slices.ContainsFunc(keys[:i], func(other *Key) bool { return other.tag == k.tag }) {
			return nil, fmt.Errorf("zone %s has two keys with the tag %d", s.zone, k.tag)
		}
		if k.isEntry() {
			s.entries = append(s.entries, k)
		} else if s.first.isEntry() {
			s.first = k
		}
	}
	if s.entries == nil {
		return nil, fmt.Errorf("zone %s has no key that a DS may point to, with the flags 257", s.zone)
	}
	return s, nil
}

// Keys returns the zone's DNSKEY, CDNSKEY or CDS records: the last two tell the
// parent zone what its DS records are to be (RFC 7344).
func (s *Signer) Keys(rrtype uint16) (records []dns.RR) {
	if rrtype == dns.TypeDNSKEY {
		for _, k := range s.keys {
			records = append(records, dns.Copy(&k.public))
		}
		return records
	}
	for _, k := range s.entries {
		if rrtype == dns.TypeCDNSKEY {
			records = append(records, k.public.ToCDNSKEY())
		} else {
			records = append(records, k.DS().ToCDS())
		}
	}
	return records
}

// DS returns what the parent zone is to have.
func (s *Signer) DS() (records []dns.RR) {
	for _, k := range s.entries {
		records = append(records, k.DS())
	}
	return records
}

// Made returns how many signatures were made, and Recalled how many were needed
// again.
func (s *Signer) Made() uint64     { return s.made.Load() }
func (s *Signer) Recalled() uint64 { return s.recalled.Load() }

// ErrBudget is the error of a signature that may not be made now.
var ErrBudget = errors.New("too many signatures were made in this second")

// Order says which signatures are wanted, and at what cost.
type Order struct {
	Period Period
	// Keep remembers a signature that may be needed again: not for names that anybody
	// can make up.
	Keep bool
	// Allow is asked before one is made; the error is ErrBudget where it refuses. nil:
	// as many as are needed.
	Allow func() bool
}

// Sign returns the signatures of an RRset, which are the caller's.
func (s *Signer) Sign(rrset []dns.RR, order Order) ([]dns.RR, error) {
	switch rrset[0].Header().Rrtype {
	case dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeCDS:
		var signatures []dns.RR
		for _, k := range s.entries {
			rrsig, err := s.make(k, rrset, order)
			if err != nil {
				return nil, err
			}
			signatures = append(signatures, rrsig)
		}
		return signatures, nil
	}
	if !order.Keep {
		rrsig, err := s.make(s.first, rrset, order)
		return []dns.RR{rrsig}, err
	}
	hash, err := digest(rrset)
	if err != nil {
		return nil, err
	}
	slot := &s.memory[binary.LittleEndian.Uint16(hash[:])%slots]
	if m := slot.Load(); m != nil && m.rrset == hash && m.Period == order.Period {
		s.recalled.Add(1)
		return []dns.RR{m.of(rrset)}, nil
	}
	rrsig, err := s.make(s.first, rrset, order)
	if err != nil {
		return nil, err
	}
	rrsig.Hdr.Name = "" // it may lie in memory of the question's
	m := &memo{hash, rrsig, order.Period}
	slot.Store(m)
	return []dns.RR{m.of(rrset)}, nil
}

// of returns the signature as that of an RRset.
func (m *memo) of(rrset []dns.RR) *dns.RRSIG {
	rrsig := *m.rrsig
	rrsig.Hdr.Name = rrset[0].Header().Name
	return &rrsig
}

func (s *Signer) make(k *Key, rrset []dns.RR, order Order) (*dns.RRSIG, error) {
	if order.Allow != nil && !order.Allow() {
		return nil, ErrBudget
	}
	s.made.Add(1)
	return k.sign(rrset, order.Period)
}

func (k *Key) sign(rrset []dns.RR, period Period) (*dns.RRSIG, error) {
	h := rrset[0].Header()
	rrsig := &dns.RRSIG{
		Hdr:       dns.RR_Header{Name: h.Name, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: h.Ttl},
		Algorithm: k.public.Algorithm, KeyTag: k.tag, SignerName: k.Zone(), OrigTtl: h.Ttl,
		Inception: uint32(period.begins().Unix()), Expiration: uint32(period.ends().Unix()),
	}
	if err := rrsig.Sign(k.private, rrset); err != nil {
		return nil, fmt.Errorf("sign the %s of %s: %w", dns.Type(h.Rrtype), h.Name, err)
	}
	return rrsig, nil
}

// digest returns a hash of an RRset, the same for any order of its records.
func digest(rrset []dns.RR) (hash [sha256.Size]byte, err error) {
	wires := make([]string, len(rrset))
	var space [512]byte
	for i, rr := range rrset {
		b := space[:]
		if size := dns.Len(rr); size > len(b) {
			b = make([]byte, size)
		}
		n, err := dns.PackRR(rr, b, 0, nil, false)
		if err != nil {
			return hash, fmt.Errorf("write the %s of %s: %w", dns.Type(rr.Header().Rrtype), rr.Header().Name, err)
		}
		wires[i] = string(b[:n])
	}
	slices.Sort(wires)
	h := sha256.New()
	for _, wire := range wires {
		h.Write([]byte(wire)) // each tells where it ends
	}
	h.Sum(hash[:0])
	return hash, nil
}

// SignatureSize is the length of the signature that ends a RRSIG record, octets.
const SignatureSize = 64

// Octets returns the signature of a RRSIG as it is on the wire.
func Octets(rr dns.RR) (octets [SignatureSize]byte, err error) {
	rrsig, ok := rr.(*dns.RRSIG)
	if !ok {
		return octets, errors.New("it is no RRSIG")
	}
	b := make([]byte, dns.Len(rr)+1)
	n, err := dns.PackRR(rrsig, b, 0, nil, false)
	if err != nil {
		return octets, fmt.Errorf("write a signature: %w", err)
	}
	copy(octets[:], b[n-SignatureSize:n])
	return octets, nil
}
