package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/rollcall-dns/rollcall/health"
	"github.com/rollcall-dns/rollcall/registry/admin"
)

// What a flag means that is not set.

// defaultDataDir is where systemd, the desktop or the user's home keep state.
func defaultDataDir() string {
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "rollcall")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "rollcall")
	}
	return ""
}

// defaultNode is the host's name as far as DNS can ask for it.
func defaultNode() string {
	host, _ := os.Hostname()
	labels := strings.FieldsFunc(host, func(r rune) bool { return r == '.' })
	for i, label := range labels {
		label = strings.Map(func(r rune) rune {
			if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' {
				return r
			}
			return '-'
		}, label)
		labels[i] = label[:min(len(label), 63)]
	}
	if len(labels) == 0 {
		return "rollcall"
	}
	return strings.Join(labels, ".")
}

// defaultNodeAddress is the address that DNS is served on, or the machine's
// first private one where it is served on all of them.
func defaultNodeAddress(dnsAddr string) string {
	const loopback = "127.0.0.1"
	host, _, _ := net.SplitHostPort(dnsAddr)
	if host == "localhost" {
		return loopback
	}
	if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() {
		return ip.Unmap().WithZone("").String()
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsPrivate() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return loopback
}

// defaultCheckAllow lets checks go as far as those are away that may register
// them: where that is this machine alone, it is known who they are.
func defaultCheckAllow(adminAddr string) []netip.Prefix {
	if admin.CheckExposure(adminAddr, false, false, false) != nil {
		return nil
	}
	return health.Private()
}
