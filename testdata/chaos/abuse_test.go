package chaos

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// What others do to rollcall, from another address and past the networks. Clients
// must not feel any of it.

const (
	garbageBurst  = 100 // packets
	betweenBursts = 20 * time.Millisecond
	halfOpenDNS   = 60 // below what DNS over TCP allows one address
	halfOpenHTTP  = 100
	slowOnes      = 20
)

// abuser dials as somebody else, where the system has addresses for that.
func abuser(network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: time.Second}
	if runtime.GOOS == "linux" {
		if host := net.IPv4(127, 0, 0, 9); network == "tcp" {
			d.LocalAddr = &net.TCPAddr{IP: host}
		} else {
			d.LocalAddr = &net.UDPAddr{IP: host}
		}
	}
	return d.Dial(network, addr)
}

// abuse repeats something until it is ended.
func (w *embeddedWorld) abuse(what string, pause time.Duration, again func(random *rand.Rand)) (end func()) {
	w.j.note("%s", what)
	random := rand.New(rand.NewPCG(w.j.random.Uint64(), 0))
	done := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			again(random)
			select {
			case <-done:
				return
			case <-time.After(pause):
			}
		}
	})
	return func() {
		close(done)
		work.Wait()
		w.j.note("%s: no more", what)
	}
}

// garbage sends bursts of noise, and of queries with octets changed, cut off or
// added, to all ports.
func (w *embeddedWorld) garbage() func() {
	return w.abuse("bursts of garbage", betweenBursts, func(random *rand.Rand) {
		if c, err := abuser("udp", w.program.dns); err == nil {
			for range garbageBurst {
				_, _ = c.Write(noise(random))
			}
			closing(c)
		}
		for _, addr := range []string{w.program.dns, w.program.http} {
			if c, err := abuser("tcp", addr); err == nil {
				_, _ = c.Write(noise(random))
				closing(c)
			}
		}
	})
}

func noise(random *rand.Rand) []byte {
	var packet []byte
	if random.IntN(2) == 0 {
		packet = make([]byte, random.IntN(600))
		for i := range packet {
			packet[i] = byte(random.Uint32())
		}
		return packet
	}
	question := new(dns.Msg).SetQuestion(serviceName(random.IntN(services))+".service.rollcall.internal.", uint16(random.IntN(300)))
	question.SetEdns0(uint16(random.Uint32()), random.IntN(2) == 0)
	packet, err := question.Pack()
	if err != nil {
		return nil
	}
	for range random.IntN(6) {
		packet[random.IntN(len(packet))] = byte(random.Uint32())
	}
	return append(packet[:random.IntN(len(packet)+1)], make([]byte, random.IntN(3))...)
}

// halfOpen opens connections, begins to say something, and never goes on.
func (w *embeddedWorld) halfOpen() func() {
	w.j.note("%d half-open connections to DNS, %d to HTTP", halfOpenDNS, halfOpenHTTP)
	var mu sync.Mutex
	var open []net.Conn
	begin := func(addr string, n int, first []byte) {
		for range n {
			c, err := abuser("tcp", addr)
			if err != nil {
				continue
			}
			_, _ = c.Write(first)
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
		}
	}
	begin(w.program.dns, halfOpenDNS, binary.BigEndian.AppendUint16(nil, 40))
	begin(w.program.http, halfOpenHTTP, []byte("PUT /v1/agent/service/register HTTP/1.1\r\nHost: x\r\n"))
	w.abused = append(w.abused, func() {
		for _, c := range open {
			closing(c)
		}
	})
	return func() {} // they are never heard of again
}

// slowBodies sends registrations an octet at a time, and breaks them off before
// their end.
func (w *embeddedWorld) slowBodies() func() {
	body := fmt.Sprintf(`{"Name": "slow", "ID": "slow", "Port": 1, "Tags": [%q]}`, make([]byte, 100))
	var slow []net.Conn
	for range slowOnes {
		if c, err := abuser("tcp", w.program.http); err == nil {
			fmt.Fprintf(c, "PUT /v1/agent/service/register HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body))
			slow = append(slow, c)
		}
	}
	sent := 0
	end := w.abuse(fmt.Sprintf("%d slow HTTP bodies", slowOnes), 50*time.Millisecond, func(*rand.Rand) {
		if sent == len(body)-1 {
			return
		}
		for _, c := range slow {
			_, _ = c.Write([]byte(body[sent : sent+1]))
		}
		sent++
	})
	return func() {
		end()
		for _, c := range slow {
			closing(c)
		}
	}
}
