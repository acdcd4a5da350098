package dnstap

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	reference "github.com/dnstap/golang-dnstap"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-dns/rollcall/dnsserver"
)

func exchange() *dnsserver.Exchange {
	began := time.Unix(1_800_000_000, 123_456_789)
	return &dnsserver.Exchange{
		Query: []byte("a query"), Reply: bytes.Repeat([]byte("a reply"), 100), Transport: "udp",
		From: netip.MustParseAddrPort("192.0.2.7:5353"), Began: began, Ended: began.Add(time.Millisecond),
	}
}

// collector is the reader of dnstap's own library.
func collector(t *testing.T, l net.Listener) <-chan []byte {
	t.Helper()
	frames := make(chan []byte, 100)
	t.Cleanup(func() { l.Close() })
	go func() {
		defer close(frames)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		reader, err := reference.NewReader(conn, &reference.ReaderOptions{Bidirectional: true, Timeout: 10 * time.Second})
		for err == nil {
			frame, n := make([]byte, 1<<17), 0
			if n, err = reader.ReadFrame(frame); err == nil {
				frames <- frame[:n]
			}
		}
	}()
	return frames
}

func running(t *testing.T, config Config) (tap *Tap, stop func()) {
	t.Helper()
	tap, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = tap.Run(ctx); close(ended) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return tap, stop
}

// TestACollectorReadsWhatWasSeen has dnstap's own library read, over both kinds of
// connections.
func TestACollectorReadsWhatWasSeen(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "tap")
			}
			l, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			frames := collector(t, l)
			tap, stop := running(t, Config{Network: network, Address: l.Addr().String(), Identity: "host-1", Version: "rollcall 1"})
			e := exchange()
			tap.See(e)
			for _, want := range []reference.Message_Type{reference.Message_AUTH_QUERY, reference.Message_AUTH_RESPONSE} {
				var d reference.Dnstap
				if err := proto.Unmarshal(<-frames, &d); err != nil {
					t.Fatal(err)
				}
				m := d.Message
				if string(d.Identity) != "host-1" || string(d.Version) != "rollcall 1" || d.GetType() != reference.Dnstap_MESSAGE || m.GetType() != want {
					t.Errorf("got %v", &d)
				}
				if m.GetSocketFamily() != reference.SocketFamily_INET || m.GetSocketProtocol() != reference.SocketProtocol_UDP ||
					!bytes.Equal(m.QueryAddress, []byte{192, 0, 2, 7}) || m.GetQueryPort() != 5353 ||
					m.GetQueryTimeSec() != 1_800_000_000 || m.GetQueryTimeNsec() != 123_456_789 {
					t.Errorf("got %v", m)
				}
				if want == reference.Message_AUTH_QUERY && (!bytes.Equal(m.QueryMessage, e.Query) || m.ResponseMessage != nil) {
					t.Errorf("got %v", m)
				}
				if want == reference.Message_AUTH_RESPONSE && (!bytes.Equal(m.ResponseMessage, e.Reply) || m.GetResponseTimeNsec() != 124_456_789) {
					t.Errorf("got %v", m)
				}
			}
			tap.See(e)
			stop()
			if _, ok := <-frames; !ok {
				t.Error("what was queued at the end was not sent")
			}
		})
	}
}

func TestAFrameHoldsAnyLength(t *testing.T) {
	config := &Config{Identity: "n"}
	e := exchange()
	for size := range 65536 / 13 {
		e.Reply = make([]byte, size*13)
		e.From = netip.MustParseAddrPort("[2001:db8::1]:65535")
		var d reference.Dnstap
		if err := proto.Unmarshal(appendFrame(nil, config, authResponse, e), &d); err != nil || len(d.Message.ResponseMessage) != len(e.Reply) {
			t.Fatalf("%d octets: %v", len(e.Reply), err)
		}
	}
}

// TestNothingWaitsForTheCollector has none, and then one that does not read.
func TestNothingWaitsForTheCollector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, address := range []string{"127.0.0.1:1", l.Addr().String()} {
		tap, _ := running(t, Config{Network: "tcp", Address: address})
		e := exchange()
		const seen = 2 * queueFrames
		began := time.Now()
		for range seen {
			tap.See(e)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%d took %v", seen, took)
		}
		if n := tap.dropped.Load(); n != seen-queueFrames {
			t.Errorf("%d of %d were dropped, and %d fit", n, seen, queueFrames)
		}
	}
}

func TestTheQueueIsBoundedInOctets(t *testing.T) {
	tap, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	e := exchange()
	e.Reply = make([]byte, 65535)
	for range 1000 {
		tap.See(e)
	}
	if n := tap.bytes.Load(); n > queueBytes || tap.dropped.Load() == 0 {
		t.Errorf("%d octets are queued, %d were dropped", n, tap.dropped.Load())
	}
}

func TestSeeingAllocatesNothing(t *testing.T) {
	tap, err := New(Config{Identity: "host-1", Version: "rollcall 1"})
	if err != nil {
		t.Fatal(err)
	}
	e := exchange()
	if n := testing.AllocsPerRun(2*queueFrames, func() {
		tap.See(e)
		tap.release(<-tap.queue)
	}); n > 0.1 {
		t.Errorf("%v allocations", n)
	}
}

func TestAddressesOfCollectors(t *testing.T) {
	for text, want := range map[string]string{
		"unix:/run/tap": "unix /run/tap", "unix:///run/tap": "unix /run/tap", "/run/tap": "unix /run/tap",
		"tcp:127.0.0.1:6000": "tcp 127.0.0.1:6000", "tcp://[::1]:6000": "tcp [::1]:6000",
		"unix:tap": "", "tcp:127.0.0.1": "", "udp:127.0.0.1:6000": "", "": "", "tap": "",
	} {
		network, address, err := Parse(text)
		if got := network + " " + address; (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// BenchmarkSee is what a query costs that is seen, while a collector takes all.
func BenchmarkSee(b *testing.B) {
	tap, err := New(Config{Identity: "host-1", Version: "rollcall 1"})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case f := <-tap.queue:
				tap.release(f)
			case <-ctx.Done():
				return
			}
		}
	}()
	e := exchange()
	b.ReportAllocs()
	for b.Loop() {
		tap.See(e)
	}
	stop()
	<-ended
}
