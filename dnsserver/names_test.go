package dnsserver

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// askTimes has a worker answer a question so many times.
func askTimes(t testing.TB, w *worker, times int, name string, qtype uint16) {
	t.Helper()
	query, err := new(dns.Msg).SetQuestion(name, qtype).Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 0, 4096)
	for range times {
		w.serve(reply, query, client)
	}
}

// sums adds up what was counted, by name and kind.
func sums(n Names) map[string]uint64 {
	all := make(map[string]uint64)
	for _, a := range n.Asked {
		all[a.Name+" "+a.Kind] += a.Count
	}
	return all
}

func TestNamesAreCountedWithWhatWasAnswered(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80, Address: "10.0.0.2"})
	w := l.newWorker("udp")
	asked := map[string]uint16{"Web.service.test.": dns.TypeA, "service.test.": dns.TypeA, "wbe.service.test.": dns.TypeA, "example.org.": dns.TypeA}
	for name, qtype := range asked {
		askTimes(t, w, 20_000, name, qtype)
	}
	n := l.server.TakeNames()
	got := sums(n)
	for _, key := range []string{"web.service.test. NOERROR", "service.test. NODATA", "wbe.service.test. NXDOMAIN", "example.org. REFUSED"} {
		if got[key] < 16_000 || got[key] > 24_000 {
			t.Errorf("of 20000 of %s, %d were counted", key, got[key])
		}
	}
	if len(got) != 4 || n.Questions < 75_000 || n.Questions > 85_000 {
		t.Errorf("of 80000, %d were counted: %v", n.Questions, got)
	}
	if again := l.server.TakeNames(); again.Questions != 0 || again.Asked != nil {
		t.Errorf("what was taken is there again: %v", again)
	}
}

// TestNothingIsMissedWhileQuestionsAreFew has them come one by one.
func TestNothingIsMissedWhileQuestionsAreFew(t *testing.T) {
	l, now := newLooker(), time.Now()
	for n := range 1000 {
		now = now.Add(10 * time.Millisecond)
		if l.until--; l.until > 0 {
			t.Fatalf("number %d is not looked at", n)
		}
		if l.look(now); l.weight != 1 {
			t.Fatalf("number %d stands for %d", n, l.weight)
		}
	}
}

// TestOfManyQuestionsOneIn64IsLookedAt: and after them, of few, each again.
func TestOfManyQuestionsOneIn64IsLookedAt(t *testing.T) {
	l, now, looks, weight, timed := newLooker(), time.Now(), 0, 0, 0
	for range 1_000_000 {
		now = now.Add(time.Microsecond)
		if l.until--; l.until <= 0 {
			l.look(now)
			looks, weight = looks+1, weight+l.weight
			if !l.start.IsZero() {
				timed++
			}
		}
	}
	for _, n := range []int{64 * looks, weight, 64 * timed} {
		if n < 950_000 || n > 1_050_000 {
			t.Errorf("%d were looked at and %d timed, which stand for %d", looks, timed, weight)
		}
	}
	skipped := 0
	for range 1000 {
		now = now.Add(time.Second)
		if l.until--; l.until <= 0 {
			l.look(now)
		} else {
			skipped++
		}
	}
	if skipped > 127 {
		t.Errorf("%d of the few after them were not looked at", skipped)
	}
}

// TestAFloodOfNamesHidesNoneThatComesOften counts what comes once among what comes
// often, as a flood of made-up names and as very many services do.
func TestAFloodOfNamesHidesNoneThatComesOften(t *testing.T) {
	for name, k := range map[string]kind{"made up": dns.RcodeNameError, "services": dns.RcodeSuccess} {
		t.Run(name, func(t *testing.T) {
			n := newNameLog().of("udp")
			for i := range 100_000 {
				n.count(fmt.Appendf(nil, "\x08x%07d\x00", rand.IntN(1e7)), k, 1+rand.Uint32N(2))
				if i%20 == 0 {
					n.count([]byte("\x05often\x00"), k, 1)
				}
			}
			var all Names
			n.take(&all)
			if got := sums(all)["often. "+k.String()]; got < 4000 || got > 5000 {
				t.Errorf("of 5000, %d were counted", got)
			}
			if len(all.Asked) > nameSets*nameWays {
				t.Errorf("there are %d names", len(all.Asked))
			}
		})
	}
}

func TestNamesThatFailTakeNoRoomFromThoseThatAreAnswered(t *testing.T) {
	n := newNameLog().of("udp")
	for i := range 100_000 {
		n.count(fmt.Appendf(nil, "\x08x%07d\x00", i), dns.RcodeNameError, 1)
		if i%1000 == 0 {
			n.count([]byte("\x06seldom\x00"), dns.RcodeSuccess, 1)
		}
	}
	var all Names
	n.take(&all)
	if diff := cmp.Diff(uint64(100), sums(all)["seldom. NOERROR"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCountingNamesTakesNoMemoryOfItsOwn(t *testing.T) {
	n, name := newNameLog().of("udp"), []byte("\x08x0000000\x00")
	once := func() {
		for k := range name[2:9] {
			name[2+k] = '0' + byte(rand.IntN(10))
		}
		n.count(name, dns.RcodeNameError, 1)
	}
	for range 10_000 {
		once()
	}
	if allocations := testing.AllocsPerRun(10_000, once); allocations != 0 {
		t.Errorf("%v allocations a name", allocations)
	}
}

// BenchmarkName is what one question in 64 pays.
func BenchmarkName(b *testing.B) {
	for name, of := range map[string]int{"often": 100, "seldom": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			n := newNameLog().of("udp")
			list := make([][]byte, 1<<12)
			for i := range list {
				list[i] = fmt.Appendf(nil, "\x08x%07d\x07service\x08rollcall\x08internal\x00", rand.IntN(of))
			}
			for i := 0; b.Loop(); i++ {
				n.count(list[i%len(list)], dns.RcodeSuccess, 1)
			}
		})
	}
}
