package chaos

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A machine that others use stands still now and then, for whole seconds. So as
// not to take that for rollcall's, a process that does nothing but send back what
// it gets is asked all the time, too: when it is silent, the weather is bad.

const (
	echoVariable = "CHAOS_ECHO" // the address that this program is to be that process on
	stillFor     = 500 * time.Millisecond
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(echoVariable); addr != "" {
		fmt.Fprintln(os.Stderr, echo(addr))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func echo(addr string) error {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	for buffer := make([]byte, 16); ; {
		n, from, err := c.ReadFrom(buffer)
		if err == nil {
			_, _ = c.WriteTo(buffer[:n], from)
		}
	}
}

// control asks such a process until the test ends, and tells the weathers of each
// time that it did not answer at once.
func (j *journal) control(weathers ...*weather) {
	j.t.Helper()
	addr := freeAddress(j.t)
	self, err := os.Executable()
	if err != nil {
		j.t.Fatal(err)
	}
	process := exec.Command(self)
	process.Env = append(os.Environ(), echoVariable+"="+addr)
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := process.Start(); err != nil {
		j.t.Fatal(err)
	}
	conn, err := net.Dial("udp", addr)
	if err != nil {
		j.t.Fatal(err)
	}
	done := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() { j.askControl(conn, done, weathers) })
	j.t.Cleanup(func() {
		close(done)
		work.Wait()
		closing(conn)
		_ = process.Process.Kill()
		_ = process.Wait()
	})
}

func (j *journal) askControl(conn net.Conn, done chan struct{}, weathers []*weather) {
	last, bad := time.Now(), true // until it has started
	for _, w := range weathers {
		w.worsen()
	}
	turn := func(now bool) {
		for _, w := range weathers {
			if now && !bad {
				w.worsen()
			} else if !now && bad {
				w.improve()
			}
		}
		bad = now
	}
	for ticks := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case <-done:
			return
		case <-ticks.C:
		}
		_ = conn.SetDeadline(time.Now().Add(stillFor))
		_, _ = conn.Write([]byte{1})
		_, err := conn.Read(make([]byte, 16))
		if silent := time.Since(last); silent > stillFor || err != nil {
			if !bad {
				j.note("the machine stood still for %v", silent.Round(time.Millisecond))
				j.add("times the machine stood still", 1)
			}
			turn(true)
		}
		if err == nil {
			last = time.Now()
			turn(false)
		}
	}
}
