package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/dnsserver/forward"
	"github.com/rollcall-dns/rollcall/health"
)

// forwardSettings say whom to ask for names that are in none of the zones.
type forwardSettings struct {
	routes       []forward.Route // none: nobody
	clients      []netip.Prefix  // who may ask
	privateNames []string
}

// forwardBytes is how much memory the upstreams' answers may take.
const forwardBytes = 32 << 20

// readForwardSettings tells check of each mistake.
func readForwardSettings(ctx *cli.Context, ours []string, check func(flag string, err error)) forwardSettings {
	s := forwardSettings{clients: health.Private()}
	for _, text := range separate(ctx.StringSlice("forward")) {
		route, err := forward.ParseRoute(text)
		if err == nil {
			err = checkNotOurs(route, ours)
		}
		check("forward", err)
		s.routes = append(s.routes, route)
	}
	if ctx.IsSet("forward-for") {
		var err error
		s.clients, err = parseNetworks(separate(ctx.StringSlice("forward-for")))
		check("forward-for", err)
	}
	for _, name := range separate(ctx.StringSlice("forward-private")) {
		check("forward-private", checkDomain(name))
		s.privateNames = append(s.privateNames, name)
	}
	for _, flag := range []string{"forward-for", "forward-private"} {
		if len(s.routes) == 0 && ctx.IsSet(flag) {
			check(flag, errors.New("means nothing without forward, which names the upstreams"))
		}
	}
	return s
}

// checkNotOurs refuses an upstream that is rollcall itself.
func checkNotOurs(r forward.Route, ours []string) error {
	upstreams, err := r.Addresses()
	if err != nil {
		return err
	}
	for _, text := range ours {
		host, portText, _ := net.SplitHostPort(text)
		port, _ := strconv.Atoi(portText)
		our, err := netip.ParseAddr(host)
		everywhere := err != nil && host != "localhost" || our.IsUnspecified()
		if host == "localhost" {
			our = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		if i := slices.IndexFunc(upstreams, func(u netip.AddrPort) bool {
			return int(u.Port()) == port && (u.Addr() == our.Unmap() || everywhere && isOnThisMachine(u.Addr()))
		}); i >= 0 {
			return fmt.Errorf("%s is rollcall itself, which listens on %s", upstreams[i], text)
		}
	}
	return nil
}

func isOnThisMachine(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	addrs, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(addrs, func(on net.Addr) bool {
		network, err := netip.ParsePrefix(on.String())
		return err == nil && network.Addr().Unmap() == a
	})
}

// openAsker returns who asks others for settings; nil: nobody is to be asked. One that
// has been opened before lends the new one its counts and its cache's memory.
func (s *server) openAsker(settings *settings) (asker *forward.Asker, err error) {
	f := &settings.forward
	if len(f.routes) == 0 {
		return nil, nil
	}
	if s.others == nil {
		if s.others, err = cache.NewForwardedCache(forwardBytes, s.metrics); err != nil {
			return nil, err
		}
	}
	config := forward.Config{
		Routes: f.routes, Clients: f.clients, PrivateNames: f.privateNames,
		Ours: func(name []byte) int { return s.zones().Encloses(name) }, Cache: s.others.Successor(), Logger: s.settings.logger, Metrics: s.metrics,
	}
	if s.firstAsker != nil {
		return s.firstAsker.Successor(config)
	}
	s.firstAsker, err = forward.New(config)
	return s.firstAsker, err
}

// ask runs who asks others.
func (s *server) ask(ctx context.Context) error {
	return s.whileInForce(ctx, func(ctx context.Context, now *inForce) error {
		if now.asker == nil {
			<-ctx.Done()
			return ctx.Err()
		}
		return now.asker.Run(ctx)
	})
}
