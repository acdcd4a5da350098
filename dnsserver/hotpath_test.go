package dnsserver

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
)

func TestAQueryAllocatesNothing(t *testing.T) {
	l := newLab(t)
	l.registerMany(t, "web", 3)
	w := l.newWorker("udp")
	reply := make([]byte, 0, cache.UDPSize)
	for _, row := range []struct {
		name  string
		qtype uint16
	}{
		{"web.service.test.", dns.TypeA}, {"web.service.test.", dns.TypeSRV}, {"web.service.test.", dns.TypeAAAA},
		{"wbe.service.test.", dns.TypeA}, {"v1.web.service.test.", dns.TypeA}, {"nil.test.", dns.TypeA}, {"9.9.9.10.in-addr.arpa.", dns.TypePTR},
	} {
		query, _ := question(row.name, row.qtype, 1232).Pack()
		if w.serve(reply, query, client); reply[:headerSize][3]&0xf == dns.RcodeSuccess {
			l.cached(t, w, query)
		}
		if n := testing.AllocsPerRun(1000, func() { w.serve(reply, query, client) }); n > 0 {
			t.Errorf("%s %s: %v allocations", row.name, dns.TypeToString[row.qtype], n)
		}
	}
}

// TestNamesThatDoNotExistFillNothing asks for names that are made up: they take
// no memory, and no other answer's place.
func TestNamesThatDoNotExistFillNothing(t *testing.T) {
	l := newLab(t)
	l.registerMany(t, "web", 3)
	w := l.newWorker("udp")
	reply := make([]byte, 0, cache.UDPSize)
	query, _ := question("x000000000000.service.test.", dns.TypeA, 1232).Pack()
	label := query[headerSize+2:][:12]
	ask := func(times int) {
		for range times {
			for n, random := 0, rand.Uint64(); n < len(label); n++ {
				label[n] = 'a' + byte(random>>(5*n))%26
			}
			if reply := w.serve(reply, query, client); reply[3]&0xf != dns.RcodeNameError {
				t.Fatalf("got the reply %x", reply)
			}
		}
	}
	memory := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	known, _ := question("web.service.test.", dns.TypeA, 1232).Pack()
	l.cached(t, w, known)
	ask(10_000)
	cached, used := l.gauge(t, "rollcall_cache_cost_bytes"), memory()
	ask(200_000)
	if now := l.gauge(t, "rollcall_cache_cost_bytes"); now != cached || cached == 0 {
		t.Errorf("%v bytes were cached, and are %v", cached, now)
	}
	if now := memory(); now > used+64<<10 {
		t.Errorf("%d bytes were used, and are %d", used, now)
	}
	misses := l.gauge(t, "rollcall_cache_misses_total")
	if w.serve(reply, known, client); l.gauge(t, "rollcall_cache_misses_total") != misses {
		t.Error("the answer for a name that is there was crowded out")
	}
}

// cached asks until the answer comes from the cache, which takes in what it is
// given when it finds the time.
func (l *lab) cached(t testing.TB, w *worker, query []byte) {
	t.Helper()
	for range 10_000 {
		before := l.gauge(t, "rollcall_cache_misses_total")
		if w.serve(nil, query, client); l.gauge(t, "rollcall_cache_misses_total") == before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("the cache does not take the answer")
}

// gauge returns the value of one of the cache's metrics.
func (l *lab) gauge(t testing.TB, name string) float64 {
	t.Helper()
	families, err := l.measured.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestLowerCaseIsThatOfASCII(t *testing.T) {
	for size := range 40 {
		name, got, want := make([]byte, size), make([]byte, size), make([]byte, size)
		for c := range 256 {
			for i := range name {
				name[i] = byte(c + i*37)
				want[i] = name[i]
				if 'A' <= name[i] && name[i] <= 'Z' {
					want[i] += 'a' - 'A'
				}
			}
			if lower(got, name); !bytes.Equal(got, want) {
				t.Fatalf("%q became %q", name, got)
			}
		}
	}
}

// BenchmarkWorkers answers with a worker a core, which share the registry and the
// cache. With -cpu 1,2 the processor time of a query is to stay the same, on
// however busy a machine.
func BenchmarkWorkers(b *testing.B) {
	l := newLab(b)
	var queries, absent [][]byte
	for n := range 200 {
		service := fmt.Sprintf("web%d", n)
		l.registerMany(b, service, 3)
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV} {
			query, _ := question(service+".service.test.", qtype, 1232).Pack()
			queries = append(queries, query)
		}
		query, _ := question(fmt.Sprintf("wbe%d.service.test.", n), dns.TypeA, 1232).Pack()
		absent = append(absent, query)
	}
	for _, row := range []struct {
		name    string
		queries [][]byte
	}{{"hit", queries}, {"hit-one-name", queries[:1]}, {"nx", absent}} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			before := processorTime(b)
			b.RunParallel(func(pb *testing.PB) {
				w := l.newWorker("udp")
				reply := make([]byte, 0, cache.UDPSize)
				for n := 0; pb.Next(); n++ {
					w.read(&w.queries[0], row.queries[n%len(row.queries)])
					if reply = w.reply(&w.queries[0], reply[:0], client.Addr()); n%64 == 0 {
						w.publish()
					}
				}
			})
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime returns how much this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
