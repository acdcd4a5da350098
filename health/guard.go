package health

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
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
// machine itself, and gives secrets to those on it.
var never = prefixes("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "224.0.0.0/4", "ff00::/8", "255.255.255.255/32", "0.0.0.0/8", "::/128")

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
	switch {
	case within(never, a):
		return fmt.Errorf("no check may go to %s", a)
	case r.isForbidden(a, to.Port()):
		return fmt.Errorf("no check may go to rollcall's own HTTP endpoint, %s", to)
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

// isForbidden tells whether an address is the one that must not be probed, under
// whatever name of this machine.
func (r *Runner) isForbidden(a netip.Addr, port uint16) bool {
	f := r.config.Forbidden
	if !f.IsValid() || port != f.Port() {
		return false
	}
	if f.Addr().Unmap() == a {
		return true
	}
	return f.Addr().IsUnspecified() && (a.IsLoopback() || isThisMachine(a))
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

// isOwn tells whether an address is where the check's instance or node is
// registered. One that is registered under a name is checked under that name.
func (r *Runner) isOwn(c *registry.Check, a netip.Addr) bool {
	v := r.config.Registry.View()
	var registered []string
	if n := v.Node(c.Node); n != nil {
		registered = append(registered, n.Address)
		for _, tagged := range n.TaggedAddresses {
			registered = append(registered, tagged)
		}
	}
	if i := v.Instance(c.Node, c.InstanceID); i != nil && c.InstanceID != "" {
		registered = append(registered, i.Address)
		for _, tagged := range i.TaggedAddresses {
			registered = append(registered, tagged.Address)
		}
	}
	for _, text := range registered {
		own, err := netip.ParseAddr(text)
		if err == nil && own.Unmap().WithZone("") == a || err != nil && text != "" && strings.EqualFold(text, targetHost(*c.Definition)) {
			return true
		}
	}
	return false
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
