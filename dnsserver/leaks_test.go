package dnsserver

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// TestNoNameOfOursIsAskedOfOthers asks for names in our zones, those that are there
// and those that are not, in any case and of any type, while all is well, while the
// registry has not told what there is, and while it is away for too long.
func TestNoNameOfOursIsAskedOfOthers(t *testing.T) {
	var leaked atomic.Value
	u := newUpstream(t, func(q dns.Question) []string {
		if dns.IsSubDomain("test.", dns.CanonicalName(q.Name)) {
			leaked.Store(q.Name)
		}
		return outside(q)
	})
	l := newForwarding(t, u.addr)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	var now registry.Freshness
	l.freshness = func() *registry.Freshness { return &now }
	random, asked, failed := rand.New(rand.NewPCG(1, 2)), 0, 0
	for _, row := range []struct {
		fresh    registry.Freshness
		maxStale time.Duration
		fails    bool
	}{
		{registry.Freshness{Synced: true}, 0, false}, {registry.Freshness{Synced: true, Stale: true}, 0, false},
		{registry.Freshness{Stale: true}, 0, true}, {registry.Freshness{Synced: true, Stale: true, Since: time.Now().Add(-time.Hour)}, time.Minute, true},
	} {
		now, l.maxStale = row.fresh, row.maxStale
		for range 500 {
			labels := []string{"service", "web", "_tcp", "node", "x", "tEsT", "addr", "*", "dc1", strings.Repeat("a", 63)}
			name := "test."
			for range 1 + random.IntN(3) {
				name = labels[random.IntN(len(labels))] + "." + name
			}
			if random.IntN(2) == 0 {
				name = strings.ToUpper(name)
			}
			m := question(name, uint16(1+random.IntN(260)), 1232)
			switch m.Question[0].Qtype {
			case dns.TypeAXFR, dns.TypeIXFR, dns.TypeNXNAME:
				continue
			}
			asked++
			if reply := l.resolve(t, m, friend); reply.Rcode == dns.RcodeServerFailure {
				failed++
			} else if row.fails && reply.Rcode != dns.RcodeSuccess { // what does not depend on the registry is answered
				t.Errorf("%v is answered by %v", m, reply)
			}
		}
	}
	t.Logf("%d questions for names of ours, %d of which failed: %d were asked of others", asked, failed, u.asked.Load())
	if name := leaked.Load(); name != nil || u.asked.Load() > 0 || failed == 0 {
		t.Errorf("%v was asked of others, %d of %d questions failed", name, failed, asked)
	}
}

// TestOnlyQuestionsAreAskedOfOthers tries each opcode and each class, transfers, and
// clients that want no recursion.
func TestOnlyQuestionsAreAskedOfOthers(t *testing.T) {
	u := newUpstream(t, outside)
	l := newForwarding(t, u.addr)
	w, tried := l.newWorker("udp"), 0
	try := func(query []byte) {
		t.Helper()
		tried++
		if reply := w.serve(nil, query, client); w.pending() != nil || reply == nil || reply[3]&0xf == 0 {
			t.Errorf("it is asked on: %x", query)
		}
	}
	plain := func() []byte { return asks("www.example.", dns.TypeA, withFlags(flagRD)) }
	for class := range 1 << 16 {
		if class != dns.ClassINET {
			try(withClass(uint16(class))(plain()))
		}
	}
	for opcode := 1; opcode < 16; opcode++ {
		try(withOpcode(opcode)(plain()))
	}
	try(asks("www.example.", dns.TypeA))
	try(asks("example.", dns.TypeAXFR, withFlags(flagRD)))
	try(asks("example.", dns.TypeIXFR, withFlags(flagRD)))
	t.Logf("%d queries of other classes and opcodes, for transfers, or without RD: %d were asked of others", tried, u.asked.Load())
	if u.asked.Load() > 0 {
		t.Error("an upstream was asked")
	}
}

// TestOptionsAreForOneHop sends options, flags and a cookie to rollcall, which asks
// an upstream for the answer then.
func TestOptionsAreForOneHop(t *testing.T) {
	var wrong atomic.Value
	addr := newRawUpstream(t, func(m *dns.Msg) {
		if opt := m.IsEdns0(); opt == nil || len(opt.Option) > 0 || opt.UDPSize() != 1232 || opt.Hdr.Ttl&^0x8000 != 0 || len(m.Extra) != 1 || m.AuthenticatedData {
			wrong.Store(m.String())
		}
	})
	l := newForwarding(t, addr)
	n := 0
	for who, options := range clientOptions {
		m := question(fmt.Sprintf("%d.example.", n), dns.TypeA, 4096)
		n++
		m.AuthenticatedData, m.IsEdns0().Option = true, options
		if who == "BIND, with a cookie" {
			continue // which is not ours, so that it has to ask again first
		}
		if reply := l.resolve(t, m, friend); len(reply.Answer) != 1 {
			t.Errorf("%s gets %v", who, reply)
		}
	}
	if m := wrong.Load(); m != nil {
		t.Errorf("an upstream was asked\n%v", m)
	}
	t.Logf("queries with the options of %d clients: 0 of them were sent on", n)
}

// newRawUpstream starts an upstream that shows its queries.
func newRawUpstream(t *testing.T, see func(m *dns.Msg)) (addr string) {
	t.Helper()
	started, ended := make(chan struct{}), make(chan struct{})
	s := &dns.Server{Addr: "127.0.0.1:0", Net: "udp", NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		see(m)
		r := new(dns.Msg).SetReply(m)
		rr, _ := dns.NewRR(m.Question[0].Name + " 60 IN A 203.0.113.1")
		r.Answer = append(r.Answer, rr)
		_ = w.WriteMsg(r)
	})}
	go func() { defer close(ended); _ = s.ListenAndServe() }()
	<-started
	t.Cleanup(func() { _ = s.Shutdown(); <-ended })
	return s.PacketConn.LocalAddr().String()
}
