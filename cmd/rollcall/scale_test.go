package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
	"github.com/rollcall-dns/rollcall/zones"
)

// The crowd that the scale is measured with: instances at addresses of their
// own, 10 a service and 100 a node, each with a tag, metadata and a heartbeat.
const (
	perService = 10
	perNode    = 100
)

// TestScale prints what an instance costs and how that grows with their number.
// It fails on nothing that is slow: the machine may be busy. Without
// ROLLCALL_LONG it only shows that it works.
func TestScale(t *testing.T) {
	sizes := []int{1_000}
	if os.Getenv("ROLLCALL_LONG") != "" {
		sizes = append(sizes, 10_000, 100_000, 1_000_000)
	}
	var table []measurements
	for _, size := range sizes {
		table = append(table, measureScale(t, size))
	}
	printScale(table)
	if path := os.Getenv("ROLLCALL_SCALE_CSV"); path != "" {
		if err := os.WriteFile(path, scaleCSV(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// measurements are what one size was measured to take.
type measurements struct {
	instances int
	figures   [len(scaleRows)]float64
}

// The figures, in the order in which they are printed.
const (
	heapBytes = iota
	rssBytes
	peakBytes
	fileBytes
	loadSeconds
	startSeconds
	updateMemory
	updateDisk
	hitSame
	hitAny
	missSame
	missAny
)

var scaleRows = [...]string{
	heapBytes:    "heap, B/instance",
	rssBytes:     "process, B/instance",
	peakBytes:    "its peak, B/instance",
	fileBytes:    "file, B/instance",
	loadSeconds:  "load, s",
	startSeconds: "process ready, s",
	updateMemory: "update in memory, us",
	updateDisk:   "update on disk, us",
	hitSame:      "hit, 100 services, ns",
	hitAny:       "hit, any service, ns",
	missSame:     "miss, 100 services, ns",
	missAny:      "miss, any service, ns",
}

// printScale prints a column for each size, and how the last differs from the first.
func printScale(table []measurements) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer w.Flush()
	fmt.Fprint(w, "instances\t")
	for _, m := range table {
		fmt.Fprintf(w, "%d\t", m.instances)
	}
	fmt.Fprintln(w, "growth\t")
	for row, name := range scaleRows {
		fmt.Fprintf(w, "%s\t", name)
		for _, m := range table {
			fmt.Fprintf(w, "%.4g\t", m.figures[row])
		}
		fmt.Fprintf(w, "%.2f\t\n", table[len(table)-1].figures[row]/table[0].figures[row])
	}
}

// scaleCSV has a row for each figure and a column for each size.
func scaleCSV(table []measurements) []byte {
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	header := []string{"figure"}
	for _, m := range table {
		header = append(header, strconv.Itoa(m.instances))
	}
	_ = w.Write(header)
	for n, name := range scaleRows {
		row := []string{name}
		for _, m := range table {
			row = append(row, fmt.Sprintf("%.4g", m.figures[n]))
		}
		_ = w.Write(row)
	}
	w.Flush()
	return text.Bytes()
}

func measureScale(t *testing.T, size int) (m measurements) {
	m.instances = size
	dir := filepath.Join(t.TempDir(), "state")
	fillCrowd(t, dir, size)
	if file, err := os.Stat(filepath.Join(dir, "registry.db")); err == nil {
		m.figures[fileBytes] = float64(file.Size()) / float64(size)
	}
	measureProcess(t, dir, &m)

	before := heap()
	start := time.Now()
	r := openCrowd(t, dir)
	m.figures[loadSeconds] = time.Since(start).Seconds()
	m.figures[heapBytes] = (heap() - before) / float64(size)
	measureAnswers(t, r.View(), size, &m)
	m.figures[updateDisk] = measureUpdates(t, r, size, 300)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	inMemory := openCrowd(t, "")
	registerCrowd(t, inMemory, size)
	m.figures[updateMemory] = measureUpdates(t, inMemory, size, 3000)
	if err := inMemory.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

func openCrowd(t testing.TB, dir string) *embedded.Registry {
	t.Helper()
	r, err := embedded.Open(context.Background(), embedded.Config{Dir: dir, Node: registry.Node{Name: "host-1", Address: "127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// one returns the registration of instance n, with a port.
func one(n, port int) registry.Registration {
	address := fmt.Sprintf("10.%d.%d.%d", n>>16&0xff, n>>8&0xff, n&0xff)
	return registry.Registration{
		Node: registry.Node{Name: fmt.Sprintf("node-%d", n/perNode), Address: fmt.Sprintf("10.128.%d.%d", n/perNode>>8, n/perNode&0xff)},
		Instance: &registry.Instance{
			Service: serviceOf(n), ID: fmt.Sprintf("%s-%d", serviceOf(n), n%perService), Address: address, Port: port,
			Tags: []string{"v1"}, Meta: map[string]string{"version": "1.2.3"},
		},
		Checks: []registry.Check{{Definition: &registry.Definition{TTL: time.Hour}, Status: registry.Passing}},
	}
}

func serviceOf(n int) string { return fmt.Sprintf("svc%d", n/perService) }

func fillCrowd(t testing.TB, dir string, size int) {
	t.Helper()
	r := openCrowd(t, dir)
	registerCrowd(t, r, size)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func registerCrowd(t testing.TB, r *embedded.Registry, size int) {
	t.Helper()
	const clients = 1024
	var group sync.WaitGroup
	for c := range clients {
		group.Go(func() {
			for n := c; n < size; n += clients {
				if err := r.Register(t.Context(), one(n, 8000)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// measureProcess starts rollcall on the directory: how long it takes to be
// ready, its memory when it has settled, and the most that it has had.
func measureProcess(t *testing.T, dir string, m *measurements) {
	t.Helper()
	start := time.Now()
	child, _, _ := startProcess(t, filepath.Dir(dir))
	m.figures[startSeconds] = time.Since(start).Seconds()
	if m.instances > 1_000 {
		time.Sleep(5 * time.Second) // another process makes a backup and tidies up
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", child.Process.Pid))
	if err != nil {
		t.Log(err)
	}
	field := func(name string) float64 {
		found := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(status)
		if found == nil {
			return 0
		}
		kilobytes, _ := strconv.ParseFloat(string(found[1]), 64)
		return kilobytes * 1024 / float64(m.instances)
	}
	// What of the registry's file is mapped is the system's cache, not ours.
	m.figures[rssBytes] = field("RssAnon")
	m.figures[peakBytes] = field("VmHWM") - field("RssFile")
	_ = child.Process.Kill()
	_ = child.Wait()
}

// measureUpdates returns the median time of a registration that changes an
// instance's port, microseconds.
func measureUpdates(t *testing.T, r *embedded.Registry, size, rounds int) float64 {
	t.Helper()
	times := make([]float64, rounds)
	for n := range times {
		change := one(rand.IntN(size), 9000+n)
		start := time.Now()
		if err := r.Register(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		times[n] = float64(time.Since(start).Nanoseconds()) / 1000
	}
	slices.Sort(times)
	return times[rounds/2]
}

// measureAnswers times answers that are packed already, as a worker finds them, and
// answers that are made anew, for 100 services, and for all that there are.
func measureAnswers(t *testing.T, v *registry.View, size int, m *measurements) {
	t.Helper()
	z, err := zones.New(zones.Config{Zones: []string{"rollcall.internal."}, Node: "host-1", TTL: 5 * time.Second, NegativeTTL: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.New(cache.Config{MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	services := size / perService
	questions := make([][]byte, services)
	for n := range questions {
		questions[n] = asking(t, fmt.Sprintf("svc%d.service.rollcall.internal.", n))
	}
	rand.Shuffle(services, func(i, j int) { questions[i], questions[j] = questions[j], questions[i] })
	reply, front := make([]byte, 0, 1232), c.NewFront()
	hit := func(message []byte) {
		key := message[12 : len(message)-2]
		p, turn := front.Get(front.Hash(key), key)
		reply, _ = p.Append(reply[:0], &cache.Query{Message: message, End: len(message), Limit: 512, Turn: turn})
	}
	pack := func(message []byte) *cache.Packed {
		key := message[12 : len(message)-2]
		p, err := c.Pack(key, z.Resolve(v, zones.Question{Name: string(key[:len(key)-2]), Type: dns.TypeA}))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	kept := questions[:0:0]
	for n, q := range questions {
		c.Put(pack(q))
		if n%1000 == 999 || n == services-1 {
			time.Sleep(5 * time.Millisecond) // the cache takes them in meanwhile
		}
	}
	for _, q := range questions { // it need not take all of them
		if c.Get(q[12:len(q)-2]) != nil {
			kept = append(kept, q)
		}
	}
	few := func(of [][]byte) [][]byte { return of[:min(len(of), 100)] }
	m.figures[hitSame], m.figures[hitAny] = each(few(kept), hit), each(kept, hit)
	miss := func(message []byte) { pack(message) }
	m.figures[missSame], m.figures[missAny] = each(few(questions), miss), each(questions, miss)
}

func asking(t *testing.T, name string) []byte {
	t.Helper()
	message, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// each returns how long f takes for a question, nanoseconds: the best of five
// runs, as what a busy machine adds is not of interest.
func each(questions [][]byte, f func([]byte)) float64 {
	best := 0.0
	for range 5 {
		start, n := time.Now(), 0
		for ; time.Since(start) < 200*time.Millisecond; n += 256 {
			for k := range 256 {
				f(questions[(n+k)%len(questions)])
			}
		}
		if took := float64(time.Since(start).Nanoseconds()) / float64(n); best == 0 || took < best {
			best = took
		}
	}
	return best
}
