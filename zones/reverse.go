package zones

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Addresses lie in two kinds of zones. Those of some networks are rollcall's in
// full: names in there that nobody has registered do not exist. These are the
// private networks unless the Config says otherwise, as RFC 6303 asks of every name
// server, so that nobody asks the root servers for them.
//
// Of all others it has the names of registered addresses alone. It answers for
// these because whoever asks here was sent here, but it is no authority on the
// zone around them, does not even know where that begins, and so has no SOA to
// give: a question for another type gets an empty answer without one, which
// nobody may keep (RFC 2308, section 5).
//
// Answers to reverse names are made anew each time.

// PrivateNetworks are those of RFC 6303, section 4, without those of
// documentation, multicast and broadcast, where nothing can be registered.
func PrivateNetworks() (networks []netip.Prefix) {
	for _, text := range []string{
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16",
		"::/128", "::1/128", "fd00::/8", "fe80::/10",
	} {
		networks = append(networks, netip.MustParsePrefix(text))
	}
	return networks
}

// reverseZones returns the names of a network's zones, several where it ends
// within an octet, or for IPv6 within four bits.
func reverseZones(network netip.Prefix) (names []string, err error) {
	a := network.Masked().Addr()
	digits, each, tree := a.AsSlice(), 8, ".in-addr.arpa."
	if a.Is6() {
		digits, each, tree = nibbles(digits), 4, ".ip6.arpa."
	}
	if network.Bits() < each {
		return nil, fmt.Errorf("the network %s is larger than a reverse zone can be, a /%d", network, each)
	}
	n := (network.Bits() + each - 1) / each
	first := int(digits[n-1])
	for last := first; last < first+1<<(n*each-network.Bits()); last++ {
		digits[n-1] = byte(last)
		var labels []string
		for i := n - 1; i >= 0; i-- {
			if each == 8 {
				labels = append(labels, strconv.Itoa(int(digits[i])))
			} else {
				labels = append(labels, strconv.FormatInt(int64(digits[i]), 16))
			}
		}
		names = append(names, strings.Join(labels, ".")+tree)
	}
	return names, nil
}

// CheckReverse says what is wrong with a network as a reverse zone, or nothing.
func CheckReverse(network netip.Prefix) error {
	_, err := reverseZones(network)
	return err
}

func nibbles(octets []byte) (halves []byte) {
	for _, o := range octets {
		halves = append(halves, o>>4, o&0xf)
	}
	return halves
}

// addReverse adds the reverse zones. They have the primary zone's server.
func (z *Zones) addReverse(networks []netip.Prefix) error {
	primary := z.Primary()
	if networks == nil {
		networks = PrivateNetworks()
	}
	for _, network := range networks {
		names, err := reverseZones(network)
		if err != nil {
			return err
		}
		for _, name := range names {
			if wire, _ := pack(name); z.byName[wire] == nil {
				z.sizes.add(len(wire))
				z.byName[wire] = &Zone{Name: name, size: dns.CountLabel(name), mname: primary.mname, rname: primary.rname, reverse: true}
			}
		}
	}
	z.arpa = &Zone{Name: "arpa.", size: 1, mname: primary.mname, rname: primary.rname, reverse: true}
	return nil
}

// isReverse tells whether a name is in the trees of addresses.
func isReverse(labels []string) bool {
	n := len(labels)
	return n > 2 && labels[n-1] == "arpa" && (labels[n-2] == "in-addr" || labels[n-2] == "ip6")
}

// privateAddress answers for a name in a private network's zone.
func (r *resolution) privateAddress(labels []string) *Answer {
	a := r.pointers(labels)
	switch network, ok := networkOf(labels); {
	case a != nil:
	case len(labels) == r.zone.size:
		a = r.reverseApex()
	case !ok:
		return r.noName(r.because(r.owner).text(" is no name of an address"))
	case r.v.HasAddressIn(network):
		if a = r.noData(nil, ""); !network.IsSingleIP() {
			a.Proof.types = nil
		}
	case network.IsSingleIP():
		return r.noName(network.Addr().AppendTo(r.because("nothing is registered at ")))
	default:
		return r.noName(network.AppendTo(r.because("nothing is registered in ")))
	}
	a.Cacheable = false
	return a
}

// reverseApex answers for the name of a private network's zone.
func (r *resolution) reverseApex() *Answer {
	switch r.qtype {
	case dns.TypeSOA, dns.TypeANY:
		return r.positive([]Record{{RR: r.z.SOA(r.zone, r.v), Weight: 1}}, nil)
	case dns.TypeNS:
		ns := &dns.NS{Hdr: r.z.header(r.owner, dns.TypeNS), Ns: r.zone.mname}
		return r.positive([]Record{{RR: ns, Weight: 1, Glue: r.primaryAddresses(r.zone.mname)}}, nil)
	}
	return r.noData(nil, "")
}

// publicAddress answers for the name of a registered address outside of the
// private networks; nil for any other name.
func (r *resolution) publicAddress(labels []string) *Answer {
	r.zone = r.z.arpa
	a := r.pointers(labels)
	if a == nil {
		if network, ok := networkOf(labels); !ok || !network.IsSingleIP() || len(r.namesAt(network.Addr())) == 0 {
			return nil
		}
		a = &Answer{Authoritative: true, Zone: r.zone}
	}
	a.Cacheable = false
	return a
}

// pointers answers with the names that are at an address; nil where there are
// none, or the question is for something else.
func (r *resolution) pointers(labels []string) *Answer {
	network, ok := networkOf(labels)
	if !ok || !network.IsSingleIP() || !r.wants(dns.TypePTR) {
		return nil
	}
	names := r.namesAt(network.Addr())
	if len(names) == 0 {
		return nil
	}
	records := make([]Record, len(names))
	for i, name := range names {
		records[i] = Record{RR: &dns.PTR{Hdr: r.z.header(r.owner, dns.TypePTR), Ptr: name}, Weight: 1}
	}
	return r.positive(records, nil)
}

// namesAt returns the names that are at an address, in the primary zone: those of
// nodes, or else of services.
func (r *resolution) namesAt(a netip.Addr) (names []string) {
	home := r.z.Primary().Name
	if dc := targetLabel(r.v.Datacenter()); dc != "" {
		home = dc + "." + home
	}
	nodes, services := r.v.NamesAt(a)
	kind := ".node."
	if len(nodes) == 0 {
		nodes, kind = services, ".service."
	}
	for _, node := range nodes {
		if name := present(strings.Split(node, ".")) + kind[1:] + home; fits(name) {
			names = append(names, name)
		}
	}
	return names
}

// networkOf returns the network whose addresses' names end in a reverse name: a
// whole name's is the address alone.
func networkOf(labels []string) (netip.Prefix, bool) {
	tree := labels[len(labels)-2]
	labels = labels[:len(labels)-2]
	if tree == "in-addr" {
		return network4(labels)
	}
	return network6(labels)
}

func network4(labels []string) (netip.Prefix, bool) {
	var octets [4]byte
	if len(labels) > len(octets) {
		return netip.Prefix{}, false
	}
	for i, label := range labels {
		octet := 0
		for _, digit := range []byte(label) {
			if octet = 10*octet + int(digit-'0'); digit < '0' || digit > '9' || octet > 255 {
				return netip.Prefix{}, false
			}
		}
		if len(label) > 1 && label[0] == '0' {
			return netip.Prefix{}, false
		}
		octets[len(labels)-1-i] = byte(octet)
	}
	return netip.PrefixFrom(netip.AddrFrom4(octets), 8*len(labels)), true
}

func network6(labels []string) (netip.Prefix, bool) {
	var octets [16]byte
	if len(labels) > 2*len(octets) {
		return netip.Prefix{}, false
	}
	for i, label := range labels {
		nibble := strings.Index("0123456789abcdef", label)
		if len(label) != 1 || nibble < 0 {
			return netip.Prefix{}, false
		}
		at := len(labels) - 1 - i
		octets[at/2] |= byte(nibble) << (4 * (1 - at%2))
	}
	a := netip.AddrFrom16(octets)
	return netip.PrefixFrom(a, 4*len(labels)), !a.Is4In6()
}
