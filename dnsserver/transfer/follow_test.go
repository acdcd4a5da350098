package transfer

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rollcall-dns/rollcall/zones"
)

// followed runs a Server with a secondary that has the serials that has returns, and
// gives the story what is measured of it: reachable, and for how long it is behind.
func followed(t *testing.T, s *source, has func() (serial uint32, replied bool, err error), story func(measured func() (float64, float64))) {
	t.Helper()
	server := newServer(t, s, Config{Notify: []Target{{Addr: netip.MustParseAddrPort("127.0.0.1:53")}}})
	server.send = func(context.Context, *zones.Zone, Target, uint32) error { return nil }
	server.ask = func(context.Context, *zones.Zone, Target) (uint32, bool, error) { return has() }
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- server.Run(ctx) }()
	value := func(vec *prometheus.GaugeVec) float64 {
		return testutil.ToFloat64(vec.WithLabelValues("test.", "127.0.0.1:53"))
	}
	story(func() (float64, float64) {
		synctest.Wait()
		return value(server.metrics.reachable), value(server.metrics.behind)
	})
	stop()
	<-ended
	if n := testutil.CollectAndCount(server.metrics.reachable) + testutil.CollectAndCount(server.metrics.behind); n != 0 {
		t.Errorf("%d measurements are left of a secondary that nobody asks any longer", n)
	}
}

func TestASecondaryThatHasTheZoneIsNotBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		lagging := s.feed.View().Index()
		followed(t, s, func() (uint32, bool, error) {
			serial := uint32(lagging)
			lagging = s.feed.View().Index() // it has next time what there is now
			return serial, true, nil
		}, func(measured func() (float64, float64)) {
			for range 600 {
				s.change()
				time.Sleep(time.Second)
			}
			if reachable, behind := measured(); reachable != 1 || behind > askEvery.Seconds() {
				t.Errorf("reachable %v, behind by %v s", reachable, behind)
			}
		})
	})
}

func TestASecondaryThatKeepsAnOldZoneIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		old := uint32(s.feed.View().Index())
		var has atomic.Uint32
		has.Store(old)
		followed(t, s, func() (uint32, bool, error) { return has.Load(), true, nil }, func(measured func() (float64, float64)) {
			time.Sleep(10 * time.Minute)
			if _, behind := measured(); behind != 0 {
				t.Errorf("with the newest zone it is behind by %v s", behind)
			}
			s.change()
			time.Sleep(10 * time.Minute)
			if reachable, behind := measured(); reachable != 1 || behind < 500 || behind > 700 {
				t.Errorf("reachable %v, behind by %v s after ten minutes", reachable, behind)
			}
			has.Store(uint32(s.feed.View().Index()))
			time.Sleep(askEvery)
			if _, behind := measured(); behind != 0 {
				t.Errorf("it has caught up, and is behind by %v s", behind)
			}
		})
	})
}

func TestASecondaryWithoutTheZoneIsReachableAndBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		followed(t, newSource(), func() (uint32, bool, error) { return 0, true, errNoReply }, func(measured func() (float64, float64)) {
			time.Sleep(10 * time.Minute)
			if reachable, behind := measured(); reachable != 1 || behind < 500 {
				t.Errorf("reachable %v, behind by %v s", reachable, behind)
			}
		})
	})
}

func TestASecondaryThatIsAwayIsNotReachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		var back atomic.Bool
		followed(t, s, func() (uint32, bool, error) {
			if !back.Load() {
				return 0, false, errNoReply
			}
			return uint32(s.feed.View().Index()), true, nil
		}, func(measured func() (float64, float64)) {
			time.Sleep(time.Minute)
			if reachable, _ := measured(); reachable != 0 {
				t.Errorf("reachable %v", reachable)
			}
			back.Store(true)
			time.Sleep(askEvery)
			if reachable, behind := measured(); reachable != 1 || behind != 0 {
				t.Errorf("it is back: reachable %v, behind by %v s", reachable, behind)
			}
		})
	})
}

// TestASecondaryIsAskedForItsSerial has one on loopback.
func TestASecondaryIsAskedForItsSerial(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serial atomic.Uint32
	serial.Store(42)
	secondary := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		reply := new(dns.Msg).SetReply(m)
		if serial.Load() == 0 {
			reply.Rcode = dns.RcodeServerFailure
		} else {
			reply.Answer = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: ".", Serial: serial.Load()}}
		}
		_ = w.WriteMsg(reply)
	})}
	go func() { _ = secondary.ActivateAndServe() }()
	defer func() { _ = secondary.Shutdown() }()
	server := newServer(t, newSource(), Config{Source: netip.MustParseAddr("127.0.0.1")})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	target := Target{Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	if got, replied, err := server.question(ctx, server.config.Zones.Primary(), target); got != 42 || !replied || err != nil {
		t.Errorf("got %d, %v, %v", got, replied, err)
	}
	serial.Store(0)
	if _, replied, err := server.question(ctx, server.config.Zones.Primary(), target); !replied || err == nil {
		t.Errorf("of a server that has no zone: replied %v, %v", replied, err)
	}
}
