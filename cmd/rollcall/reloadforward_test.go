package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// upstreamOf serves an address for every name until the test ends, after so long.
func upstreamOf(t *testing.T, address string, after time.Duration) (at string) {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answers := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 3600}, A: net.ParseIP(address)}}
		}
		time.Sleep(after)
		_ = w.WriteMsg(m)
	}
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(answers)}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return packets.LocalAddr().String()
}

// TestOtherUpstreamsAreAskedFromAReloadOn goes from none to one, to another, to none
// and back, while clients ask for names of others as fast as they can: none is lost,
// nor is what a slow upstream was asked before.
func TestOtherUpstreamsAreAskedFromAReloadOn(t *testing.T) {
	first, second := upstreamOf(t, "192.0.2.1", 0), upstreamOf(t, "192.0.2.2", 0)
	slow := upstreamOf(t, "192.0.2.3", 600*time.Millisecond)
	dir := t.TempDir()
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
	conn, err := dns.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func(c *dns.Conn, name string) string {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if err := c.WriteMsg(new(dns.Msg).SetQuestion(name, dns.TypeA)); err != nil {
			return err.Error()
		}
		m, err := c.ReadMsg()
		switch {
		case err != nil:
			return err.Error()
		case len(m.Answer) == 1:
			return m.Answer[0].(*dns.A).A.String()
		}
		return dns.RcodeToString[m.Rcode]
	}
	expectAnswer := func(want string) {
		t.Helper()
		if got := ask(conn, "host.example."); got != want {
			t.Fatalf("the answer is %s, want %s", got, want)
		}
	}
	expectAnswer("REFUSED")
	reload("forward: [" + first + "]")
	expectAnswer("192.0.2.1")

	var clients sync.WaitGroup
	var asked atomic.Uint64
	done := make(chan struct{})
	for n := range 3 {
		c, err := dns.Dial("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-done:
					return
				default:
				}
				asked.Add(1)
				if got := ask(c, fmt.Sprintf("host%d-%d.example.", n, k/20)); got != "192.0.2.1" && got != "192.0.2.2" {
					t.Errorf("a client was answered %s", got)
					return
				}
			}
		})
	}
	for n := range 20 {
		now, want := first, "192.0.2.1"
		if n%2 == 0 {
			now, want = second, "192.0.2.2"
		}
		reload("forward: [" + now + "]")
		expectAnswer(want) // though the other's answer may be kept for an hour
	}
	close(done)
	clients.Wait()
	t.Logf("%d queries, none lost", asked.Load())

	reload("forward: [slow.example=" + slow + "]")
	other, err := dns.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	waiting := make(chan string, 1)
	go func() { waiting <- ask(other, "host.slow.example.") }()
	time.Sleep(200 * time.Millisecond) // until another process has passed it on
	reload("ttl: 6s")
	if got := <-waiting; got != "192.0.2.3" {
		t.Errorf("what was asked before the reload is answered %s", got)
	}
	expectAnswer("REFUSED")
	reload("forward: ["+second+"]", "forward-for: [192.0.2.0/24]")
	expectAnswer("REFUSED")
	reload("forward: [" + second + "]")
	expectAnswer("192.0.2.2")
}
