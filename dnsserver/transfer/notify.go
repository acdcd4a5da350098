package transfer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-dns/rollcall/zones"
)

// Target is a secondary server that is told of changes.
type Target struct {
	Addr netip.AddrPort
	Key  string // that it is told with, fully qualified and in lower case; empty: none
}

const (
	notifyEvery = time.Second // at most, to one target of one zone
	notifyWait  = time.Second // for the first reply; twice as long for the next, and so on, up to
	notifyLong  = 5 * time.Second
	notifyTries = 14                    // which take a minute
	syncedEvery = 50 * time.Millisecond // is looked whether there is a zone to tell of
)

// Run tells the targets of changes until ctx ends: at once, and then at most once a
// second. Each is told when Run begins, too: it may have missed something.
func (s *Server) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for zone := range s.config.Zones.All() {
		if s.config.Zones.Find(zone.Name) == nil || zone.Signer() != nil {
			continue
		}
		for _, target := range s.config.Notify {
			group.Go(func() error { return s.notify(ctx, zone, target) })
			group.Go(func() error { return s.follow(ctx, zone, target) })
		}
	}
	group.Go(func() error {
		<-ctx.Done()
		return ctx.Err()
	})
	return group.Wait()
}

// notify tells one target of the changes of one zone.
func (s *Server) notify(ctx context.Context, zone *zones.Zone, target Target) error {
	for told, first := uint32(0), true; ctx.Err() == nil; {
		if !s.synced(zone) { // which a View may be only after it has come
			pause(ctx, syncedEvery)
			continue
		}
		serial := zone.Serial(s.config.Registry.View())
		if first || serial != told {
			began := time.Now()
			s.tell(ctx, zone, target, serial)
			told, first = serial, false
			pause(ctx, notifyEvery-time.Since(began))
			pause(ctx, s.rest(zone))
		}
		s.awaitChange(ctx, zone, serial)
	}
	return ctx.Err()
}

// rest is for how long a target is not told of more changes; see journal.rest.
func (s *Server) rest(zone *zones.Zone) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.zones[zone]; j != nil {
		return j.rest()
	}
	return 0
}

// awaitChange waits until a zone has another serial, or ctx ends.
func (s *Server) awaitChange(ctx context.Context, zone *zones.Zone, serial uint32) {
	for {
		// The order matters: what comes after the View supersedes its Stamp.
		view, file := s.config.Registry.View(), zone.FileStamp()
		if zone.Serial(view) != serial {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-view.Stamp().Done():
		case <-file.Done():
		}
	}
}

// pause waits, but not beyond ctx.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 { // a timer that is over at once crashes Go 1.26, now and then, in a bubble of synctest under the race detector
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// tell sends a notification until it is replied to, or the serial is no longer the
// zone's, or it has been sent often enough.
func (s *Server) tell(ctx context.Context, zone *zones.Zone, target Target, serial uint32) {
	wait := notifyWait
	var err error
	for range notifyTries {
		s.metrics.notifies.WithLabelValues("sent").Inc()
		if err = s.try(ctx, zone, target, serial, wait); err == nil {
			s.metrics.notifies.WithLabelValues("acknowledged").Inc()
			return
		}
		if ctx.Err() != nil || zone.Serial(s.config.Registry.View()) != serial {
			return // the next one says more
		}
		wait = min(2*wait, notifyLong)
	}
	s.metrics.notifies.WithLabelValues("given_up").Inc()
	s.config.Logger.Warn("a secondary does not reply to notifications", "zone", zone.Name, "secondary", target.Addr, "err", err)
}

// try sends a notification, and waits for the reply: as long as it may take, or a
// second when the zone has changed again by then.
func (s *Server) try(ctx context.Context, zone *zones.Zone, target Target, serial uint32, wait time.Duration) error {
	trying, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	go func() {
		pause(trying, notifyEvery)
		s.awaitChange(trying, zone, serial)
		cancel()
	}()
	return s.send(trying, zone, target, serial)
}

// errNoReply is the error of a notification that nobody replied to.
var errNoReply = errors.New("there was no reply in time")

// exchange sends a notification and waits for the reply until ctx ends. Any will do:
// a server that refuses does so the next time, too.
func (s *Server) exchange(ctx context.Context, zone *zones.Zone, target Target, serial uint32) error {
	m := new(dns.Msg).SetNotify(zone.Name)
	soa := s.config.Zones.SOA(zone, s.config.Registry.View())
	soa.Serial = serial
	m.Answer = []dns.RR{soa}
	in, err := s.roundTrip(ctx, m, target)
	if err == nil && in.Rcode != dns.RcodeSuccess {
		s.config.Logger.Debug("a secondary does not take notifications", "zone", zone.Name, "secondary", target.Addr, "rcode", dns.RcodeToString[in.Rcode])
	}
	return err
}

// roundTrip sends a message to a target, signed where that has a key, and waits for
// the reply until ctx ends.
func (s *Server) roundTrip(ctx context.Context, m *dns.Msg, target Target) (*dns.Msg, error) {
	packed, mac, err := s.signed(m, target.Key)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{}
	if s.config.Source.IsValid() && s.config.Source.Is4() == target.Addr.Addr().Is4() {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.config.Source, 0))
	}
	conn, err := dialer.DialContext(ctx, "udp", target.Addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if _, err := conn.Write(packed); err != nil {
		<-ctx.Done() // nobody is there yet, so it is no use to be quick
		return nil, err
	}
	buffer := make([]byte, edns)
	for {
		n, err := conn.Read(buffer)
		if errors.Is(err, net.ErrClosed) || err != nil && ctx.Err() != nil {
			return nil, errNoReply
		}
		if err != nil {
			<-ctx.Done()
			return nil, err
		}
		in := new(dns.Msg)
		if in.Unpack(buffer[:n]) != nil || in.Id != m.Id || !in.Response || in.Opcode != m.Opcode {
			continue
		}
		if target.Key != "" && in.IsTsig() != nil && dns.TsigVerifyWithProvider(buffer[:n], s.config.Keys, mac, false) != nil && in.Rcode == dns.RcodeSuccess {
			continue // somebody else's
		}
		return in, nil
	}
}

// signed packs a message, and signs it where there is a key.
func (s *Server) signed(m *dns.Msg, name string) (packed []byte, mac string, err error) {
	if name == "" {
		packed, err = m.Pack()
		return packed, "", err
	}
	m.SetTsig(name, s.config.Keys[name].algorithm, fudge, time.Now().Unix())
	return dns.TsigGenerateWithProvider(m, s.config.Keys, "", false)
}
