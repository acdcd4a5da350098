package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// What is asked for while registrations go on.
const (
	askedServices    = 1_000
	askedInstances   = 3_000
	queriesPerSecond = 2_000
	changesPerSecond = 1_000
)

// TestLatencyDuringRegistrations prints how long a query waits for its answer
// while 1,000 registrations a second change what is asked for, beside how long
// it waits on a quiet machine, and on one where as many registrations keep
// another rollcall busy: that part is the processor's and not the server's. The
// three take turns. It fails on nothing that is slow, and without ROLLCALL_LONG
// only shows that it works.
func TestLatencyDuringRegistrations(t *testing.T) {
	fmt.Printf("%-36s %8s %8s %8s %8s\n", "a query's latency, us", "p50", "p90", "p99", "p99.9")
	measureLatency(t, nil, nil)
}

// TestLatencyWithPriority prints the same where the kernel gives the processor to
// rollcall before other programs, and to who asks it, which is elsewhere most of
// the time and waits for no processor of rollcall's machine.
func TestLatencyWithPriority(t *testing.T) {
	if out, err := exec.Command("chrt", "--rr", "1", "true").CombinedOutput(); err != nil {
		t.Skipf("needs to give priority: %v %s", err, out)
	}
	own := func(policy ...string) {
		args := append([]string{"--all-tasks", "--pid"}, append(policy, fmt.Sprint(os.Getpid()))...)
		if out, err := exec.Command("chrt", args...).CombinedOutput(); err != nil {
			t.Errorf("chrt %v: %v %s", args, err, out)
		}
	}
	fmt.Printf("%-36s %8s %8s %8s %8s\n", "with priority, us", "p50", "p90", "p99", "p99.9")
	own("--rr", "1")
	defer own("--other", "0")
	measureLatency(t, []string{"chrt", "--rr", "1"}, []string{"chrt", "--other", "0"})
}

// measureLatency prints latencies of servers and beside clients that are started by
// other programs, or as they are.
func measureLatency(t *testing.T, servers, clients []string) {
	t.Helper()
	rounds, length := 1, 300*time.Millisecond
	if os.Getenv("ROLLCALL_LONG") != "" {
		rounds, length = 7, 3*time.Second
	}
	asked, api, dnsAddr := startProcessUnder(t, servers, t.TempDir())
	defer killed(asked)
	other, elsewhere, _ := startProcessUnder(t, servers, t.TempDir())
	defer killed(other)
	registerAll(t, api, askedInstances)
	registerAll(t, elsewhere, askedInstances)
	askFor(t, dnsAddr, length)
	var quiet, aside, busy []time.Duration
	for range rounds {
		quiet = append(quiet, askFor(t, dnsAddr, length)...)
		during(t, clients, elsewhere, func() { aside = append(aside, askFor(t, dnsAddr, length)...) })
		during(t, clients, api, func() { busy = append(busy, askFor(t, dnsAddr, length)...) })
	}
	for _, row := range []struct {
		name  string
		times []time.Duration
	}{{"quiet", quiet}, {"1,000 changes/s to another rollcall", aside}, {"1,000 changes/s", busy}} {
		slices.Sort(row.times)
		fmt.Printf("%-36s", row.name)
		for _, permille := range []int{500, 900, 990, 999} {
			fmt.Printf(" %8.0f", float64(row.times[len(row.times)*permille/1000].Nanoseconds())/1000)
		}
		fmt.Println()
	}
}

// during does something while a process, started by another program or as it is,
// changes instances.
func during(t *testing.T, by []string, api string, do func()) {
	t.Helper()
	path, err := exec.LookPath("register-for-ever")
	if err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(by), path, api)
	clients := exec.Command(args[0], args[1:]...)
	if err := clients.Start(); err != nil {
		t.Fatal(err)
	}
	defer killed(clients)
	time.Sleep(100 * time.Millisecond) // another process starts
	do()
}

// TestRegistrationsOverHTTP prints how many registrations a second 64 clients
// on this machine have answered over HTTP, each on disk by then, and the processor
// time of each: the clients' and the server's own. Where both have the same cores
// the rate is less than what the server alone could do; its share is its own.
func TestRegistrationsOverHTTP(t *testing.T) {
	count := 1_000
	if os.Getenv("ROLLCALL_LONG") != "" {
		count = 100_000
	}
	child, api, _ := startProcess(t, t.TempDir())
	start, before := time.Now(), processorTime(t)
	registerAll(t, api, count)
	rate, clients := float64(count)/time.Since(start).Seconds(), processorTime(t)-before
	killed(child)
	server := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(count) }
	fmt.Printf("%.0f durable registrations a second over HTTP from 64 clients, each of %.1f us of the server's processor time and %.1f us of the clients'\n",
		rate, each(server), each(clients))
}

// processorTime returns how much this process has used.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func killed(child *exec.Cmd) {
	_ = child.Process.Kill()
	_ = child.Wait()
}

// registerAll registers so many instances from 64 clients.
func registerAll(t *testing.T, api string, count int) {
	t.Helper()
	const clients = 64
	var group sync.WaitGroup
	for c := range clients {
		group.Go(func() {
			r, err := newRegistrar(api)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.conn.Close()
			for n := c; n < count; n += clients {
				if err := r.register(n, 8000); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// registrar registers instances over HTTP, by a connection of its own. It takes less
// of the processor than net/http's client, which leaves more to the server.
type registrar struct {
	conn    net.Conn
	replies *bufio.Reader
	request []byte
}

func newRegistrar(api string) (*registrar, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(api, "http://"))
	if err != nil {
		return nil, err
	}
	return &registrar{conn: conn, replies: bufio.NewReader(conn)}, nil
}

// register registers instance n.
func (r *registrar) register(n, port int) error {
	body := fmt.Sprintf(`{"Name":"svc%d","ID":"svc-%d","Address":"10.%d.%d.%d","Port":%d}`, n%askedServices, n, n>>16&255, n>>8&255, n&255, port)
	r.request = fmt.Appendf(r.request[:0], "PUT /v1/agent/service/register HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		r.conn.RemoteAddr(), len(body), body)
	if _, err := r.conn.Write(r.request); err != nil {
		return err
	}
	response, err := http.ReadResponse(r.replies, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("registering: %d %s %w", response.StatusCode, text, err)
	}
	return nil
}

// registerForEver is a process of its own, which changes the port of an instance
// 1,000 times a second until it is killed.
func registerForEver() {
	for n := range 8 {
		go func() {
			r, err := newRegistrar(os.Args[1])
			for tick := range time.Tick(time.Second / (changesPerSecond / 8)) {
				if err == nil {
					err = r.register(rand.IntN(askedInstances), 8000+tick.Nanosecond()%1000)
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
		}()
		time.Sleep(time.Second / changesPerSecond * time.Duration(n%2+1))
	}
	select {}
}

// askFor asks for one service after the other at a steady rate, and returns how
// long each answer took.
func askFor(t *testing.T, dnsAddr string, length time.Duration) []time.Duration {
	t.Helper()
	c, err := net.Dial("udp", dnsAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reply := make([]byte, 1232)
	var times []time.Duration
	for start, due := time.Now(), time.Now(); time.Since(start) < length; {
		due = due.Add(time.Second / queriesPerSecond)
		time.Sleep(time.Until(due))
		question, err := new(dns.Msg).SetQuestion(fmt.Sprintf("svc%d.service.rollcall.internal.", rand.IntN(askedServices)), dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		asked := time.Now()
		if _, err := c.Write(question); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(asked.Add(5 * time.Second))
		n, err := c.Read(reply)
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(asked))
		if n < 12 || reply[7] != askedInstances/askedServices {
			t.Fatalf("the answer has %d octets: %x", n, reply[:n])
		}
	}
	return times
}
