package dnsserver

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// BenchmarkBatch is the own part of a reply over UDP: all but the system calls, of
// batches that ask for 1,000 services by two types, or for names that are not, from
// a port each, or all from one, and the replies are bundled.
func BenchmarkBatch(b *testing.B) {
	l := newLab(b)
	loads := map[string][][]byte{}
	for n := range 1000 {
		service := fmt.Sprintf("svc%d", n)
		l.registerMany(b, service, 3)
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV} {
			query, _ := question(service+".service.test.", qtype, 1232).Pack()
			loads["hit"] = append(loads["hit"], query)
		}
	}
	for range 20_000 {
		query, _ := question(fmt.Sprintf("x%d.service.test.", rand.IntN(1e9)), dns.TypeA, 1232).Pack()
		loads["nx"] = append(loads["nx"], query)
	}
	for _, row := range []struct {
		load   string
		family uint16 // of the ports
		ports  int
	}{
		{"hit", unix.AF_INET, 1 << 16}, {"nx", unix.AF_INET, 1 << 16}, {"hit", unix.AF_INET6, 1 << 16}, {"hit", unix.AF_INET, 16}, {"nx", unix.AF_INET, 16},
	} {
		queries := loads[row.load]
		rand.Shuffle(len(queries), func(i, j int) { queries[i], queries[j] = queries[j], queries[i] })
		b.Run(fmt.Sprintf("%s/family=%d/ports=%d", row.load, row.family, row.ports), func(b *testing.B) {
			b.ReportAllocs()
			w, batch := l.newWorker("udp"), newBatch(l.datagramSize(), false)
			s, at := new(socket), 0
			round := func() {
				for i := range batchLen {
					batch.headers[i].len = uint32(copy(batch.datagrams[i*batch.size:], queries[at%len(queries)]))
					batch.names[i].Family = row.family
					batch.names[i].Port = uint16(rand.IntN(row.ports))
					batch.headers[i].hdr.Namelen = unix.SizeofSockaddrInet4
					if row.family == unix.AF_INET6 {
						batch.headers[i].hdr.Namelen = unix.SizeofSockaddrInet6
					}
					at++
				}
				queued := 0
				for from := 0; from < batchLen; from += ahead {
					queued = s.replyAll(b.Context(), w, batch, from, from+ahead, queued)
				}
				batch.bundle(queued)
				w.publish()
			}
			batch.receive(-1) // which makes room for datagrams
			for range 4 * len(queries) / batchLen {
				round()
			}
			before := processorTime(b)
			for b.ResetTimer(); b.Loop(); {
				round()
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N*batchLen), "cpu-ns/query")
		})
	}
}
