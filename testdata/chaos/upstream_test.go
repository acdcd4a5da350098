package chaos

import (
	"net"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// upstream answers for all names with one address, until it is killed or hangs. It
// is for one goroutine.
type upstream struct {
	t       testing.TB
	addr    string
	hanging atomic.Bool
	servers []*dns.Server
}

func newUpstream(t testing.TB) *upstream {
	u := &upstream{t: t, addr: freeAddress(t)}
	u.start()
	t.Cleanup(u.kill)
	return u
}

func (u *upstream) start() {
	packets, err := net.ListenPacket("udp", u.addr)
	if err != nil {
		u.t.Fatal(err)
	}
	listener, err := net.Listen("tcp", u.addr)
	if err != nil {
		u.t.Fatal(err)
	}
	u.servers = []*dns.Server{{PacketConn: packets, Handler: dns.HandlerFunc(u.answer)}, {Listener: listener, Handler: dns.HandlerFunc(u.answer)}}
	for _, s := range u.servers {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
	}
}

func (u *upstream) kill() {
	for _, s := range u.servers {
		_ = s.Shutdown()
	}
	u.servers = nil
}

func (u *upstream) answer(w dns.ResponseWriter, query *dns.Msg) {
	if u.hanging.Load() {
		return
	}
	reply := new(dns.Msg).SetReply(query)
	reply.RecursionAvailable = true
	if query.IsEdns0() != nil {
		reply.SetEdns0(1232, false)
	}
	if q := query.Question[0]; q.Qtype == dns.TypeA {
		reply.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(198, 51, 100, 7),
		}}
	}
	_ = w.WriteMsg(reply)
}
