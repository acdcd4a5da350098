package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/dnsserver/transfer"
	"github.com/rollcall-dns/rollcall/zones"
)

// transferSettings say who may have zones, and who is told of their changes.
type transferSettings struct {
	allow  []transfer.Rule
	keys   transfer.Keys
	notify []transfer.Target
}

// secondaryRefresh is how often secondaries look for changes that they were not
// told of.
const secondaryRefresh = 30 * time.Second

// readTransfers reads the settings of transfers, and tells check what is wrong.
func readTransfers(allow, notify []string, keyFile string, logger *slog.Logger, check func(flag string, err error)) transferSettings {
	var t transferSettings
	var err error
	if keyFile != "" {
		t.keys, err = readTSIGKeys(keyFile, logger)
		check("tsig-key-file", err)
	}
	t.allow, err = parseRules(allow, t.keys)
	check("transfer-to", err)
	t.notify, err = parseTargets(notify, t.keys)
	check("notify", err)
	return t
}

// readTSIGKeys reads a file of keys, and warns of one that others can read, too.
func readTSIGKeys(path string, logger *slog.Logger) (transfer.Keys, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o007 != 0 {
		logger.Warn("a file of keys is open to everybody on this machine", "file", path, "mode", info.Mode().Perm().String())
	}
	keys, err := transfer.ParseKeys(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// parseRules reads rules: NETWORK, NETWORK=key:NAME and key:NAME.
func parseRules(values []string, keys transfer.Keys) (rules []transfer.Rule, err error) {
	for _, value := range values {
		var rule transfer.Rule
		network, key, both := strings.Cut(value, "=")
		if !both && strings.HasPrefix(value, "key:") {
			network, key = "", value
		}
		if network != "" || both {
			networks, err := parseNetworks([]string{network})
			if err != nil {
				return nil, err
			}
			rule.Network = networks[0]
		}
		if both || key != "" {
			if rule.Key, err = knownKey(key, keys); err != nil {
				return nil, err
			}
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// knownKey returns the name of a key that is written key:NAME.
func knownKey(text string, keys transfer.Keys) (string, error) {
	name, ok := strings.CutPrefix(text, "key:")
	if !ok {
		return "", fmt.Errorf("%q has not the form key:NAME", text)
	}
	name = dns.CanonicalName(name)
	if !keys.Has(name) {
		return "", fmt.Errorf("no key %s is in the --tsig-key-file", name)
	}
	return name, nil
}

// parseTargets reads secondaries: ADDRESS or ADDRESS:PORT, and perhaps =key:NAME
// behind it.
func parseTargets(values []string, keys transfer.Keys) (targets []transfer.Target, err error) {
	for _, value := range values {
		text, key, signed := strings.Cut(value, "=")
		if _, _, err := net.SplitHostPort(text); err != nil {
			text = net.JoinHostPort(strings.Trim(text, "[]"), "53")
		}
		addr, err := netip.ParseAddrPort(text)
		if err != nil || addr.Port() == 0 {
			return nil, fmt.Errorf("%q has not the form ADDRESS[:PORT] or ADDRESS[:PORT]=key:NAME", value)
		}
		target := transfer.Target{Addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}
		if signed {
			if target.Key, err = knownKey(key, keys); err != nil {
				return nil, err
			}
		}
		targets = append(targets, target)
	}
	return targets, nil
}

// refresh returns how often secondaries are to look; 0: as if there were none.
func (t *transferSettings) refresh() time.Duration {
	if len(t.allow)+len(t.notify) > 0 {
		return secondaryRefresh
	}
	return 0
}

// transferConfig says what settings hand on, and refuse where nobody may have any.
func (s *server) transferConfig(settings *settings, z *zones.Zones) transfer.Config {
	t := settings.transfers
	for zone := range z.All() {
		if zone.Signer() != nil && len(t.allow) > 0 {
			s.settings.logger.Warn("a zone with a key for DNSSEC is handed to no secondary, which could not sign it", "zone", zone.Name)
		}
	}
	return transfer.Config{
		Registry: s.registry, Zones: z, Freshness: s.registry.freshness, Allow: t.allow, Keys: t.keys, Notify: t.notify,
		Source: notifySource(settings.dnsAddrs), Logger: s.settings.logger, Metrics: s.metrics,
	}
}

// notifySecondaries tells secondaries of changes to the zones in force, until ctx ends.
func (s *server) notifySecondaries(ctx context.Context) error {
	return s.whileInForce(ctx, func(ctx context.Context, now *inForce) error { return now.transfers.Run(ctx) })
}

// notifySource returns the address that DNS is served on, where it is one:
// secondaries believe no other.
func notifySource(dnsAddrs []string) netip.Addr {
	for _, addr := range dnsAddrs {
		host, _, _ := net.SplitHostPort(addr)
		if a, err := netip.ParseAddr(host); err == nil && !a.IsUnspecified() {
			return a.Unmap()
		}
	}
	return netip.Addr{}
}
