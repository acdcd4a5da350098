package zones

import (
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones/dnssec"
)

// A zone with keys is signed as it is asked: Resolve answers as ever, and Prove
// makes of its answer the one for who validates. What is not there is proven by
// one NSEC that says nothing of any other name (RFC 9824), and a wildcard's records
// are signed as those of the very name that was asked for. So nobody learns what
// else there is, and an answer needs no proof beside the one.
//
// The NSEC of what is registered lists all types that such a name may have, but for
// the one asked for: those that it has change without the answer, and a type that
// is listed is merely not denied. That of a file lists those that are there.

// Proof is what an answer proves to who validates, where there are no records.
type Proof struct {
	owner  string   // of what is not there, as master files have it
	types  []uint16 // that the name may have, beside the one asked for
	absent bool     // the name does not exist
	ds     []dns.RR // of a delegation: the keys of the zone below
}

// registeredTypes are the types that what is registered may have.
var registeredTypes = []uint16{dns.TypeA, dns.TypePTR, dns.TypeTXT, dns.TypeAAAA, dns.TypeSRV, dns.TypeSVCB, dns.TypeHTTPS}

// keyTypes are the types of a signed zone's keys, at its apex.
var keyTypes = []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY}

// addKeys gives each zone its keys.
func (z *Zones) addKeys(keys []*dnssec.Key) error {
	of := make(map[*Zone][]*dnssec.Key)
	for _, key := range keys {
		wire, _ := pack(key.Zone())
		zone := z.byName[wire]
		if zone == nil {
			return fmt.Errorf("there is a key of %s, which is none of the zones", key.Zone())
		}
		of[zone] = append(of[zone], key)
	}
	for zone, keys := range of {
		var err error
		if zone.signer, err = dnssec.NewSigner(keys); err != nil {
			return err
		}
		z.signs = true
	}
	return nil
}

// Signs tells whether any of the zones is signed.
func (z *Zones) Signs() bool { return z.signs }

// SignaturesMade returns how many signatures were made for all zones.
func (z *Zones) SignaturesMade() (n uint64) {
	for zone := range z.All() {
		if zone.signer != nil {
			n += zone.signer.Made()
		}
	}
	return n
}

// Signer returns who signs what is in the zone; nil: nobody does.
func (zone *Zone) Signer() *dnssec.Signer { return zone.signer }

// keys answers for the keys of a signed zone; nil for any other question.
func (r *resolution) keys(labels []string) *Answer {
	if r.zone == nil || r.zone.signer == nil || len(labels) != r.zone.size || !slices.Contains(keyTypes, r.qtype) {
		return nil
	}
	a := &Answer{Authoritative: true, Zone: r.zone, Cacheable: true}
	for _, rr := range r.zone.signer.Keys(r.qtype) {
		a.Records = append(a.Records, Record{RR: rr, Weight: 1})
	}
	return a
}

// parent returns the zone of ours that a question for a zone's DS is for, which
// is the one above it (RFC 4035, section 3.1.4.1); nil where it is for no other.
func (r *resolution) parent(labels []string) *Zone {
	if r.qtype != dns.TypeDS || r.zone == nil || len(labels) != r.zone.size {
		return nil
	}
	parent := r.z.match(r.wire[1+r.wire[0]:])
	if parent == nil || !parent.static && parent.signer == nil {
		return nil
	}
	return parent
}

// below answers with the DS of a zone of ours that lies in another one: from the
// file of that, or else as its keys are.
func (r *resolution) below(parent *Zone, labels []string) *Answer {
	child := r.zone
	r.zone = parent
	var a *Answer
	if parent.file != nil {
		a = r.withFile(labels)
	}
	if parent.signer == nil || a != nil && len(a.Records) > 0 {
		return a
	}
	if child.signer != nil {
		return r.positive(records(child.signer.DS()), nil)
	}
	a = r.noData(nil, "")
	a.Proof.types = []uint16{dns.TypeNS}
	return a
}

// absent answers that the name does not exist.
func (r *resolution) absent() *Answer {
	return &Answer{
		Rcode: dns.RcodeNameError, Authoritative: true, Zone: r.zone, Proof: &Proof{owner: r.owner, absent: true},
		Authority: []dns.RR{r.z.SOA(r.zone, r.v)}, Explanation: EDE{Text: string(r.absence.Why)},
	}
}

// Prove makes of the Answer that Resolve has just returned the one that Pack signs,
// in zones that have keys. nil stands for the name's absence. A name that does not
// exist has the code NOERROR then, and is Absent.
func (s *Resolver) Prove(a *Answer, order dnssec.Order) *Answer {
	r := &s.r
	if a == nil {
		a = r.absent()
	}
	made := a.MadeUp()
	a.Sign = func(rrset []dns.RR) ([]dns.RR, error) {
		signer := r.z.signerOf(rrset[0].Header())
		if signer == nil {
			return nil, nil
		}
		order.Keep = !made || rrset[0].Header().Rrtype == dns.TypeSOA
		return signer.Sign(rrset, order)
	}
	if a.Proof == nil || a.Zone == nil || a.Zone.signer == nil || len(a.Authority) == 0 {
		return a
	}
	a.prove(r.z, r.qtype)
	return a
}

// MadeUp tells whether the name may be one that somebody has made up, so that its
// signatures are not kept. nil stands for the name's absence.
func (a *Answer) MadeUp() bool { return a == nil || a.fromWildcard || a.Proof != nil && a.Proof.absent }

// prove adds the proof.
func (a *Answer) prove(z *Zones, qtype uint16) {
	proof := a.Proof
	if len(proof.ds) > 0 {
		a.Authority = append(a.Authority, proof.ds...)
		return
	}
	ttl := a.Authority[0].Header().Ttl                 // the SOA's (RFC 9077)
	if a.Authority[0].Header().Rrtype != dns.TypeSOA { // but a referral, which has none
		ttl = z.negativeTTL
		if a.Zone.static {
			ttl = a.Zone.file.Zone().SOA().Hdr.Ttl
		}
	}
	if proof.absent {
		a.Absent, a.Rcode = true, dns.RcodeSuccess
		a.Authority = append(a.Authority, dnssec.Absent(proof.owner, ttl))
		a.askedFor(qtype)
		return
	}
	types := slices.DeleteFunc(slices.Clone(proof.types), func(t uint16) bool { return t == qtype })
	if wire, _ := pack(proof.owner); z.byName[wire] == a.Zone {
		types = append(append(types, keyTypes...), dns.TypeSOA, dns.TypeNS)
	}
	a.Authority = append(a.Authority, dnssec.Exists(proof.owner, ttl, types))
	a.askedFor(qtype)
}

// askedFor moves the NSEC into the answer where the question is for that, or, of
// the name's signatures, for any: one is enough (RFC 8482).
func (a *Answer) askedFor(qtype uint16) {
	if qtype != dns.TypeNSEC && qtype != dns.TypeRRSIG || len(a.Records) > 0 || !a.Authoritative {
		return
	}
	nsec := a.Authority[len(a.Authority)-1]
	a.Authority, a.Explanation, a.Absent = nil, EDE{}, false
	a.Records = []Record{{RR: nsec, Weight: 1}}
	a.OnlySignatures = qtype == dns.TypeRRSIG
}

// signerOf returns who signs an RRset of an answer; nil: nobody. What lies below a
// delegation is another's to sign, and so are the name servers at it.
func (z *Zones) signerOf(h *dns.RR_Header) *dnssec.Signer {
	wire, ok := pack(h.Name)
	zone := z.match(wire)
	if !ok || zone == nil {
		return nil
	}
	apex := z.byName[wire] == zone
	switch h.Rrtype {
	case dns.TypeA, dns.TypeAAAA:
		if zone.file != nil && zone.file.Zone().Delegates(wire) {
			return nil
		}
	case dns.TypeDS:
		if apex {
			if zone = z.match(wire[1+wire[0]:]); zone == nil {
				return nil
			}
		}
	case dns.TypeNS:
		if !apex {
			return nil
		}
	case dns.TypeNSEC:
		if apex && zone.signer == nil { // at a cut between two of ours
			if parent := z.match(wire[1+wire[0]:]); parent != nil {
				zone = parent
			}
		}
	}
	return zone.signer
}

// soaSignature is the signature over a zone's SOA with a serial.
type soaSignature struct {
	serial uint32
	period dnssec.Period
	octets [dnssec.SignatureSize]byte
}

// SignedSerial returns the serial of a signed zone's SOA, and the signature over
// the SOA with it. That is made once for each serial, as the answers with it may outlive
// many.
func (z *Zones) SignedSerial(zone *Zone, v *registry.View, period dnssec.Period) (uint32, *[dnssec.SignatureSize]byte, error) {
	serial := zone.Serial(v)
	if s := zone.soa.Load(); s != nil && s.serial == serial && s.period == period {
		return serial, &s.octets, nil
	}
	soa := z.SOA(zone, v)
	signatures, err := zone.signer.Sign([]dns.RR{soa}, dnssec.Order{Period: period, Keep: true})
	if err != nil {
		return serial, nil, err
	}
	s := &soaSignature{serial: soa.Serial, period: period}
	if s.octets, err = dnssec.Octets(signatures[0]); err != nil {
		return serial, nil, err
	}
	zone.soa.Store(s)
	return s.serial, &s.octets, nil
}
