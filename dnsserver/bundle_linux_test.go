package dnsserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// TestRepliesInBundlesArriveAsThoseSentAlone asks from a few ports, by all families
// and by addresses that the socket only has as it has all.
func TestRepliesInBundlesArriveAsThoseSentAlone(t *testing.T) {
	for _, way := range []struct {
		listen string
		to     []string
	}{
		{"127.0.0.1", []string{"127.0.0.1"}},
		{"0.0.0.0", []string{"127.0.0.1", "127.0.0.2"}},
		{"::1", []string{"::1"}},
		{"::", []string{"127.0.0.1", "127.0.0.2"}},
		{"::", []string{"::1"}},
	} {
		for _, kernel := range []string{"makes them", "refuses them", "is not asked to"} {
			t.Run(fmt.Sprintf("%s to %v, the kernel %s", way.listen, way.to, kernel), func(t *testing.T) {
				l := newLab(t)
				l.registerMany(t, "web", 3)
				s, at := l.open(t, way.listen)
				if !s.bundles {
					t.Skip("this kernel has no UDP_SEGMENT")
				}
				switch kernel {
				case "refuses them": // without checksums, which are made where a bundle is cut
					if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
						t.Fatal(err)
					}
				case "is not asked to":
					l.pipeline.unbundled = true
				}
				var clients []*net.UDPConn
				asked := 0
				for range 3 {
					c, err := net.ListenUDP("udp", nil)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { c.Close() })
					clients = append(clients, c)
					for id := range 20 {
						pose(t, c, netip.AddrPortFrom(netip.MustParseAddr(way.to[id%len(way.to)]), at), id)
						asked++
					}
				}
				w, b := l.newWorker("udp"), newBatch(l.datagramSize(), s.wildcard)
				received, errno := b.receive(s.fd)
				if received != asked {
					t.Fatalf("received %d of %d: %v", received, asked, errno)
				}
				queued := 0
				for from := 0; from < received; from += ahead {
					queued = s.replyAll(t.Context(), w, b, from, min(from+ahead, received), queued)
				}
				if count := b.bundle(queued); count != 3*2 {
					t.Errorf("%d bundles for three ports and two lengths", count)
				}
				if err := s.send(w, b, queued); err != nil {
					t.Fatal(err)
				}
				for _, c := range clients {
					expect(t, c, way.to, 20)
				}
			})
		}
	}
}

// open returns a socket of the lab's own and its port.
func (l *lab) open(t *testing.T, ip string) (*socket, uint16) {
	t.Helper()
	sockets, err := listenUDP(net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range sockets[1:] {
		other.close() // one port, and one socket that gets all that comes to it
	}
	t.Cleanup(sockets[0].close)
	name, err := unix.Getsockname(sockets[0].fd)
	if err != nil {
		t.Fatal(err)
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return sockets[0], uint16(name.Port)
	case *unix.SockaddrInet6:
		return sockets[0], uint16(name.Port)
	}
	t.Fatalf("the socket's address is %v", name)
	return nil, 0
}

// pose asks question id: odd ones for addresses, and others for places.
func pose(t *testing.T, c *net.UDPConn, to netip.AddrPort, id int) {
	t.Helper()
	m := question("web.service.test.", []uint16{dns.TypeSRV, dns.TypeA}[id%2], 1232)
	m.Id = uint16(id)
	query, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteToUDPAddrPort(query, to); err != nil {
		t.Fatal(err)
	}
}

// expect reads the replies to so many questions, each of which is to come once,
// whole, and from where the question went.
func expect(t *testing.T, c *net.UDPConn, from []string, questions int) {
	t.Helper()
	replies := make([]int, questions)
	for range questions {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		space := make([]byte, 4096)
		n, source, err := c.ReadFromUDPAddrPort(space)
		if err != nil {
			t.Fatal(err)
		}
		reply := new(dns.Msg)
		if err := reply.Unpack(space[:n]); err != nil {
			t.Fatalf("%x: %v", space[:n], err)
		}
		id := int(reply.Id)
		replies[id]++
		qtype := []uint16{dns.TypeSRV, dns.TypeA}[id%2]
		if reply.Question[0].Qtype != qtype || len(reply.Answer) != 3 || reply.Answer[0].Header().Rrtype != qtype || reply.IsEdns0() == nil {
			t.Errorf("the reply to question %d is\n%v", id, reply)
		}
		if got := source.Addr().Unmap().String(); got != from[id%len(from)] {
			t.Errorf("the reply to question %d comes from %s", id, got)
		}
	}
	for id, n := range replies {
		if n != 1 {
			t.Errorf("%d replies to question %d", n, id)
		}
	}
}

// TestABundleIsForOnePortAndOfOneLength makes bundles of replies of random lengths
// to random ports, of addresses that are alike in their first octets.
func TestABundleIsForOnePortAndOfOneLength(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		b := newBatch(4096, false)
		b.receive(-1) // which makes room for datagrams
		n, ports, lengths, addrs := 1+rng.IntN(batchLen), 1+rng.IntN(batchLen), 1+rng.IntN(4), 1+rng.IntN(3)
		longest := []int{4, 1232, 4000}[rng.IntN(3)]
		for k := range n {
			b.names[k] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: uint16(rng.IntN(ports)), Addr: [16]byte{15: byte(rng.IntN(addrs))}}
			b.reply(k, k, make([]byte, longest-rng.IntN(lengths)))
		}
		count := b.bundle(n)
		bundled := 0
		for i := range count {
			octets, segments := 0, int(b.bundles.segments[i])
			for k := range n {
				if int(b.bundles.of[k]) != i {
					continue
				}
				first := int(b.bundles.first[i])
				if b.names[k] != b.names[first] || b.vectors[k].Len != b.vectors[first].Len {
					t.Fatalf("reply %d is in a bundle with %d", k, first)
				}
				octets += int(b.vectors[k].Len)
				bundled++
				segments--
			}
			if segments != 0 || octets > 65507 {
				t.Fatalf("a bundle of %d octets has %d segments too many", octets, segments)
			}
		}
		if bundled != n {
			t.Fatalf("%d of %d replies are in bundles", bundled, n)
		}
	}
}
