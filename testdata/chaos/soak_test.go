package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// What the soak has going on. Everything that could fill something is there: names
// and instances that come and go, names that nobody has, names of others whose
// answers run out, checks that fail and recover, connections.
const (
	soakShort      = 4 * time.Second // where nobody says for how long
	soakJudged     = 10 * time.Minute
	soakMostGrowth = 5.0 // percent of what is resident, from the warm-up to the end
	soakIDs        = 2_000
	soakServices   = 200
	soakChecked    = 50 // instances with an HTTP check each second
	soakOthers     = 10_000
	soakChanges    = 100 // a second
	soakAskers     = 4
	soakBatch      = 32               // questions before their replies are read
	soakPatience   = 10 * time.Second // a machine that others use stands still now and then
)

// TestSoak has rollcall do everything at once for SOAK_TIME (make soak), with nothing
// broken, at half the rate of queries that it answers here, and looks whether it
// needs more and more memory.
func TestSoak(t *testing.T) {
	length := soakShort
	if text := os.Getenv("SOAK_TIME"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SOAK_TIME: %v", err)
		}
	}
	s := newSoak(t)
	full := s.rateOf(t, length/16, 0)
	var memory []use
	var times []time.Duration
	began := time.Now()
	half := s.rateOf(t, length, full/2, func(ctx context.Context) {
		ticks := time.NewTicker(max(length/400, 20*time.Millisecond))
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
			}
			if u, err := s.program.uses(); err == nil {
				memory, times = append(memory, u), append(times, time.Since(began))
			}
		}
	})
	g := growthOf(memory, times)
	t.Logf("%v at %.0f queries a second of %.0f at most: %d queries, %d unanswered, %d changes, %d checks; %.1f MiB resident after the warm-up and %.1f at the end: %+.1f %%, %+.1f %% an hour; %d goroutines and %d files, then %d and %d",
		length, half, full, s.asked.Load(), s.unanswered.Load(), s.changed.Load(), s.probed.Load(),
		mebibytes(g.first.memory), mebibytes(g.last.memory), g.percent, g.percent/g.between.Hours(), g.first.goroutines, g.first.files, g.last.goroutines, g.last.files)
	if s.unanswered.Load() > 0 {
		t.Errorf("%d of %d queries had no answer", s.unanswered.Load(), s.asked.Load())
	}
	if length >= soakJudged && g.percent > soakMostGrowth {
		t.Errorf("it grew by %.1f %%", g.percent)
	}
}

func mebibytes(n int) float64 { return float64(n) / (1 << 20) }

// soak is rollcall, an upstream, a web server for its checks, and what was done.
type soak struct {
	t                                  *testing.T
	program                            *program
	target                             *httptest.Server
	asked, unanswered, changed, probed atomic.Int64
	turn                               int // of change, which goes on where it ended
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{t: t}
	s.target = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if s.probed.Add(1)/(10*soakChecked)%2 == 1 { // well for ten seconds, and then not
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(s.target.Close)
	s.program = newProgram(t, build(t), "--data-dir", filepath.Join(t.TempDir(), "state"), "--forward", newUpstream(t).addr)
	if err := s.program.start(); err != nil {
		t.Fatal(err)
	}
	client := new(http.Client)
	for n := range soakIDs {
		s.register(client, n)
	}
	return s
}

func (s *soak) register(client *http.Client, n int) {
	check := object{"TTL": "1h", "Status": "passing"}
	if n < soakChecked {
		check = object{"HTTP": s.target.URL, "Interval": "1s", "Timeout": "1s", "Status": "passing"}
	}
	s.put(client, "service/register", object{
		"Name": fmt.Sprint("s", n%soakServices), "ID": fmt.Sprint("i", n), "Address": fmt.Sprintf("10.0.%d.%d", n>>8, n&255),
		"Port": 1 + rand.IntN(65535), "Check": check, "Tags": []string{fmt.Sprint("t", rand.IntN(5))},
	})
}

func (s *soak) put(client *http.Client, path string, body any) {
	status, text, err := put(client, "http://"+s.program.http+"/v1/agent/"+path, body)
	if err != nil || status != http.StatusOK {
		s.t.Errorf("%s: %d %s, %v", path, status, text, err)
	}
	s.changed.Add(1)
}

// rateOf asks and changes things for so long, with so many queries a second, or with
// zero as many as are answered, and does the other things beside. It returns how many
// there were in a second.
func (s *soak) rateOf(t *testing.T, length time.Duration, rate float64, beside ...func(context.Context)) float64 {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	asked, began := s.asked.Load(), time.Now()
	var work sync.WaitGroup
	for range soakAskers {
		work.Go(func() { s.ask(ctx, rate/soakAskers) })
	}
	for _, each := range append(beside, s.change, s.connect) {
		work.Go(func() { each(ctx) })
	}
	work.Wait()
	return float64(s.asked.Load()-asked) / time.Since(began).Seconds()
}

// ask asks over UDP: half for what is there, some for what nobody has, which is never
// the same twice, and some for what the upstream knows.
func (s *soak) ask(ctx context.Context, rate float64) {
	conn, err := net.Dial("udp", s.program.dns)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer conn.Close()
	reply := make([]byte, 4096)
	for due := time.Now(); ctx.Err() == nil; {
		if rate > 0 {
			time.Sleep(time.Until(due))
			due = due.Add(time.Duration(soakBatch / rate * float64(time.Second)))
		}
		for n := range soakBatch {
			message, err := soakQuestion(n).Pack()
			if err == nil {
				_, err = conn.Write(message)
			}
			if err != nil {
				s.t.Error(err)
				return
			}
		}
		s.asked.Add(soakBatch)
		_ = conn.SetReadDeadline(time.Now().Add(soakPatience))
		for n := range soakBatch {
			if _, err := conn.Read(reply); err != nil {
				s.unanswered.Add(int64(soakBatch - n))
				break
			}
		}
	}
}

func soakQuestion(n int) *dns.Msg {
	question := new(dns.Msg)
	switch {
	case n < soakBatch/2:
		question.SetQuestion(fmt.Sprintf("s%d.service.rollcall.internal.", rand.IntN(soakServices)), []uint16{dns.TypeA, dns.TypeSRV}[n%2])
	case n < soakBatch*7/8:
		question.SetQuestion(fmt.Sprintf("n%x.service.rollcall.internal.", rand.Uint64()), dns.TypeA)
	default:
		question.SetQuestion(fmt.Sprintf("h%d.example.", rand.IntN(soakOthers)), dns.TypeA)
	}
	if n%4 < 3 {
		question.SetEdns0(1232, n%8 == 0)
	}
	return question
}

// change registers, fails, passes and deregisters one instance after the other.
func (s *soak) change(ctx context.Context) {
	client := new(http.Client)
	defer client.CloseIdleConnections()
	ticks := time.NewTicker(time.Second / soakChanges)
	defer ticks.Stop()
	for ; ; s.turn++ {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		n := soakChecked + s.turn/4%(soakIDs-soakChecked)
		switch s.turn % 4 {
		case 0:
			s.put(client, fmt.Sprint("service/deregister/i", n), nil)
		case 1:
			s.register(client, n)
		case 2:
			s.put(client, fmt.Sprint("check/fail/service:i", n), nil)
		default:
			s.put(client, fmt.Sprint("check/pass/service:i", n), nil)
		}
	}
}

// connect asks over a TCP connection of its own, 20 times a second.
func (s *soak) connect(ctx context.Context) {
	client := dns.Client{Net: "tcp", Timeout: soakPatience}
	for ticks := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		s.asked.Add(1)
		if _, _, err := client.Exchange(soakQuestion(rand.IntN(soakBatch)), s.program.dns); err != nil {
			s.unanswered.Add(1)
		}
	}
}

// growth is what the process held after the warm-up and at the end.
type growth struct {
	first, last use
	between     time.Duration
	percent     float64 // of memory
}

// growthOf leaves out the first quarter, in which caches fill, and compares the
// medians of the next fifth of the samples and of the last.
func growthOf(samples []use, times []time.Duration) (g growth) {
	if len(samples) < 8 {
		return growth{between: time.Hour}
	}
	samples, times = samples[len(samples)/4:], times[len(times)/4:]
	fifth := max(len(samples)/5, 1)
	median := func(of []use, field func(use) int) int {
		var all []int
		for _, u := range of {
			all = append(all, field(u))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	sum := func(of []use) use {
		return use{
			goroutines: median(of, func(u use) int { return u.goroutines }), files: median(of, func(u use) int { return u.files }),
			memory: median(of, func(u use) int { return u.memory }),
		}
	}
	g.first, g.last = sum(samples[:fifth]), sum(samples[len(samples)-fifth:])
	g.between = times[len(times)-1-fifth/2] - times[fifth/2]
	g.percent = 100 * float64(g.last.memory-g.first.memory) / float64(g.first.memory)
	return g
}
