package main

import (
	"github.com/urfave/cli/v2"

	"github.com/rollcall-dns/rollcall/dnsserver"
	"github.com/rollcall-dns/rollcall/dnsserver/dnstap"
)

// dnstapSettings say who is shown queries and replies.
type dnstapSettings struct {
	network, address string // empty: nobody
	every            int    // one query in so many
}

func readDnstapSettings(ctx *cli.Context) (s dnstapSettings, err error) {
	s.every = ctx.Int("dnstap-every")
	if text := ctx.String("dnstap"); text != "" {
		s.network, s.address, err = dnstap.Parse(text)
	}
	return s, err
}

// openTap makes what shows queries and replies to a collector, if there is one.
func (s *server) openTap() (err error) {
	settings := s.settings.dnstap
	if settings.address == "" {
		return nil
	}
	s.tap, err = dnstap.New(dnstap.Config{
		Network: settings.network, Address: settings.address,
		Identity: s.registry.node, Version: "rollcall " + buildVersion().Version,
		Logger: s.settings.logger, Metrics: s.metrics,
	})
	return err
}

// observers returns who sees queries and replies.
func (s *server) observers() []dnsserver.Observer {
	observers := s.tracing.observer(s.settings.traceQueries)
	if s.tap != nil {
		observers = append(observers, s.tap.Observer(s.settings.dnstap.every))
	}
	return observers
}
