package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	reference "github.com/dnstap/golang-dnstap"
	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"
)

// tapped is a collector of dnstap's own library.
type tapped struct {
	path        string
	connections atomic.Int32
	names       chan string // that were asked for, of each query
}

func newTapped(t *testing.T, path string) *tapped {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c := &tapped{path: path, names: make(chan string, 100)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.connections.Add(1)
			go c.read(conn)
		}
	}()
	return c
}

func (c *tapped) read(conn net.Conn) {
	defer conn.Close()
	reader, err := reference.NewReader(conn, &reference.ReaderOptions{Bidirectional: true})
	for frame := make([]byte, 1<<16); err == nil; {
		n := 0
		if n, err = reader.ReadFrame(frame); err != nil {
			return
		}
		var d reference.Dnstap
		m := new(dns.Msg)
		if proto.Unmarshal(frame[:n], &d) == nil && m.Unpack(d.Message.QueryMessage) == nil {
			c.names <- m.Question[0].Name
		}
	}
}

// sees waits until the collector is shown a query, and returns for what.
func (c *tapped) sees(t *testing.T) string {
	t.Helper()
	select {
	case name := <-c.names:
		return name
	case <-time.After(15 * time.Second):
		t.Fatal("the collector saw nothing")
		return ""
	}
}

// TestOtherCollectorsAreShownQueriesFromAReloadOn goes from none to one, to another,
// to none and back.
func TestOtherCollectorsAreShownQueriesFromAReloadOn(t *testing.T) {
	dir := t.TempDir()
	first, second := newTapped(t, filepath.Join(dir, "first")), newTapped(t, filepath.Join(dir, "second"))
	config := filepath.Join(dir, "rollcall.yaml")
	write := func(lines ...string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ttl: 5s")
	child, api, addr := startProcess(t, dir, "--config", config)
	defer kill(child)
	reload := func(lines ...string) {
		t.Helper()
		write(lines...)
		put(t, api+"/v1/agent/reload", nil)
	}
	conn, err := dns.Dial("tcp", addr) // which stays, and so does its worker
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func(name string) {
		t.Helper()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, _, err := new(dns.Client).ExchangeWithConn(new(dns.Msg).SetQuestion(name, dns.TypeA), conn); err != nil {
			t.Fatal(err)
		}
	}
	shows := func(c *tapped, name string) {
		t.Helper()
		ask(name)
		if got := c.sees(t); got != name {
			t.Errorf("%s is shown, want %s", got, name)
		}
	}
	ask("nobody.rollcall.internal.")
	reload("dnstap: unix:" + first.path)
	shows(first, "one.rollcall.internal.")
	reload("dnstap: unix:"+first.path, "ttl: 6s")
	shows(first, "one-more.rollcall.internal.")
	if n := first.connections.Load(); n != 1 {
		t.Errorf("a reload that names the same collector had %d connections made", n)
	}
	reload("dnstap: unix:" + second.path)
	shows(second, "two.rollcall.internal.")
	reload("ttl: 5s")
	ask("nobody.rollcall.internal.")
	reload("dnstap: unix:"+first.path, "dnstap-every: 1")
	shows(first, "three.rollcall.internal.")
	if len(first.names)+len(second.names) > 0 {
		t.Error("a collector was shown what it was not to see")
	}
}
