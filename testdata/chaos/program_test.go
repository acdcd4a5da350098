package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// program is rollcall as a process, which is killed and started again at the same
// addresses and on the same data. It is for one goroutine, but for exits.
type program struct {
	t         testing.TB
	path      string
	args      []string
	dns, http string // its own addresses, with no network before them

	process *exec.Cmd
	output  *tail
	ended   chan struct{} // closed when the process has
	wanted  chan struct{} // closed when it is meant to end
	starts  int
}

const (
	startWithin = 20 * time.Second
	endWithin   = 15 * time.Second
	mostMemory  = 400 << 20 // octets that are resident
)

// newProgram prepares rollcall with the given flags beside its addresses.
func newProgram(t testing.TB, path string, args ...string) *program {
	p := &program{t: t, path: path, dns: freeAddress(t), http: freeAddress(t)}
	p.args = append([]string{"serve", "--dns-addr", p.dns, "--admin-addr", p.http, "--node", "host-1"}, args...)
	t.Cleanup(func() {
		if p.process != nil {
			_ = p.kill()
		}
	})
	return p
}

// start starts it and waits until it is ready.
func (p *program) start() error {
	p.output, p.ended, p.wanted = new(tail), make(chan struct{}), make(chan struct{})
	p.process = exec.Command(p.path, p.args...)
	p.process.Stdout, p.process.Stderr = p.output, p.output
	p.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.process.WaitDelay = 5 * time.Second
	if err := p.process.Start(); err != nil {
		return err
	}
	p.starts++
	go func(process *exec.Cmd, ended, wanted chan struct{}, output *tail) {
		_ = process.Wait()
		select {
		case <-wanted:
			if strings.Contains(output.String(), "DATA RACE") {
				p.t.Errorf("a data race:\n%s", output)
			}
		default:
			p.t.Errorf("rollcall ended by itself: %v\n%s", process.ProcessState, output)
		}
		close(ended)
	}(p.process, p.ended, p.wanted, p.output)
	for deadline := time.Now().Add(startWithin); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) { // another process
		if response, err := http.Get("http://" + p.http + "/readyz"); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.ended:
			return errors.New("rollcall ended while it started")
		default:
		}
	}
	return fmt.Errorf("rollcall was not ready within %v:\n%s", startWithin, p.output)
}

// kill ends it as a loss of power does.
func (p *program) kill() error { return p.end(syscall.SIGKILL) }

// terminate asks it to end, which it must with success.
func (p *program) terminate() error {
	if err := p.end(syscall.SIGTERM); err != nil {
		return err
	}
	if !p.process.ProcessState.Success() {
		return fmt.Errorf("after SIGTERM rollcall ended with %v:\n%s", p.process.ProcessState, p.output)
	}
	return nil
}

func (p *program) end(signal syscall.Signal) error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	close(p.wanted)
	_ = p.process.Process.Signal(signal)
	select {
	case <-p.ended:
		return nil
	case <-time.After(endWithin):
		_ = p.process.Process.Kill()
		<-p.ended
		return fmt.Errorf("rollcall did not end within %v of %v:\n%s", endWithin, signal, p.output)
	}
}

// pause stops it in its tracks, until resume.
func (p *program) pause() error { return p.process.Process.Signal(syscall.SIGSTOP) }

func (p *program) resume() error { return p.process.Process.Signal(syscall.SIGCONT) }

// use is what the process holds.
type use struct{ goroutines, files, memory int }

var gauges = regexp.MustCompile(`(?m)^(go_goroutines|process_open_fds|process_resident_memory_bytes) (\S+)$`)

// uses asks it over a connection that ends thereby.
func (p *program) uses() (u use, err error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + p.http + "/metrics")
	if err != nil {
		return u, err
	}
	defer response.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(response.Body); err != nil {
		return u, err
	}
	for _, line := range gauges.FindAllStringSubmatch(text.String(), -1) {
		value, err := strconv.ParseFloat(line[2], 64)
		if err != nil {
			return u, err
		}
		switch line[1] {
		case "go_goroutines":
			u.goroutines = int(value)
		case "process_open_fds":
			u.files = int(value)
		default:
			u.memory = int(value)
		}
	}
	return u, nil
}

// usesAtFirst returns the most that it holds in its first second, in which a slow
// machine is still at starting it.
func (p *program) usesAtFirst() (most use, err error) {
	for range 10 {
		u, err := p.uses()
		if err != nil {
			return most, err
		}
		most = use{goroutines: max(most.goroutines, u.goroutines), files: max(most.files, u.files), memory: max(most.memory, u.memory)}
		time.Sleep(100 * time.Millisecond)
	}
	return most, nil
}

// tail keeps the last of what a program prints.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailMost = 8 << 10

func (o *tail) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	o.text = o.text[max(0, len(o.text)-tailMost):]
	return len(p), nil
}

func (o *tail) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// build builds rollcall of this very tree, and returns the path of the program.
func build(t testing.TB) string {
	t.Helper()
	lookAtSources(t)
	path := filepath.Join(t.TempDir(), "rollcall")
	args := []string{"build", "-o", path}
	if os.Getenv("CHAOS_RACE") != "" {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "../../cmd/rollcall")...).CombinedOutput(); err != nil {
		t.Fatalf("building rollcall: %v\n%s", err, out)
	}
	return path
}

// lookAtSources has go test run this anew when any of rollcall's source has changed:
// otherwise it knows of what it was built from itself alone.
func lookAtSources(t testing.TB) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, entry os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// hosts counts the addresses of loopback that were given out.
var hosts atomic.Uint32

// freeAddress returns one that is free for TCP and UDP, and stays so while nobody
// listens on it. Only Linux has addresses enough for the second.
func freeAddress(t testing.TB) string {
	t.Helper()
	host := "127.0.0.1"
	if runtime.GOOS == "linux" {
		pid := os.Getpid()
		host = fmt.Sprintf("127.%d.%d.%d", 64+pid>>8&63, pid&255, 1+hosts.Add(1)%254)
	}
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
