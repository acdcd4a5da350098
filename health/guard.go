package health

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/rollcall-dns/rollcall/registry"
)

// Whoever may register a check has this process open connections. Where those
// may go is decided when the address is dialled, when names and whatever else
// could lead elsewhere have been resolved: to the address of the check's own
// instance or node, to the networks that are allowed, and to some never.

// Private are the networks of one machine and one site: loopback, and those of
// RFC 1918, RFC 6598 and RFC 4193.
func Private() []netip.Prefix {
	return prefixes("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
}

// never are networks in which no service is: what listens there serves the
// machine itself, and gives secrets to those on it. Beside the link-local ones and
// those that are nobody's, these are the addresses of the clouds' metadata.
var never = prefixes(
	"169.254.0.0/16", "fe80::/10", "fec0::/10", "224.0.0.0/4", "ff00::/8", "255.255.255.255/32", "0.0.0.0/8", "::/128",
	"fd00:ec2::/32", "fd20:ce::254/128", // of EC2 and Google
	"100.100.100.200/32", "192.0.0.0/24", "168.63.129.16/32", // of Alibaba, Oracle and Azure
)

// translated are the networks whose addresses carry one of IPv4, and the octet where
// that begins: the kernel, or a router, takes the connection there.
var translated = []struct {
	network netip.Prefix
	at      int
}{
	{netip.MustParsePrefix("::/96"), 12},           // RFC 4291, IPv4-compatible
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // RFC 2765
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // RFC 6052, NAT64
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},  // RFC 8215, its local form, as far as it has the same
	{netip.MustParsePrefix("2002::/16"), 2},        // RFC 3056, 6to4
}

// carried returns the IPv4 address that an IPv6 one leads to, if it does.
func carried(a netip.Addr) (netip.Addr, bool) {
	for _, t := range translated {
		if octets := a.As16(); a.Is6() && t.network.Contains(a) && a != netip.IPv6Loopback() {
			return netip.AddrFrom4([4]byte(octets[t.at : t.at+4])), true
		}
	}
	return netip.Addr{}, false
}

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// dialer returns the dialer of a check's prober.
func (r *Runner) dialer(c *registry.Check) *net.Dialer {
	return &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("a check may not go to %s: %w", address, err)
		}
		return r.permit(c, to)
	}}
}

// permit returns why a check may not go to an address, or nil.
func (r *Runner) permit(c *registry.Check, to netip.AddrPort) error {
	a := to.Addr().Unmap().WithZone("")
	inner, isCarried := carried(a)
	switch {
	case within(never, a), isCarried && (within(never, inner) || inner.IsLoopback()):
		return fmt.Errorf("no check may go to %s", a)
	case r.isForbidden(a, to.Port()), isCarried && r.isForbidden(inner, to.Port()):
		return fmt.Errorf("no check may go to rollcall's own endpoints, of which %s is one", to)
	case within(*r.allow.Load(), a), r.isOwn(c, a):
		return nil
	}
	return fmt.Errorf("a check may not go to %s, which is neither its instance's own address nor allowed by --check-allow", a)
}

func within(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// isForbidden tells whether an address is one that must not be probed, under
// whatever name of this machine.
func (r *Runner) isForbidden(a netip.Addr, port uint16) bool {
	for _, f := range r.config.Forbidden {
		if port == f.Port() && (f.Addr().Unmap() == a || f.Addr().IsUnspecified() && (a.IsLoopback() || isThisMachine(a))) {
			return true
		}
	}
	return false
}

func isThisMachine(a netip.Addr) bool {
	addrs, _ := net.InterfaceAddrs()
	for _, addr := range addrs {
		if n, ok := addr.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(n.IP); ok && own.Unmap() == a {
				return true
			}
		}
	}
	return false
}

// isOwn tells whether an address is where the check's instance or node is registered.
// One that is registered under a name is checked under that name. Loopback is its own
// only to an instance that is registered at that very address: a name may lead there
// by anybody's will, and a node may be there without anybody having said so.
func (r *Runner) isOwn(c *registry.Check, a netip.Addr) bool {
	v := r.config.Registry.View()
	var own, node []string
	if i := v.Instance(c.Node, c.InstanceID); i != nil && c.InstanceID != "" {
		own = append(own, i.Address)
		for _, tagged := range i.TaggedAddresses {
			own = append(own, tagged.Address)
		}
	}
	if n := v.Node(c.Node); n != nil {
		node = append(node, n.Address)
		for _, tagged := range n.TaggedAddresses {
			node = append(node, tagged)
		}
	}
	isAddress := func(text string) bool {
		registered, err := netip.ParseAddr(text)
		return err == nil && registered.Unmap().WithZone("") == a
	}
	isName := func(text string) bool {
		_, err := netip.ParseAddr(text)
		return err != nil && text != "" && strings.EqualFold(strings.TrimSuffix(text, "."), strings.TrimSuffix(targetHost(*c.Definition), "."))
	}
	if slices.ContainsFunc(own, isAddress) {
		return true
	}
	all := slices.Concat(own, node)
	return !a.IsLoopback() && (slices.ContainsFunc(all, isAddress) || slices.ContainsFunc(all, isName))
}

// targetHost returns the host that a definition names.
func targetHost(d registry.Definition) string {
	switch d.Kind() {
	case "http":
		return hostOf(d.HTTP)
	case "dns":
		return hostOf(d.DNS)
	case "grpc":
		target, _, _ := strings.Cut(d.GRPC, "/")
		return hostOf("//" + target)
	}
	return hostOf("//" + d.TCP + d.UDP)
}

func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
