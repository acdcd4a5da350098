package health

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
)

// serveTarget is the process that is checked. It prints its address.
func serveTarget() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	_ = http.Serve(l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

// BenchmarkTenThousandChecks runs 10,000 checks at an interval of 10 s for 30 s
// and reports what they take of a core, the checked process not counted.
func BenchmarkTenThousandChecks(b *testing.B) {
	const checks, span = 10_000, 30 * time.Second
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "ROLLCALL_TEST_TARGET=1")
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	lines := bufio.NewScanner(out)
	lines.Scan()
	addr := lines.Text()
	for _, kind := range []string{"http", "tcp"} {
		b.Run(kind, func(b *testing.B) {
			reg, err := embedded.Open(context.Background(), embedded.Config{Node: registry.Node{Name: "n1"}})
			if err != nil {
				b.Fatal(err)
			}
			defer reg.Close()
			d := registry.Definition{TCP: addr, Interval: 10 * time.Second, Timeout: time.Second}
			if kind == "http" {
				d.TCP, d.HTTP = "", "http://"+addr
			}
			for n := range checks {
				err := reg.Register(context.Background(), registry.Registration{
					Instance: &registry.Instance{Service: fmt.Sprintf("svc%d", n/10), ID: fmt.Sprint(n)},
					Checks:   []registry.Check{{Status: registry.Passing, Definition: &d}},
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			var started atomic.Int64
			runner := New(Config{Registry: reg, Allow: Private(), probe: func(d registry.Definition, dialer *net.Dialer) prober {
				p := newProber(d, dialer)
				return func(ctx context.Context) result { started.Add(1); return p(ctx) }
			}})
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			before := cpuTime()
			go func() { ended <- runner.Run(ctx) }()
			peak, last := int64(0), int64(0)
			for end := time.Now().Add(span); time.Now().Before(end); {
				time.Sleep(time.Second) // a second of real work is what is measured
				now := started.Load()
				peak, last = max(peak, now-last), now
			}
			used := cpuTime() - before
			stop()
			<-ended
			b.ReportMetric(100*used.Seconds()/span.Seconds(), "%core")
			b.ReportMetric(float64(last)/span.Seconds(), "probes/s")
			b.ReportMetric(float64(peak), "peak/s")
			b.ReportMetric(0, "ns/op")
			critical := 0
			for i := range reg.View().Instances() {
				if reg.View().StatusOf(i) != registry.Passing {
					critical++
				}
			}
			if critical > 0 {
				b.Errorf("%d of %d checks failed", critical, checks)
			}
		})
	}
}

// cpuTime returns what this process has used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
