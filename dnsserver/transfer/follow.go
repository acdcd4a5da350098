package transfer

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/zones"
)

// A secondary that replies to notifications may yet not have the zone: it is refused,
// it refuses what it gets, or it is configured for another one. What tells is what it
// answers itself, and so each is asked for its SOA record now and then.

const (
	askFirst = 5 * time.Second // after it was told of the zone for the first time
	askEvery = 30 * time.Second
	askWait  = 3 * time.Second // for the reply
)

// follow measures, until ctx ends, whether a target can be reached and for how long
// it has been behind: since it was found to lack a serial that the zone had a while
// before. A zone that changes all the time is always a little ahead, which is fine.
func (s *Server) follow(ctx context.Context, zone *zones.Zone, target Target) error {
	labels := []string{zone.Name, target.Addr.String()}
	defer s.metrics.reachable.DeleteLabelValues(labels...)
	defer s.metrics.behind.DeleteLabelValues(labels...)
	mark, since := zone.Serial(s.config.Registry.View()), time.Now()
	for wait := askFirst; ; wait = askEvery {
		if pause(ctx, wait); ctx.Err() != nil {
			return ctx.Err()
		}
		if !s.synced(zone) {
			continue // what it has may be more than is known here
		}
		trying, cancel := context.WithTimeout(ctx, askWait)
		newest, now := zone.Serial(s.config.Registry.View()), time.Now()
		serial, replied, err := s.ask(trying, zone, target)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && int32(serial-mark) >= 0 { // RFC 1982
			mark, since = newest, now
		}
		reachable, behind := 0.0, now.Sub(since).Seconds()
		if replied {
			reachable = 1
		}
		if err != nil {
			s.config.Logger.Debug("a secondary does not tell which serial it has", "zone", zone.Name, "secondary", target.Addr, "err", err)
		}
		s.metrics.reachable.WithLabelValues(labels...).Set(reachable)
		s.metrics.behind.WithLabelValues(labels...).Set(behind)
	}
}

// question asks a target which serial of a zone it has. It may have replied without
// an answer.
func (s *Server) question(ctx context.Context, zone *zones.Zone, target Target) (serial uint32, replied bool, err error) {
	m := new(dns.Msg).SetQuestion(zone.Name, dns.TypeSOA)
	m.RecursionDesired = false
	in, err := s.roundTrip(ctx, m, target)
	if err != nil {
		return 0, false, err
	}
	for _, record := range in.Answer {
		if soa, ok := record.(*dns.SOA); ok && dns.CanonicalName(soa.Hdr.Name) == zone.Name {
			return soa.Serial, true, nil
		}
	}
	return 0, true, fmt.Errorf("it answers %s, and no SOA record", dns.RcodeToString[in.Rcode])
}
