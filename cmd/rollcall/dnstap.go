package main

import (
	"context"

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

// openTap returns what shows queries and replies to the collector of settings; nil:
// there is none.
func (s *server) openTap(settings *settings) (tap *dnstap.Tap, err error) {
	to := settings.dnstap
	if to.address == "" {
		return nil, nil
	}
	config := dnstap.Config{
		Network: to.network, Address: to.address, Identity: s.registry.node, Version: "rollcall " + buildVersion().Version,
		Logger: s.settings.logger, Metrics: s.metrics,
	}
	if s.firstTap != nil {
		return s.firstTap.Successor(config), nil
	}
	s.firstTap, err = dnstap.New(config)
	return s.firstTap, err
}

// showQueries shows queries to the collector in force, until ctx ends. A reload that
// names the same one does not interrupt it.
func (s *server) showQueries(ctx context.Context) error {
	for ctx.Err() == nil {
		tap := s.current.Load().tap
		until, stop := context.WithCancel(ctx)
		go func() {
			defer stop()
			for now := s.current.Load(); now.tap == tap; now = s.current.Load() {
				select {
				case <-now.superseded:
				case <-until.Done():
					return
				}
			}
		}()
		if tap == nil {
			<-until.Done()
		} else {
			_ = tap.Run(until) // which has no other error than until's
		}
		stop()
	}
	return ctx.Err()
}

// observers returns who sees queries and replies.
func (s *server) observers(now *inForce) []dnsserver.Observer {
	observers := s.tracing.observer(now.settings.traceQueries)
	if now.tap != nil {
		observers = append(observers, now.tap.Observer(now.settings.dnstap.every))
	}
	return observers
}
