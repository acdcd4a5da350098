package admin

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// strangers hands over connections that come from an address each.
type strangers struct {
	net.Listener
	from []string
}

type stranger struct {
	net.Conn
	from *net.TCPAddr
}

func (s stranger) RemoteAddr() net.Addr { return s.from }

func (s *strangers) Accept() (net.Conn, error) {
	if len(s.from) == 0 {
		return nil, net.ErrClosed
	}
	near, far := net.Pipe()
	go func() {
		text, _ := io.ReadAll(near)
		if len(text) > 0 && !strings.HasPrefix(string(text), "HTTP/1.1 429 ") {
			panic(string(text))
		}
		near.Close()
	}()
	c := stranger{far, &net.TCPAddr{IP: net.ParseIP(s.from[0]), Port: 1}}
	s.from = s.from[1:]
	return c, nil
}

// accepted returns how many of the connections are let in.
func accepted(t *testing.T, most int, from ...string) int {
	l := limitListener(&strangers{from: from}, most, prometheus.NewCounter(prometheus.CounterOpts{Name: "refused"}))
	n := 0
	for {
		c, err := l.Accept()
		if err != nil {
			return n
		}
		n++
		t.Cleanup(func() {
			c.Close()
			c.Close() // which gives back one place and not two
			if l.all < 0 {
				t.Error("more places were given back than taken")
			}
		})
	}
}

func repeat(address string, n int) []string {
	return strings.Split(strings.Repeat(address+",", n-1)+address, ",")
}

func TestOneMachineHas200Connections(t *testing.T) {
	diff(t, "from one address", accepted(t, 200, repeat("192.0.2.1", 210)...), 200)
	diff(t, "from two", accepted(t, 200, append(repeat("192.0.2.1", 210), repeat("2001:db8::1", 50)...)...), 250)
	diff(t, "from here", accepted(t, 200, repeat("127.0.0.1", 300)...), 200)
}

func TestThereAre1024ConnectionsInAll(t *testing.T) {
	diff(t, "from one address", accepted(t, maxConnections, repeat("::1", 1030)...), 1024)
	t.Logf("%d in all", maxConnections)
}

func TestAClosedConnectionMakesRoom(t *testing.T) {
	l := limitListener(&strangers{from: repeat("192.0.2.1", 1000)}, 200, prometheus.NewCounter(prometheus.CounterOpts{Name: "refused"}))
	for range 900 {
		c, err := l.Accept()
		check(t, err)
		c.Close()
	}
	diff(t, "addresses remembered", len(l.from), 0)
}
