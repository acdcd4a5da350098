// Package dnstap sends what a DNS server answers to a collector, in the format of
// dnstap.info: each query and each reply as it was on the wire, with its time and
// where it came from, in a stream of frames over a Unix socket or TCP.
//
// No answer waits for it. What is seen is copied into a queue with a bound, and
// where that is full, because the collector is slow or away, it is dropped and
// counted.
package dnstap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	framestream "github.com/farsightsec/golang-framestream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-dns/rollcall/dnsserver"
)

// Bounds of the queue, and of what is waited for.
const (
	queueFrames = 8192
	queueBytes  = 16 << 20
	freeFrames  = 1024
	dialWithin  = 5 * time.Second
	writeWithin = 5 * time.Second
	flushWithin = time.Second // at the end
	retryFirst  = time.Second
	retryMost   = 30 * time.Second
)

// contentType is what the frames hold.
var contentType = []byte("protobuf:dnstap.Dnstap")

// Config says where to send what. The zero value is not usable: it has no Address.
type Config struct {
	Network, Address string                // as Parse returns them
	Identity         string                // of this server
	Version          string                // of its program
	Logger           *slog.Logger          // nil: silent
	Metrics          prometheus.Registerer // nil: not measured
}

// Parse reads a collector's address: unix:PATH, a path alone, or tcp:HOST:PORT. The
// forms with slashes, unix:///PATH and tcp://HOST:PORT, are those of CoreDNS.
func Parse(text string) (network, address string, err error) {
	ok := false
	network, address, _ = strings.Cut(text, ":")
	switch {
	case strings.HasPrefix(text, "/"):
		network, address, ok = "unix", text, true
	case network == "unix":
		address = strings.TrimPrefix(address, "//")
		ok = filepath.IsAbs(address)
	case network == "tcp":
		address = strings.TrimPrefix(address, "//")
		_, port, err := net.SplitHostPort(address)
		ok = err == nil && port != ""
	}
	if !ok {
		return "", "", fmt.Errorf("%q has neither of the forms unix:PATH and tcp:HOST:PORT", text)
	}
	return network, address, nil
}

// Tap is an Observer's side and the collector's. See takes what is seen, and Run
// sends it.
type Tap struct {
	config Config
	queue  chan *frames
	bytes  atomic.Int64 // in the queue
	free   chan *frames // to be used again
	*counts
}

// counts are those of a Tap and its successors.
type counts struct {
	sent    atomic.Uint64
	dropped atomic.Uint64
	up      atomic.Bool
}

// frames are those of one exchange.
type frames struct {
	octets []byte
	ends   [2]int // of each frame in octets; zero: there is none
}

// New returns a Tap of a Config.
func New(config Config) (*Tap, error) {
	t := newTap(config, new(counts))
	if config.Metrics == nil {
		return t, nil
	}
	for _, c := range []prometheus.Collector{
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "rollcall_dnstap_sent_total", Help: "Frames of dnstap that were sent.",
		}, func() float64 { return float64(t.sent.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "rollcall_dnstap_dropped_total", Help: "Queries whose frames were dropped, as the collector is slow or away.",
		}, func() float64 { return float64(t.dropped.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "rollcall_dnstap_connected", Help: "1 while the collector takes frames.",
		}, func() float64 {
			if t.up.Load() {
				return 1
			}
			return 0
		}),
	} {
		if err := config.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of dnstap: %w", err)
		}
	}
	return t, nil
}

func newTap(config Config, c *counts) *Tap {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Tap{config: config, queue: make(chan *frames, queueFrames), free: make(chan *frames, freeFrames), counts: c}
}

// Successor returns a Tap of another Config, whose frames are counted with those of t.
// Its Run begins when t's has ended.
func (t *Tap) Successor(config Config) *Tap { return newTap(config, t.counts) }

// Observer returns what sees one exchange in so many.
func (t *Tap) Observer(every int) dnsserver.Observer {
	return dnsserver.Observer{Every: max(every, 1), See: t.See}
}

// See takes an exchange. It never waits.
func (t *Tap) See(e *dnsserver.Exchange) {
	var f *frames
	select {
	case f = <-t.free:
	default:
		f = &frames{octets: make([]byte, 0, 1<<10)}
	}
	f.octets = appendFrame(f.octets[:0], &t.config, authQuery, e)
	f.ends[0], f.ends[1] = len(f.octets), 0
	if e.Reply != nil {
		f.octets = appendFrame(f.octets, &t.config, authResponse, e)
		f.ends[1] = len(f.octets)
	}
	if t.bytes.Add(int64(len(f.octets))) <= queueBytes {
		select {
		case t.queue <- f:
			return
		default:
		}
	}
	t.dropped.Add(1)
	t.release(f)
}

// release makes room in the queue.
func (t *Tap) release(f *frames) {
	t.bytes.Add(-int64(len(f.octets)))
	if cap(f.octets) > 4<<10 {
		return
	}
	select {
	case t.free <- f:
	default:
	}
}

// Run sends what is seen until ctx ends, and what is queued then. It connects to
// the collector again and again, for longer and longer, whenever it has gone.
func (t *Tap) Run(ctx context.Context) error {
	delay, told := retryFirst, false
	for ctx.Err() == nil {
		began := time.Now()
		err := t.stream(ctx)
		t.up.Store(false)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > retryMost {
			delay, told = retryFirst, false
		}
		if !told {
			t.config.Logger.Warn("the dnstap collector is away: what is seen meanwhile is dropped", "collector", t.config.Address, "err", err)
			told = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		delay = min(2*delay, retryMost)
	}
	return ctx.Err()
}

// stream connects to the collector and sends until that fails or ctx ends.
func (t *Tap) stream(ctx context.Context) error {
	dialer := net.Dialer{Timeout: dialWithin}
	conn, err := dialer.DialContext(ctx, t.config.Network, t.config.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { // the last frames may not take long
		time.AfterFunc(flushWithin, func() { _ = conn.Close() })
	})()
	w, err := framestream.NewWriter(conn, &framestream.WriterOptions{
		ContentTypes: [][]byte{contentType}, Bidirectional: true, Timeout: writeWithin,
	})
	if err != nil {
		return fmt.Errorf("begin a stream of frames: %w", err)
	}
	t.config.Logger.Info("the dnstap collector takes frames", "collector", t.config.Address)
	t.up.Store(true)
	for {
		select {
		case f := <-t.queue:
			err = t.send(w, f)
		case <-ctx.Done():
			return errors.Join(t.finish(w), w.Close())
		}
		if err != nil {
			return fmt.Errorf("send a frame: %w", err)
		}
	}
}

// send sends the frames of one exchange, with those of others as long as some wait.
func (t *Tap) send(w *framestream.Writer, f *frames) error {
	defer t.release(f)
	start := 0
	for _, end := range f.ends {
		if end == 0 {
			continue
		}
		if _, err := w.WriteFrame(f.octets[start:end]); err != nil {
			return err
		}
		t.sent.Add(1)
		start = end
	}
	if len(t.queue) == 0 {
		return w.Flush()
	}
	return nil
}

// finish sends what is queued.
func (t *Tap) finish(w *framestream.Writer) error {
	for {
		select {
		case f := <-t.queue:
			if err := t.send(w, f); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// addressOf returns an address as frames have it, and its family there.
func addressOf(a netip.Addr) (octets [16]byte, size int, family uint64) {
	if a.Is4() {
		four := a.As4()
		copy(octets[:], four[:])
		return octets, len(four), familyINET
	}
	return a.As16(), len(octets), familyINET6
}
