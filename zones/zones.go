// Package zones knows which names there are and what they mean: it turns a
// question and a View of the registry into RRsets, and a name that is not there
// into the sentence that says why.
//
// The grammar of the names is Consul's, told in grammar.go; where what Consul
// answers and what the RFCs demand differ, the RFCs win. SOA and NS, for
// example, are at the apex and nowhere else, and a name is only said not to
// exist where nothing exists below it (RFC 8020).
//
// Names that are in no registry come from zone files, which package static reads;
// files.go tells how both stand beside each other. Zones with keys are signed by
// package dnssec; sign.go tells what is, and what is proven.
//
// The package reads Views and returns records. It keeps nothing but signatures,
// waits for nothing, and knows neither packets nor sockets nor caches; how many
// records are sent, and in which order, is for others to say.
//
// It keeps two invariants. Every target of a SRV record that it makes resolves
// here, to just the addresses that the record's glue has, or is a name in
// somebody else's zone. And an Answer's Stamp is superseded by whatever change
// would make the Answer another one, so that it may be kept until then.
package zones

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones/dnssec"
	"github.com/rollcall-dns/rollcall/zones/static"
)

// MaxTTL is for how long clients may keep an answer about what is registered, at
// most: no longer than anybody wants to wait for a service that has moved.
const MaxTTL = time.Hour

// Config says which zones there are and how they answer.
type Config struct {
	Zones       []string       // the first is the primary one, the others answer alike
	Node        string         // the own node: where ns.ZONE is
	Service     string         // the service whose nodes are the zones' name servers
	TTL         time.Duration  // of positive answers, whole seconds up to MaxTTL
	NegativeTTL time.Duration  // of negative ones, and the SOA's minimum; the same
	OnlyPassing bool           // leave out instances in warning
	PanicBelow  int            // percent of a service's instances: where fewer may be used, see panic.go; 0: never
	MaxAnswers  int            // records that one client is sent of an RRset; here only Explain mentions it. 0: all
	Refresh     time.Duration  // of the SOA: how often secondaries look whether they have missed something, whole seconds; 0: an hour
	Files       []*static.File // zones of their own, or records beside what is registered: see files.go
	Reverse     []netip.Prefix // networks whose addresses have no names but registered ones; nil: the private ones
	Keys        []*dnssec.Key  // of those zones that are signed: see sign.go
}

// Zones answers for its zones. It is immutable, though its zone files may be read
// anew.
type Zones struct {
	config      Config
	ttl         uint32
	negativeTTL uint32
	zones       []*Zone
	byName      map[string]*Zone // the zones and the reverse zones, by name in wire format
	sizes       sizes            // of the keys of both
	above       map[string]bool  // the names in wire format that some zone's name ends in
	signs       bool             // some zone has keys
	arpa        *Zone            // stands for the zones of addresses that are nobody's private ones
}

// Zone is one of the zones.
type Zone struct {
	Name    string // fully qualified, in lower case
	size    int    // labels in Name
	mname   string // for the SOA: the primary server, and
	rname   string // the mailbox of who is responsible
	reverse bool   // it is of addresses and not of services

	file   *static.File // has records of the zone; nil: there is none
	static bool         // and says all of it, but for names of registered things
	within *Zone        // of a static one: the zone of services that it lies in, if it does

	signer *dnssec.Signer // nil: the zone is not signed
	soa    atomic.Pointer[soaSignature]
}

// Question is a name and a type, of class IN.
type Question struct {
	Name string // in wire format and in lower case, the root's zero octet included
	Type uint16
}

// Answer is what a question is answered with.
type Answer struct {
	Rcode         int
	Authoritative bool
	Zone          *Zone    // nil: the name is in none of ours
	Records       []Record // the answer section, in the View's order
	Authority     []dns.RR // the SOA, where there is no record
	Extra         []dns.RR // additional records that belong to no record
	Shuffle       bool     // the records may be given in any order, by weight
	Explanation   EDE      // why there is no record
	Beyond        string   // the name, in none of ours, that the last record leads to; empty: there is none
	Targets       []string // of SRV records, in none of ours: their addresses are for others to say
	Stamp         *registry.Stamp
	Cacheable     bool   // the answer may be kept for as long as Stamp is current
	Proof         *Proof // what it says is not there; nil: nothing

	// Those below are set by Prove.
	Sign           func(rrset []dns.RR) ([]dns.RR, error) // returns the signatures of an RRset; none: it has none
	Absent         bool                                   // the name does not exist, and NSEC says so instead of Rcode
	OnlySignatures bool                                   // the signatures of Records are asked for, not they

	fromWildcard bool // below which names can be made up without end
}

// Record is a record of the answer section.
type Record struct {
	RR     dns.RR
	Weight int      // its share of the first places
	Glue   []dns.RR // the addresses of its target
	Made   bool     // of the DNAME before it, and not signed (RFC 6672, section 5.3.1)
}

// EDE is an Extended DNS Error (RFC 8914). The zero value is none.
type EDE struct {
	Code uint16
	Text string
}

// New returns the zones of a Config, or an error that names what is wrong.
func New(config Config) (*Zones, error) {
	z := &Zones{config: config, byName: make(map[string]*Zone), above: make(map[string]bool)}
	if len(config.Zones) == 0 {
		return nil, errors.New("there is no zone to answer for")
	}
	var err error
	if z.ttl, err = seconds("TTL", config.TTL); err != nil {
		return nil, err
	}
	if z.negativeTTL, err = seconds("negative TTL", config.NegativeTTL); err != nil {
		return nil, err
	}
	for _, name := range config.Zones {
		if err := z.add(name); err != nil {
			return nil, err
		}
	}
	for _, file := range config.Files {
		if err := z.addFile(file); err != nil {
			return nil, err
		}
	}
	if err := z.addReverse(config.Reverse); err != nil {
		return nil, err
	}
	return z, z.addKeys(config.Keys)
}

// maxZone leaves room for whatever the registry holds within a name's 255 octets.
const maxZone = 100

func (z *Zones) add(name string) error {
	wire, ok := pack(name)
	if !ok || wire == "\x00" || len(wire) > maxZone || strings.Contains(name, `\`) {
		return fmt.Errorf("zone %q is no domain name of 1 to %d octets", name, maxZone)
	}
	if z.byName[wire] != nil {
		return fmt.Errorf("zone %q is named twice", name)
	}
	labels, _ := parse(nil, wire)
	name = present(labels)
	zone := &Zone{Name: name, size: len(labels), mname: "ns." + name, rname: "hostmaster." + name}
	z.zones = append(z.zones, zone)
	z.index(wire, zone)
	return nil
}

// index lets a zone be found by its name in wire format.
func (z *Zones) index(wire string, zone *Zone) {
	z.byName[wire] = zone
	z.sizes.add(len(wire))
	for wire != "\x00" {
		wire = wire[1+wire[0]:]
		z.above[wire] = true
		z.sizes.add(len(wire))
	}
}

// seconds returns a TTL as records have it (RFC 2181, section 8).
func seconds(what string, d time.Duration) (uint32, error) {
	if d < 0 || d > MaxTTL {
		return 0, fmt.Errorf("%s %v is not between 0s and %v", what, d, MaxTTL)
	}
	return uint32(d / time.Second), nil
}

// Primary returns the zone that answers to reverse names are in.
func (z *Zones) Primary() *Zone { return z.zones[0] }

// Zones returns the zones, the primary one first.
func (z *Zones) Zones() []*Zone { return z.zones }

// All yields the zones and the reverse zones.
func (z *Zones) All() iter.Seq[*Zone] { return maps.Values(z.byName) }

// match returns the longest zone that a name in wire format is in, or nil.
func (z *Zones) match(wire string) *Zone {
	for ; wire != ""; wire = wire[1+wire[0]:] {
		if !z.sizes.has(len(wire)) {
			continue
		}
		if zone := z.byName[wire]; zone != nil {
			return zone
		}
	}
	return nil
}

// Encloses returns how many octets of a name, in wire format and in lower case, are
// the name of the zone that it is in; 0: it is in none.
func (z *Zones) Encloses(name []byte) int {
	wire := borrow(name)
	for ; wire != ""; wire = wire[1+wire[0]:] {
		if z.sizes.has(len(wire)) && z.byName[wire] != nil {
			return len(wire)
		}
	}
	return 0
}

// sizes is a set of the lengths of names, octets: most names need not be looked
// for, as none is as long.
type sizes [4]uint64

func (s *sizes) add(n int)      { s[n/64] |= 1 << (n % 64) }
func (s *sizes) has(n int) bool { return n < 256 && s[n/64]&(1<<(n%64)) != 0 }
