package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// socketKeeper has sockets open and starts rollcall with them, as systemd does.
type socketKeeper struct {
	files   []*os.File
	names   string
	dns     string
	api     string
	dir     string
	program string
}

func newSocketKeeper(t *testing.T) *socketKeeper {
	t.Helper()
	path, err := exec.LookPath("rollcall")
	if err != nil {
		t.Fatal(err)
	}
	k := &socketKeeper{program: path, dir: t.TempDir(), names: "dns:dns:http"}
	keep := func(file *os.File, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		k.files = append(k.files, file)
	}
	tcp, err := net.Listen("tcp", freePort())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	k.dns, k.api = tcp.Addr().String(), "http://"+web.Addr().String()
	keep(udp.(*net.UDPConn).File())
	keep(tcp.(*net.TCPListener).File())
	keep(web.(*net.TCPListener).File())
	return k
}

// start starts rollcall; $$ is the number of the process that it will be.
func (k *socketKeeper) start(t *testing.T, flags ...string) (*exec.Cmd, *diary) {
	t.Helper()
	args := append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh", k.program, "serve", "--data-dir", filepath.Join(k.dir, "state"), "--node", "host-1"}, flags...)
	child, out := exec.Command("sh", args...), new(diary)
	child.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(k.files)), "LISTEN_FDNAMES="+k.names)
	child.ExtraFiles, child.Stdout, child.Stderr = k.files, out, out
	child.SysProcAttr, child.WaitDelay = &syscall.SysProcAttr{Setpgid: true}, time.Second
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-child.Process.Pid, syscall.SIGKILL) })
	return child, out
}

// TestSocketsOutliveTheProgram restarts rollcall time and again under questions, on
// sockets that are kept open: they wait, and none is refused or lost.
func TestSocketsOutliveTheProgram(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh")
	}
	k := newSocketKeeper(t)
	child, out := k.start(t)
	put(t, k.api+"/v1/agent/service/register", object{"Name": "web", "Port": 80})

	var asked, again atomic.Uint64
	var clients sync.WaitGroup
	done := make(chan struct{})
	question := func() *dns.Msg { return new(dns.Msg).SetQuestion("web.service.rollcall.internal.", dns.TypeSRV) }
	ask := func(what string, exchange func() error) {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := exchange(); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	good := func(answer *dns.Msg, err error) error {
		if err == nil && len(answer.Answer) != 1 {
			err = fmt.Errorf("got %v", answer)
		}
		return err
	}
	for range 2 {
		c, err := dns.Dial("udp", k.dns)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ask("UDP", func() error {
			_ = c.SetDeadline(time.Now().Add(30 * time.Second))
			if err := c.WriteMsg(question()); err != nil {
				return err
			}
			return good(c.ReadMsg())
		})
	}
	tcp := &dns.Client{Net: "tcp", Timeout: 30 * time.Second}
	ask("TCP", func() error {
		answer, _, err := tcp.Exchange(question(), k.dns)
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) { // the question came after the end: RFC 7766, section 6.2.4
			again.Add(1)
			answer, _, err = tcp.Exchange(question(), k.dns)
		}
		return good(answer, err)
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	ask("HTTP", func() error {
		response, err := client.Get(k.api + "/healthz")
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
	for range 5 {
		for goal := asked.Load() + 200; asked.Load() < goal && !t.Failed(); {
			time.Sleep(time.Millisecond) // waits for another process
		}
		if err := child.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err != nil {
			t.Fatalf("rollcall ended with %v:\n%s", err, out)
		}
		child, out = k.start(t)
	}
	for goal := asked.Load() + 200; asked.Load() < goal && !t.Failed(); {
		time.Sleep(time.Millisecond) // waits for another process
	}
	close(done)
	clients.Wait()
	_ = child.Process.Signal(syscall.SIGTERM)
	_ = child.Wait()
	t.Logf("5 restarts, %d questions, %d of them again over TCP", asked.Load(), again.Load())
}

// TestPassedSocketsAreExposedAsOthers passes a socket for HTTP that is not on
// loopback, for which there must be a token.
func TestPassedSocketsAreExposedAsOthers(t *testing.T) {
	web, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	k := newSocketKeeper(t)
	file, err := web.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	k.files[2] = file
	child, out := k.start(t)
	if err := child.Wait(); err == nil || !strings.Contains(out.String(), "the socket that the service manager passes: HTTP at") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSocketsOfOneKindAreRefused(t *testing.T) {
	k := newSocketKeeper(t)
	k.files, k.names = k.files[:1], "dns"
	child, out := k.start(t)
	if err := child.Wait(); err == nil || !strings.Contains(out.String(), "ListenStream=") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestTheEndLosesNothingThatCame sends a burst of questions and the signal that ends
// the program at once after it.
func TestTheEndLosesNothingThatCame(t *testing.T) {
	child, _, addr := startProcess(t, t.TempDir())
	c, err := dns.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stream, err := dns.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	const burst = 100
	question := new(dns.Msg).SetQuestion("rollcall.service.rollcall.internal.", dns.TypeSRV)
	for n := range burst {
		if err := c.WriteMsg(question); err != nil {
			t.Fatal(err)
		}
		if n < 10 {
			if err := stream.WriteMsg(question); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, of := range []struct {
		conn *dns.Conn
		n    int
	}{{c, burst}, {stream, 10}} {
		_ = of.conn.SetDeadline(time.Now().Add(10 * time.Second))
		for n := range of.n {
			if _, err := of.conn.ReadMsg(); err != nil {
				t.Fatalf("after %d of %d replies: %v", n, of.n, err)
			}
		}
	}
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d queries over UDP and 10 over TCP: all answered", burst)
}
