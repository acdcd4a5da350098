package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// figures are what one turn was measured to be.
type figures [len(figureNames)]float64

const (
	rate = iota
	cpu
	busy
	lost
	latency
)

var figureNames = [...]string{
	rate:    "queries_per_second",
	cpu:     "cpu_us_per_query",
	busy:    "busy", // share of its processor that the server used
	lost:    "lost",
	latency: "latency_us",
}

const (
	serverCPU, clientCPU = "0", "1"
	changesPerSecond     = 500
)

// measure starts a server, fills it, and measures it once.
func measure(work string, s *server, load string, length time.Duration) (f figures, err error) {
	if err := os.RemoveAll(filepath.Join(work, "rollcall")); err != nil {
		return f, err
	}
	log, err := os.Create(filepath.Join(work, s.name+".log"))
	if err != nil {
		return f, err
	}
	defer log.Close()
	cmd := exec.Command("taskset", append([]string{"-c", serverCPU}, s.command...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return f, err
	}
	defer end(cmd)
	if err := fill(s); err != nil {
		return f, fmt.Errorf("%w\n%s", err, tail(log.Name()))
	}
	questions := load
	if load == "changes" {
		questions = "existing"
	}
	file := filepath.Join(work, questions+"."+s.zone)
	if _, err := ask(s, file, "NOERROR", "NXDOMAIN", 500*time.Millisecond); err != nil { // it warms up
		return f, fmt.Errorf("%w\n%s", err, tail(log.Name()))
	}
	share := 0.0 // of its processor, that changes alone take
	if load == "changes" {
		stop := changes(s)
		defer stop()
		start, before := time.Now(), cpuOf(cmd.Process.Pid)
		time.Sleep(length)
		share = (cpuOf(cmd.Process.Pid) - before).Seconds() / time.Since(start).Seconds()
	}
	code := "NOERROR"
	if load == "absent" {
		code = "NXDOMAIN"
	}
	before := cpuOf(cmd.Process.Pid)
	r, err := ask(s, file, code, "", length)
	if err != nil {
		return f, err
	}
	used, took := (cpuOf(cmd.Process.Pid) - before).Seconds(), r.completed/r.rate
	f[rate], f[lost], f[latency] = r.rate, r.lost, 1e6*r.latency
	f[busy] = used / took
	f[cpu] = 1e6 * (used - share*took) / r.completed
	return f, nil
}

// end ends a server with all its processes.
func end(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-gone
	}
}

func tail(path string) string {
	text, _ := os.ReadFile(path)
	return string(text[max(0, len(text)-2000):])
}

// fill waits for a server, and registers what it is to be asked for.
func fill(s *server) error {
	if s.register == nil {
		time.Sleep(1500 * time.Millisecond) // it reads its file
		return nil
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		response, err := http.Get(s.api + "/v1/status/leader")
		if err == nil {
			text, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if response.StatusCode == http.StatusOK && len(text) > 4 {
				break
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s did not come up at %s", s.name, s.api)
		}
	}
	for n := range services {
		for i := range instances {
			if err := register(s, n, i, 8000+i); err != nil {
				return err
			}
		}
	}
	return nil
}

func register(s *server, service, instance, port int) error {
	path, body := s.register(service, instance, port)
	request, err := http.NewRequest(http.MethodPut, s.api+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("PUT %s: %s: %s", path, response.Status, text)
	}
	return err
}

// changes makes changes at a steady rate until stop is called.
func changes(s *server) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(time.Second / changesPerSecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := register(s, rand.IntN(services), rand.IntN(instances), 8000+rand.IntN(1000)); err != nil {
					fmt.Fprintln(os.Stderr, "peers:", err)
					return
				}
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// result is what dnsperf reports.
type result struct{ completed, lost, rate, latency float64 }

// ask asks a server the questions in a file, over and over. A response code that
// is neither of two is an error.
func ask(s *server, file, code, orCode string, length time.Duration) (r result, err error) {
	out, err := exec.Command("taskset", "-c", clientCPU, "dnsperf", "-s", "127.0.0.1", "-p", fmt.Sprint(s.port), "-d", file,
		"-l", fmt.Sprint(length.Seconds()), "-c", "16", "-T", "1", "-q", "128", "-t", "1", "-e").CombinedOutput()
	if err != nil {
		return r, fmt.Errorf("dnsperf: %w: %s", err, out)
	}
	for name, into := range map[string]*float64{
		"Queries completed": &r.completed, "Queries lost": &r.lost, "Queries per second": &r.rate, `Average Latency \(s\)`: &r.latency,
	} {
		found := regexp.MustCompile(name + `:\s+([0-9.]+)`).FindSubmatch(out)
		if found == nil {
			return r, fmt.Errorf("dnsperf does not say %q: %s", name, out)
		}
		*into, _ = strconv.ParseFloat(string(found[1]), 64)
	}
	codes := regexp.MustCompile(`Response codes:\s+(.*)`).FindSubmatch(out)
	if r.completed == 0 || codes == nil {
		return r, fmt.Errorf("no answer came: %s", out)
	}
	for _, part := range strings.Split(string(codes[1]), ", ") {
		if name, _, _ := strings.Cut(part, " "); name != code && name != orCode {
			return r, fmt.Errorf("the response codes are %s", codes[1])
		}
	}
	return r, nil
}

// cpuOf returns the processor time that a group of processes has used.
func cpuOf(group int) (total time.Duration) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 everywhere
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if fields[2] != strconv.Itoa(group) {
			continue
		}
		for _, field := range fields[11:13] {
			n, _ := strconv.Atoi(field)
			total += time.Duration(n) * tick
		}
	}
	return total
}
