package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
	"github.com/rollcall-dns/rollcall/zones/static"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a registry that is nothing but its View.
type source struct {
	registry.Registry
	feed *registry.Feed
}

func (s *source) View() *registry.View { return s.feed.View() }

// change registers an instance, another each time.
func (s *source) change() {
	v := s.feed.View()
	tx := v.Txn(v.Index() + 1)
	tx.PutInstance(&registry.Instance{Node: "n1", ID: fmt.Sprint("web-", v.Index()), Service: "web", Port: 80, Address: "10.0.0.1"})
	s.feed.Publish(tx.Commit())
}

func newSource() *source {
	tx := registry.NewView("dc1").Txn(1000)
	tx.PutNode(&registry.Node{Name: "n1", Address: "10.0.0.9"})
	return &source{feed: registry.NewFeed(tx.Commit().View)}
}

func newServer(t testing.TB, s *source, config Config, files ...*static.File) *Server {
	t.Helper()
	z, err := zones.New(zones.Config{Zones: []string{"test."}, Node: "n1", Service: "rollcall", TTL: time.Second, NegativeTTL: time.Second, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	config.Registry, config.Zones = s, z
	server, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// told runs a Server whose notifications are replied to or not, and notes them as
// seconds since the start and the serial.
func told(t *testing.T, s *source, replies func(n int) bool, story func()) []string {
	t.Helper()
	return toldBy(t, newServer(t, s, Config{Notify: []Target{{Addr: netip.MustParseAddrPort("127.0.0.1:53")}}}), replies, story)
}

func toldBy(t *testing.T, server *Server, replies func(n int) bool, story func()) (told []string) {
	t.Helper()
	start := time.Now()
	server.send = func(ctx context.Context, _ *zones.Zone, _ Target, serial uint32) error {
		told = append(told, fmt.Sprintf("%g:%d", time.Since(start).Seconds(), serial))
		if replies(len(told)) {
			return nil
		}
		<-ctx.Done()
		return errNoReply
	}
	server.ask = unasked
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- server.Run(ctx) }()
	synctest.Wait()
	story()
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	return told
}

func always(int) bool { return true }

// unasked stands for a secondary that is told and not asked.
func unasked(context.Context, *zones.Zone, Target) (uint32, bool, error) { return 0, false, errNoReply }

func TestSecondariesAreToldAtTheStartAndOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		got := told(t, s, always, func() {
			time.Sleep(10 * time.Second)
			s.change()
			time.Sleep(10 * time.Second)
			s.change()
			synctest.Wait()
		})
		if want := []string{"0:1000", "10:1001", "20:1002"}; !slices.Equal(got, want) {
			t.Errorf("they were told %v", got)
		}
	})
}

// TestSecondariesAreToldWhenTheZoneIsKnown has the View be complete before it is said to
// be, and nothing change after that.
func TestSecondariesAreToldWhenTheZoneIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		var known atomic.Bool
		server := newServer(t, s, Config{
			Notify:    []Target{{Addr: netip.MustParseAddrPort("127.0.0.1:53")}},
			Freshness: func() *registry.Freshness { return &registry.Freshness{Synced: known.Load()} },
		})
		got := toldBy(t, server, always, func() {
			time.Sleep(10 * time.Second)
			s.change()
			time.Sleep(time.Millisecond)
			known.Store(true)
			time.Sleep(syncedEvery)
			synctest.Wait()
		})
		if len(got) != 1 || !strings.HasPrefix(got[0], "10.") || !strings.HasSuffix(got[0], ":1001") {
			t.Errorf("they were told %v", got)
		}
	})
}

func TestManyChangesAreToldOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		got := told(t, s, always, func() {
			time.Sleep(5 * time.Second)
			for range 250 {
				s.change()
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(5 * time.Second)
		})
		if len(got) != 5 || got[1] != "5:1001" || got[4] != "8:1250" {
			t.Errorf("they were told %v", got)
		}
	})
}

func TestANotificationIsRepeatedUntilThereIsAReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := told(t, newSource(), func(n int) bool { return n == 5 }, func() { time.Sleep(10 * time.Minute) })
		if want := []string{"0:1000", "1:1000", "3:1000", "7:1000", "12:1000"}; !slices.Equal(got, want) {
			t.Errorf("they were told %v", got)
		}
	})
}

func TestANotificationIsGivenUpAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		got := told(t, s, func(int) bool { return false }, func() {
			time.Sleep(10 * time.Minute)
			s.change()
			synctest.Wait()
		})
		if len(got) != notifyTries+1 || !strings.HasPrefix(got[notifyTries-1], "57:") || got[notifyTries] != "600:1001" {
			t.Errorf("they were told %v", got)
		}
	})
}

func TestAChangeDoesNotWaitForAReplyToTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		got := told(t, s, func(n int) bool { return n > 4 }, func() {
			time.Sleep(8 * time.Second) // the fourth has five seconds
			s.change()
			time.Sleep(time.Minute)
		})
		if want := []string{"0:1000", "1:1000", "3:1000", "7:1000", "8:1001"}; !slices.Equal(got, want) {
			t.Errorf("they were told %v", got)
		}
	})
}

func TestAChangedZoneFileIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "zone")
		write := func(serial int) {
			text := fmt.Sprintf("$TTL 60\n@ IN SOA ns1 hostmaster %d 3600 600 86400 30\n@ IN NS ns1\nns1 IN A 10.9.0.%d\n", serial, serial)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(5)
		file, err := static.Open("corp.example.", path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = file.Run(ctx, func() {}) }()
		server := newServer(t, newSource(), Config{Notify: []Target{{Addr: netip.MustParseAddrPort("127.0.0.1:53")}}}, file)
		var got []uint32
		server.send = func(_ context.Context, zone *zones.Zone, _ Target, serial uint32) error {
			if zone.Name == "corp.example." {
				got = append(got, serial)
			}
			return nil
		}
		go func() { _ = server.Run(ctx) }()
		time.Sleep(5 * time.Second)
		write(6)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if want := []uint32{5, 6}; !slices.Equal(got, want) {
			t.Errorf("they were told %v", got)
		}
	})
}

// TestANotificationIsSigned has a secondary on loopback that replies to nothing that
// is not.
func TestANotificationIsSigned(t *testing.T) {
	keys, err := ParseKeys(`key k { algorithm hmac-sha256; secret "` + longSecret + `"; };`)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan *dns.Msg, 1)
	secondary := &dns.Server{
		PacketConn: conn, TsigSecret: map[string]string{"k.": longSecret},
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
			if m.IsTsig() != nil && w.TsigStatus() == nil {
				reply := new(dns.Msg).SetReply(m)
				reply.SetTsig("k.", dns.HmacSHA256, 300, time.Now().Unix())
				_ = w.WriteMsg(reply)
				seen <- m
			}
		}),
	}
	go func() { _ = secondary.ActivateAndServe() }()
	defer func() { _ = secondary.Shutdown() }()
	server := newServer(t, newSource(), Config{Keys: keys, Source: netip.MustParseAddr("127.0.0.1")})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	target := Target{Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), Key: "k."}
	if err := server.exchange(ctx, server.config.Zones.Primary(), target, 1234); err != nil {
		t.Fatal(err)
	}
	m := <-seen
	if m.Opcode != dns.OpcodeNotify || !m.Authoritative || m.Question[0].Name != "test." || m.Answer[0].(*dns.SOA).Serial != 1234 {
		t.Errorf("it was told\n%v", m)
	}
}
