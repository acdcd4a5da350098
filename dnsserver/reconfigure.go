package dnsserver

import (
	"fmt"
	"slices"
)

// Reconfigure answers from now on as another Config says: with its Zones, its
// Cache, its RateLimit, its Transfers, its Asker, its MaxStale, its Unbundled and its
// Observers. All else stays as New was told. The Cache must be another one than before, because what that
// holds was made in another way; an Asker that is replaced is still asked by queries
// that are pending.
//
// No query waits for it, and none is lost: each worker goes over to the new pipeline
// between two batches, and queries that are pending are answered by the old one.
func (s *Server) Reconfigure(config Config) error {
	next := *s.newest.Load()
	return s.publish(&next, config)
}

// publish completes a pipeline with what a Config says, and makes it the newest.
// What was counted against the rate limit stays counted while that is the same.
func (s *Server) publish(p *pipeline, config Config) error {
	config.Registry = p.registry
	p.zones, p.cache, p.denials = config.Zones, config.Cache, make(denials)
	p.maxStale, p.transfers, p.asker, p.unbundled = config.MaxStale, config.Transfers, config.Asker, config.Unbundled
	p.observers = config.Observers
	if !p.limiter.is(config.RateLimit) {
		p.limiter = newLimiter(config.RateLimit)
	}
	switch {
	case !config.Zones.Signs():
		p.signing = nil
	case p.signing == nil:
		p.signing = newSigning()
	}
	for zone := range config.Zones.All() {
		if err := p.denials.prepare(zone, config); err != nil {
			return fmt.Errorf("prepare the answers for names that are not in %s: %w", zone.Name, err)
		}
	}
	s.newest.Store(p)
	return nil
}

// follow goes over to another pipeline.
func (w *worker) follow(p *pipeline) {
	w.pipeline, w.resolver, w.watches = p, p.zones.NewResolver(), newWatches(p.observers)
	if w.front != nil {
		w.front.Publish()
		w.front = p.cache.NewFront()
	}
}

// is tells whether a limiter is one of this limit.
func (l *limiter) is(r RateLimit) bool {
	if l == nil {
		return r.PerSecond <= 0
	}
	return l.perSecond == uint64(max(r.PerSecond, 0)) && slices.Equal(l.exempt, r.Exempt)
}
