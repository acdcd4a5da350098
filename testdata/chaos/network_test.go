package chaos

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// conditions are what a network does to whatever crosses it. TCP loses nothing,
// it waits instead until what was lost is sent again.
type conditions struct {
	loss, twice   float64       // share of the packets, either way
	delay, jitter time.Duration // jitter beyond the gap between packets puts them in another order
	cutUp         bool          // nothing gets to the server
	cutDown       bool          // nothing gets back
}

const (
	datagramMost = 64 << 10
	sendAgain    = 200 * time.Millisecond // when TCP sends what was lost
)

// network stands between clients and one address of a server, UDP and TCP. It
// needs no rights, and does on every system what tc-netem does on Linux.
type network struct {
	server string
	udp    net.PacketConn
	tcp    net.Listener
	done   chan struct{}
	work   sync.WaitGroup

	mu       sync.Mutex
	now      conditions
	changed  chan struct{} // closed when now is another
	sessions map[string]net.Conn
	streams  map[net.Conn]struct{} // both ends of each
	random   *rand.Rand
}

// newNetwork starts one in front of a server's address. It ends with the test.
func newNetwork(t testing.TB, server string, seed uint64) *network {
	t.Helper()
	tcp, err := net.Listen("tcp", freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n := &network{
		server: server, udp: udp, tcp: tcp, done: make(chan struct{}), changed: make(chan struct{}),
		sessions: make(map[string]net.Conn), streams: make(map[net.Conn]struct{}), random: rand.New(rand.NewPCG(seed, 0)),
	}
	n.work.Go(n.datagrams)
	n.work.Go(n.connections)
	t.Cleanup(n.close)
	return n
}

// addr returns where clients find the server.
func (n *network) addr() string { return n.tcp.Addr().String() }

func (n *network) close() {
	close(n.done)
	_, _ = n.udp.Close(), n.tcp.Close()
	n.reset()
	n.mu.Lock()
	for _, s := range n.sessions {
		_ = s.Close()
	}
	n.mu.Unlock()
	n.work.Wait()
}

// set changes the conditions.
func (n *network) set(c conditions) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = c
	close(n.changed)
	n.changed = make(chan struct{})
}

// reset breaks all TCP connections.
func (n *network) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.streams {
		_ = c.Close()
	}
}

// fate is what happens to one packet: after how long each of its copies arrives.
func (n *network) fate(up bool) (copies []time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if up && n.now.cutUp || !up && n.now.cutDown || n.random.Float64() < n.now.loss {
		return nil
	}
	late := func() time.Duration {
		return n.now.delay + time.Duration(n.random.Float64()*float64(n.now.jitter))
	}
	copies = append(copies, late())
	if n.random.Float64() < n.now.twice {
		copies = append(copies, late())
	}
	return copies
}

func deliver(copies []time.Duration, packet []byte, send func([]byte)) {
	for _, late := range copies {
		if late == 0 {
			send(packet)
			continue
		}
		packet := append([]byte(nil), packet...)
		time.AfterFunc(late, func() { send(packet) })
	}
}

// datagrams carries those of all clients to the server, each client's from a
// socket of its own.
func (n *network) datagrams() {
	buffer := make([]byte, datagramMost)
	for {
		size, client, err := n.udp.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		session, err := n.session(client)
		if err != nil {
			continue
		}
		deliver(n.fate(true), buffer[:size], func(p []byte) { _, _ = session.Write(p) })
	}
}

func (n *network) session(client net.Addr) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s, ok := n.sessions[client.String()]; ok {
		return s, nil
	}
	s, err := net.Dial("udp", n.server)
	if err != nil {
		return nil, err
	}
	n.sessions[client.String()] = s
	n.work.Go(func() {
		buffer := make([]byte, datagramMost)
		for {
			size, err := s.Read(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil { // or it is what ICMP says of a server that is not there
				deliver(n.fate(false), buffer[:size], func(p []byte) { _, _ = n.udp.WriteTo(p, client) })
			}
		}
	})
	return s, nil
}

func (n *network) connections() {
	for {
		client, err := n.tcp.Accept()
		if err != nil {
			return
		}
		n.work.Go(func() { n.connect(client) })
	}
}

// connect carries one connection, until either side ends it.
func (n *network) connect(client net.Conn) {
	defer client.Close()
	if !n.cross(true) {
		return
	}
	server, err := net.Dial("tcp", n.server)
	if err != nil {
		return
	}
	defer server.Close()
	n.mu.Lock()
	n.streams[client], n.streams[server] = struct{}{}, struct{}{}
	n.mu.Unlock()
	var ways sync.WaitGroup
	carry := func(to, from net.Conn, up bool) {
		defer to.Close()
		defer from.Close()
		buffer := make([]byte, 32<<10)
		for {
			size, err := from.Read(buffer)
			if !n.cross(up) { // news of the end, too, does not cross what is cut
				return
			}
			if _, failed := to.Write(buffer[:size]); failed != nil || err != nil {
				return
			}
		}
	}
	ways.Go(func() { carry(server, client, true) })
	ways.Go(func() { carry(client, server, false) })
	ways.Wait()
	n.mu.Lock()
	delete(n.streams, client)
	delete(n.streams, server)
	n.mu.Unlock()
}

// cross waits for as long as TCP needs to get something across, and returns false
// when the test ends meanwhile.
func (n *network) cross(up bool) bool {
	for {
		n.mu.Lock()
		now, changed := n.now, n.changed
		lost, late := n.random.Float64() < now.loss, now.delay+time.Duration(n.random.Float64()*float64(now.jitter))
		n.mu.Unlock()
		cut := up && now.cutUp || !up && now.cutDown
		switch {
		case lost:
			late += sendAgain
		case !cut && late == 0:
			return true
		}
		var after <-chan time.Time
		if !cut {
			after = time.After(late)
		}
		select {
		case <-after:
			return true
		case <-changed: // as if it were sent again under the new conditions
		case <-n.done:
			return false
		}
	}
}

// TestNetwork holds the network itself to what it is for.
func TestNetwork(t *testing.T) {
	echo, err := net.ListenPacket("udp", freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := net.Listen("tcp", echo.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = echo.Close(), stream.Close() })
	go func() {
		buffer := make([]byte, 100)
		for size, from, err := echo.ReadFrom(buffer); err == nil; size, from, err = echo.ReadFrom(buffer) {
			_, _ = echo.WriteTo(buffer[:size], from)
		}
	}()
	go func() {
		for c, err := stream.Accept(); err == nil; c, err = stream.Accept() {
			go io.Copy(c, c)
		}
	}()
	n := newNetwork(t, echo.LocalAddr().String(), 1)
	for _, kind := range []string{"udp", "tcp"} {
		c, err := net.Dial(kind, n.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		back := func(within time.Duration) bool {
			_ = c.SetDeadline(time.Now().Add(within))
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			_, err := c.Read(make([]byte, 1))
			return err == nil
		}
		if !back(5 * time.Second) {
			t.Errorf("%s: nothing crosses", kind)
		}
		n.set(conditions{cutDown: true})
		if back(50 * time.Millisecond) {
			t.Errorf("%s: something crosses what is cut", kind)
		}
		n.set(conditions{delay: 20 * time.Millisecond})
		if began := time.Now(); !back(5*time.Second) || kind == "udp" && time.Since(began) < 40*time.Millisecond {
			t.Errorf("%s: back after %v", kind, time.Since(began))
		}
		n.set(conditions{})
	}
}
