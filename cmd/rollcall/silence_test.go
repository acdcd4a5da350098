package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// These tests hold the program to what connections that say little may cost it.

// memoryOf returns how much memory a process has, octets.
func memoryOf(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); fields[0] == "VmRSS:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatalf("nothing says how much memory %d has", pid)
	return 0
}

// builtPlainly makes rollcall the program as make build has it: the race detector,
// which may watch the test's own, takes many times the memory.
func builtPlainly(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-o", dir, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// soa asks for the zone's SOA, and returns how long the answer took.
func soa(network, addr string) (time.Duration, error) {
	m := new(dns.Msg).SetQuestion("rollcall.internal.", dns.TypeSOA)
	reply, took, err := (&dns.Client{Net: network, Timeout: 10 * time.Second}).Exchange(m, addr)
	if err == nil && len(reply.Answer) != 1 {
		err = fmt.Errorf("the reply is %v", reply)
	}
	return took, err
}

// from connects from an address of loopback.
func from(t *testing.T, n int, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(n>>8), byte(n))}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestTenThousandConnectionsThatBeginAndStop claim a query of 65,535 octets each, and
// say no more, while others go on to ask.
func TestTenThousandConnectionsThatBeginAndStop(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("how much memory a process has is asked of Linux")
	}
	const connections, most = 10_000, 100 << 20
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < connections+500 {
		t.Skipf("this process may have %d files open, and needs %d", files.Cur, connections+500)
	}
	builtPlainly(t)
	child, _, addr := startProcess(t, t.TempDir())
	defer kill(child)
	for range 100 {
		if _, err := soa("tcp", addr); err != nil {
			t.Fatal(err)
		}
	}
	before := memoryOf(t, child.Process.Pid)
	highest, slowest := before, time.Duration(0)
	for n := range connections {
		_, _ = from(t, n/50, addr).Write([]byte{0xff, 0xff}) // the server may have closed it already
		if n%100 != 0 {
			continue
		}
		for _, network := range []string{"udp", "tcp"} {
			took, err := soa(network, addr)
			if err != nil {
				t.Fatalf("among %d connections, over %s: %v", n, network, err)
			}
			slowest = max(slowest, took)
		}
		highest = max(highest, memoryOf(t, child.Process.Pid))
	}
	t.Logf("%d connections take %d MB; the slowest of 200 answers took %v", connections, (highest-before)>>20, slowest)
	if highest-before > most {
		t.Errorf("%d connections take %d MB", connections, (highest-before)>>20)
	}
}

// TestIdleConnectionsDoNotSlowUDP compares the 99th percentile of answers over UDP
// with and without 500 idle connections. The two take turns, as machines have moods,
// and what counts is the median of each; where that fails it is tried again.
func TestIdleConnectionsDoNotSlowUDP(t *testing.T) {
	child, _, addr := startProcess(t, t.TempDir())
	defer kill(child)
	c, err := dns.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m := new(dns.Msg).SetQuestion("rollcall.internal.", dns.TypeSOA)
	p99 := func() time.Duration {
		t.Helper()
		took := make([]time.Duration, 1000)
		for i := range took {
			if _, took[i], err = new(dns.Client).ExchangeWithConn(m, c); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	_ = p99() // the first queries are slower
	var without, with []time.Duration
	median := func(of []time.Duration) time.Duration { slices.Sort(of); return of[len(of)/2] }
	for try := range 5 {
		for range 7 {
			without = append(without, p99())
			var idle []net.Conn
			for n := range 500 {
				idle = append(idle, from(t, n/50, addr))
			}
			with = append(with, p99())
			for _, conn := range idle {
				conn.Close()
			}
		}
		a, b := median(without), median(with)
		t.Logf("UDP takes %v at the 99th percentile, and with 500 idle connections %v", a, b)
		if b < 2*a {
			return
		}
		t.Logf("try %d is tried again", try+1)
	}
	t.Error("500 idle connections make UDP twice as slow, again and again")
}
