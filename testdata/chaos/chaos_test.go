// Package chaos breaks rollcall and everything around it, at random, and looks
// whether what it promises holds meanwhile.
//
// There are two worlds. In one rollcall keeps the registry itself; in the other it
// stands in front of a real Consul and of an upstream that it forwards to. In each
// clients ask and change things all the time, over a network with faults, while
// parts are killed, stopped, cut off and flooded. What each client did and saw is
// judged as it comes: nothing that was acknowledged may be lost, no answer may
// contradict it, and where nothing is broken that an answer needs, it must come.
//
// Beside those who ask over UDP and TCP there are some over TLS and HTTPS, while the
// certificate is renewed all the time; some who validate what is signed, while its
// keys roll over; some who wait for changes, over HTTP; and a name server that has
// the zone from rollcall.
//
//	CHAOS_TIME=10m CHAOS_SEED=7 go test ./testdata/chaos -v -timeout 1h
//
// (make chaos) does the same again for the same seed: the faults, their order and
// their lengths, if not the turns that the scheduler takes. CHAOS_RACE=1 builds
// rollcall with the race detector.
//
// The soak beside it (make soak) breaks nothing, and only goes on for long.
package chaos

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// shortTime is for how long it goes on where nobody says for how long: as part of
// all tests.
const shortTime = 8 * time.Second

// TestChaos lives in both worlds at once.
func TestChaos(t *testing.T) {
	path := build(t)
	for name, world := range map[string]func(*testing.T, string){"embedded": itsOwnRegistry, "consul": inFrontOfConsul} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			world(t, path)
		})
	}
}

// journal is the log of one world, its counts, and the source of its faults.
type journal struct {
	t      *testing.T
	world  string
	began  time.Time
	length time.Duration
	until  time.Time       // set when the clients begin
	ctx    context.Context // ends early where somebody interrupts
	long   bool            // whether there is time to wait for what takes a minute
	random *rand.Rand      // for the goroutine alone that plans the faults
	seed   uint64

	mu    sync.Mutex
	count map[string]int
	gap   time.Duration // longest between two answers while nothing was broken
}

// newJournal reads for how long to go on, and with which seed.
func newJournal(t *testing.T, world string, number uint64) *journal {
	t.Helper()
	length, seed := shortTime, uint64(time.Now().UnixNano()%1_000_000)
	var err error
	if text := os.Getenv("CHAOS_TIME"); text != "" {
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CHAOS_TIME: %v", err)
		}
	}
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
	}
	j := &journal{
		t: t, world: world, began: time.Now(), length: length, long: length >= time.Minute,
		random: rand.New(rand.NewPCG(seed, number)), seed: seed, count: make(map[string]int),
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	t.Cleanup(stop)
	j.ctx = ctx
	j.note("CHAOS_SEED=%d CHAOS_TIME=%v", seed, length)
	return j
}

// note prints what is done, and when.
func (j *journal) note(format string, args ...any) {
	fmt.Printf("%-8s %8.3fs  %s\n", j.world, time.Since(j.began).Seconds(), fmt.Sprintf(format, args...))
}

// wrong counts a broken promise under a name of the table, and tells of it.
func (j *journal) wrong(name, format string, args ...any) {
	j.add(name, 1)
	j.mu.Lock()
	told := j.count[name]
	j.mu.Unlock()
	if told <= 20 { // the first ones tell what there is to know
		j.note("WRONG    "+format, args...)
		j.t.Errorf(format, args...)
	}
	j.t.Fail()
}

func (j *journal) add(name string, n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.count[name] += n
}

// most keeps the largest of some numbers.
func (j *journal) most(name string, n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.count[name] = max(j.count[name], n)
}

func (j *journal) answered(network string, gap time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.count["queries"]++
	j.count["answered"]++
	j.count["answers over "+strings.ToUpper(network)]++
	j.gap = max(j.gap, gap)
}

// table prints the sums, in this order.
func (j *journal) table(names ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s, seed %d, %v\t\n", j.world, j.seed, time.Since(j.began).Round(time.Second))
	for _, name := range names {
		fmt.Fprintf(w, "  %s\t%d\n", name, j.count[name])
	}
	fmt.Fprintf(w, "  worst gap in answers outside of faults\t%v\n\n", j.gap.Round(time.Millisecond))
	_ = w.Flush()
}

// lines prints sums that are in both worlds, what belongs together in one line.
func (j *journal) lines() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range [][]string{
		{"certificates renewed", "TLS connections", "answers over TLS", "answers over HTTPS"},
		{"blocking queries", "events", "event streams", "resets"},
		{"signed answers", "keys rolled over"},
		{"zones compared with the secondary's", "serials of rollcall", "serials of the secondary", "restarts of the secondary", hadItAfter},
		{"transfers of changes", "transfers of the zone"},
	} {
		for n, name := range line {
			line[n] = fmt.Sprintf("%d %s", j.count[name], name)
		}
		fmt.Printf("%s: %s\n", j.world, strings.Join(line, ", "))
	}
}

// goesOn tells whether there is time for another round. There is none after an
// interrupt, nor where so much is wrong that there is no use in it.
func (j *journal) goesOn() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	hopeless := j.count["wrong"]+j.count["lost"]+j.count["missed"]+j.count["unanswered outside of faults"]+j.count["refused outside of faults"] > 200
	return !hopeless && j.ctx.Err() == nil && time.Now().Before(j.until)
}

// bounded looks what a program holds while nothing is broken.
func (j *journal) bounded(p *program) use {
	u, err := p.uses()
	switch {
	case err != nil:
		j.wrong("wrong", "with nothing broken, /metrics: %v", err)
	case u.memory > mostMemory:
		j.wrong("wrong", "%d MiB are resident", u.memory>>20)
	}
	return u
}

// handsBack waits until a program holds no more than when it started.
func (j *journal) handsBack(p *program, start use) {
	const more = 4 // of either, for what comes and goes
	var now use
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var err error
		if now, err = p.uses(); err == nil && now.goroutines <= start.goroutines+more && now.files <= start.files+more {
			j.note("back to %d goroutines and %d files, from %d and %d at the start", now.goroutines, now.files, start.goroutines, start.files)
			return
		}
	}
	j.wrong("not given back", "%+v at the end, %+v at the start", now, start)
}

// between draws a length of time. The short form has faults that are shorter.
func (j *journal) between(least, most time.Duration) time.Duration {
	d := least + time.Duration(j.random.Float64()*float64(most-least))
	if !j.long {
		d = least + (d-least)/4
	}
	return d
}

// weather tells when it is too bad for something: from the start of a fault until
// its end.
type weather struct {
	mu     sync.Mutex
	faults int       // at the moment
	begun  int       // ever
	since  time.Time // when the last one ended
}

func (w *weather) worsen() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults++
	w.begun++
}

func (w *weather) improve() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults--
	w.since = time.Now()
}

// watch returns a function that tells whether the weather was good since then, and
// since when.
func (w *weather) watch() (good func() (bool, time.Time)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	faults, begun := w.faults, w.begun
	return func() (bool, time.Time) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return faults == 0 && w.begun == begun, w.since
	}
}

// ended returns when the last fault did.
func (w *weather) ended() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.since
}

// eventually asks again and again what is amiss, until it is nothing, or the weather
// was good for so long. It returns for how long that took.
func (w *weather) eventually(within time.Duration, amiss func() string) (took time.Duration, still string) {
	began := time.Now()
	good, since := w.watch(), began
	for {
		still = amiss()
		if took = time.Since(began); still == "" {
			return took, ""
		}
		late := time.Since(since) > within
		if time.Sleep(10 * time.Millisecond); late {
			time.Sleep(noticeWithin)
		}
		if fine, _ := good(); !fine {
			good, since = w.watch(), time.Now()
		} else if late {
			return took, still
		}
	}
}

// pulse is when the last answer came, to any client.
type pulse struct {
	mu   sync.Mutex
	last time.Time
}

// beat notes an answer, and returns when the one before came; the first is its own.
func (p *pulse) beat(came time.Time) (before time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before = p.last
	if before.IsZero() || came.Before(before) {
		before = came
	}
	if came.After(p.last) {
		p.last = came
	}
	return before
}

// closing closes what a test does not need any more.
func closing(c io.Closer) { _ = c.Close() }
