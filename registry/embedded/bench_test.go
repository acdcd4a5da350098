package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkRegister registers instances, 10 a service, each with a heartbeat and
// each on disk before it is answered. What the disk itself does in the same
// directory, right before, is told beside it.
func BenchmarkRegister(b *testing.B) {
	for _, clients := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			dir := b.TempDir()
			syncs := syncsPerSecond(b, dir)
			r := open(b, dir)
			var group sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for c := range clients {
				group.Go(func() {
					for n := c; n < b.N; n += clients {
						w := web(fmt.Sprintf("w%d", n))
						w.Instance.Service = fmt.Sprintf("svc%d", n/10)
						enrol(b, r, w)
					}
				})
			}
			group.Wait()
			rate := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "registrations/s")
			b.ReportMetric(syncs, "syncs/s")
			b.ReportMetric(rate/syncs, "registrations/sync")
		})
	}
}

// syncsPerSecond returns how often a second the disk under a directory syncs a
// page that was written to a file of fixed size, one after the other.
func syncsPerSecond(b *testing.B, dir string) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "syncs"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page, pages := make([]byte, os.Getpagesize()), 64
	write := func(n int) {
		if _, err := f.WriteAt(page, int64(n%pages*len(page))); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
	}
	for n := range pages { // from here on the file does not grow
		write(n)
	}
	n, start := 0, time.Now()
	for ; time.Since(start) < 200*time.Millisecond; n++ {
		write(n)
	}
	return float64(n) / time.Since(start).Seconds()
}
