package forward

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sort"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
)

// The tests of this file put figures on how long is waited, and how much is kept.

func TestNineForgedRepliesDoNotLeadToTCP(t *testing.T) {
	s := newServer(t)
	var overTCP atomic.Bool
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
		overTCP.CompareAndSwap(false, w.RemoteAddr().Network() == "tcp")
		for range mostWrong - 1 {
			forged := reply(m, "203.0.113.66")
			forged.Id++
			_ = w.WriteMsg(forged)
		}
		_ = w.WriteMsg(reply(m, "192.0.2.1"))
	})
	m := ask(t, newAsker(t, s.addr), of("www.example.", dns.TypeA))
	t.Logf("%d forged replies lead to TCP: %v", mostWrong-1, overTCP.Load())
	if len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "192.0.2.1" || overTCP.Load() {
		t.Errorf("the answer is %v, over TCP: %v", m, overTCP.Load())
	}
}

// TestOnlyTheUpstreamIsHeard has others reply, who see the query: from another port,
// and from another address.
func TestOnlyTheUpstreamIsHeard(t *testing.T) {
	s := newServer(t)
	var datagrams atomic.Int32
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
		to := w.RemoteAddr().(*net.UDPAddr)
		for _, from := range []string{"127.0.0.1:0", "127.0.0.2:0"} {
			conn, err := net.ListenPacket("udp", from)
			if err != nil {
				continue // there is one address on loopback
			}
			packed, _ := reply(m, "203.0.113.66").Pack()
			if _, err := conn.WriteTo(packed, to); err == nil {
				datagrams.Add(1)
			}
			conn.Close()
		}
		_ = w.WriteMsg(reply(m, "192.0.2.1"))
	})
	a := newAsker(t, s.addr)
	believed := 0
	for n := range 20 {
		if m := ask(t, a, of(fmt.Sprintf("%d.example.", n), dns.TypeA)); len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "192.0.2.1" {
			believed++
			t.Errorf("the answer is %v", m)
		}
	}
	t.Logf("%d datagrams of others, %d believed", datagrams.Load(), believed)
}

// TestWhatIsBesideAnAnswerIsNotKept has an upstream say something of another name in
// each section of a reply, and asks for that name then.
func TestWhatIsBesideAnAnswerIsNotKept(t *testing.T) {
	s := newServer(t)
	beside := records(t, "bank.example. 3600 A 203.0.113.66", "example. 3600 NS bank.example.", "bank.example. 3600 A 203.0.113.66", "bank.example. 3600 A 203.0.113.66")
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
		r := reply(m, "192.0.2.1")
		if m.Question[0].Name == "www.example." {
			r.Answer, r.Ns, r.Extra = append(r.Answer, beside[0]), beside[1:3], beside[3:]
		}
		_ = w.WriteMsg(r)
	})
	a := newAsker(t, s.addr)
	m := ask(t, a, of("www.example.", dns.TypeA))
	kept := len(m.Answer) - 1 + len(m.Ns) + len(m.Extra) - 1 // an address, and OPT
	t.Logf("%d of %d records beside an answer are kept", kept, len(beside))
	if len(m.Answer) != 1 || kept > 0 {
		t.Errorf("the answer is %v", m)
	}
	a.cache.Wait()
	if m := ask(t, a, of("bank.example.", dns.TypeA)); len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "192.0.2.1" {
		t.Errorf("the answer is %v", m)
	}
}

// TestAQuestionFailsInTime asks where no upstream answers, one of them or four.
func TestAQuestionFailsInTime(t *testing.T) {
	for n := 1; n <= 4; n += 3 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			var addrs []string
			for range n {
				s := newServer(t)
				s.dead()
				addrs = append(addrs, s.addr)
			}
			start := time.Now()
			m := ask(t, newAsker(t, addrs...), of("www.example.", dns.TypeA))
			took := time.Since(start)
			t.Logf("%d upstreams that do not answer: SERVFAIL after %v", n, took.Round(100*time.Millisecond))
			ede, _ := m.IsEdns0().Option[0].(*dns.EDNS0_EDE)
			if m.Rcode != dns.RcodeServerFailure || ede == nil || ede.InfoCode != dns.ExtendedErrorCodeNoReachableAuthority {
				t.Errorf("the answer is %v", m)
			}
			if took < tryTime || took > BudgetTime+time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestSeveralNamesOfOneClientFailInTheTimeOfOne asks for one name after the other, as
// where an alias leads out of our zones more than once, in a context for all of them.
func TestSeveralNamesOfOneClientFailInTheTimeOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, "192.0.2.53")
		newRelay(t, a, silent)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), BudgetTime)
		defer cancel()
		const names = 8
		for n := range names {
			if f, _ := a.Ask(ctx, of(fmt.Sprintf("%d.example.", n), dns.TypeA)); !f.Failed() {
				t.Errorf("the answer is %v", f)
			}
		}
		t.Logf("%d names that nobody answers fail after %v together", names, time.Since(start))
		if took := time.Since(start); took != BudgetTime {
			t.Errorf("it took %v", took)
		}
	})
}

// TestHowLongAnAnswerIsKept puts the longest TTLs there are into replies.
func TestHowLongAnAnswerIsKept(t *testing.T) {
	const alias, soa = "www.example. 31536000 CNAME b.example.", "example. 86400 SOA a. b. 1 2 3 4 86400"
	for _, row := range []struct {
		name      string
		qtype     uint16
		rcode     int
		answer    []string
		authority []string
		want      time.Duration
	}{
		{"a year", dns.TypeA, 0, []string{"www.example. 31536000 A 192.0.2.1"}, nil, 24 * time.Hour},
		{"a TTL with the highest bit", dns.TypeA, 0, []string{"www.example. 4294967295 A 192.0.2.1"}, nil, 24 * time.Hour},
		{"an hour", dns.TypeA, 0, []string{"www.example. 3600 A 192.0.2.1"}, nil, time.Hour},
		{"the lesser of two", dns.TypeA, 0, []string{"www.example. 3600 A 192.0.2.1", "www.example. 60 A 192.0.2.2"}, nil, time.Minute},
		{"what an alias leads to, for a year", dns.TypeA, 0, []string{alias, "b.example. 31536000 A 192.0.2.1"}, nil, 24 * time.Hour},
		{"an alias that was asked for", dns.TypeCNAME, 0, []string{alias}, nil, 24 * time.Hour},
		{"all that there is", dns.TypeANY, 0, []string{"www.example. 31536000 MX 1 mail.example."}, nil, 24 * time.Hour},
		{"that there is nothing, for a day", dns.TypeA, 0, nil, []string{soa}, time.Hour},
		{"that there is no such name, for a day", dns.TypeA, dns.RcodeNameError, nil, []string{soa}, time.Hour},
		{"that there is nothing where an alias leads, for a day", dns.TypeA, 0, []string{alias}, []string{soa}, time.Hour},
		{"that there is no name where an alias leads, for a day", dns.TypeA, dns.RcodeNameError, []string{alias}, []string{soa}, time.Hour},
		{"the same, signed", dns.TypeA, dns.RcodeNameError, []string{alias, "www.example. 31536000 RRSIG CNAME 13 2 31536000 20300101000000 20260101000000 1 example. AAAA"}, []string{soa}, time.Hour},
		{"no longer than the alias", dns.TypeA, dns.RcodeNameError, []string{"www.example. 30 CNAME b.example."}, []string{soa}, 30 * time.Second},
		{"no longer than the zone wants", dns.TypeA, dns.RcodeNameError, []string{alias}, []string{"example. 86400 SOA a. b. 1 2 3 4 60"}, time.Minute},
		{"no longer than its SOA", dns.TypeA, dns.RcodeNameError, []string{alias}, []string{"example. 50 SOA a. b. 1 2 3 4 60"}, 50 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAsker(t, "192.0.2.53")
				c := a.cache
				q := of("www.example.", row.qtype)
				m, err := a.scrub(&dns.Msg{MsgHdr: dns.MsgHdr{Rcode: row.rcode}, Answer: records(t, row.answer...), Ns: records(t, row.authority...)}, "www.example.", row.qtype)
				if err != nil {
					t.Fatal(err)
				}
				limitDenial(m.Msg)
				f, err := cache.NewForwarded(q.key(nil), m.Msg, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				c.Put(f)
				c.Wait()
				given := sent(t, q, f, false)
				for _, rr := range append(given.Answer, given.Ns...) {
					if ttl := time.Duration(rr.Header().Ttl) * time.Second; ttl > max(row.want, time.Hour) {
						t.Errorf("a client may keep it for %v", ttl)
					}
				}
				came := time.Now()
				kept := time.Second * time.Duration(sort.Search(48*3600, func(n int) bool { return !f.Fresh(came.Add(time.Duration(n) * time.Second)) }))
				if kept != row.want {
					t.Errorf("it is fresh for %v, and not for %v", kept, row.want)
				}
				beyond := time.Second*time.Duration(sort.Search(96*3600, func(n int) bool { return c.Get(q.key(nil), came.Add(time.Duration(n)*time.Second)) == nil })) - kept
				t.Logf("it is fresh for %v, and there for %v more, to be given where nobody answers", kept, beyond)
				if beyond != 24*time.Hour {
					t.Errorf("it is there for %v more, and not for a day", beyond)
				}
			})
		})
	}
}

// TestWhatOthersAnswerTakesBoundedMemory puts far more into the cache than it may
// keep, of answers of all sizes.
func TestWhatOthersAnswerTakesBoundedMemory(t *testing.T) {
	const most, answers = 4 << 20, 50_000
	c, err := cache.NewForwardedCache(most, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range answers {
		name := fmt.Sprintf("%d.example.", n)
		m := new(dns.Msg).SetQuestion(name, dns.TypeA)
		for i := range n % 20 {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 3600}, A: net.IPv4(192, 0, 2, byte(i))})
		}
		q := of(name, dns.TypeA)
		f, err := cache.NewForwarded(q.key(nil), m, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c.Put(f)
	}
	c.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d answers, of which %d kB may be kept, take %d kB", answers, most>>10, grown>>10)
	if grown > 4*most {
		t.Errorf("%d answers take %d kB", answers, grown>>10)
	}
	runtime.KeepAlive(c)
}

// TestPrivateAddressesAreLeftOut asks an upstream as if it were on the Internet, and
// then for a name that the user lets have such addresses.
func TestPrivateAddressesAreLeftOut(t *testing.T) {
	s := newServer(t)
	addresses := []string{"10.0.0.0", "10.255.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "0.0.0.0"}
	s.answer(func(w dns.ResponseWriter, m *dns.Msg) {
		r := reply(m, "192.0.2.1")
		for _, address := range addresses {
			r.Answer = append(r.Answer, records(t, m.Question[0].Name+" 60 A "+address)...)
		}
		_ = w.WriteMsg(r)
	})
	for _, row := range []struct {
		name    string
		public  bool
		private []string
		want    int
	}{
		{"an upstream on the Internet", true, nil, 1}, {"one in a private network", false, nil, 1 + len(addresses)},
		{"a name that may have them", true, []string{"example."}, 1 + len(addresses)}, {"a name beside it", true, []string{"other."}, 1},
	} {
		a := newAsker(t, s.addr)
		(*a.routes.Load())[0].public, a.privateNames = row.public, row.private
		if f, _ := a.Ask(context.Background(), of("www.example.", dns.TypeA)); len(sent(t, of("www.example.", dns.TypeA), f, false).Answer) != row.want {
			t.Errorf("%s: the answer is %v", row.name, sent(t, of("www.example.", dns.TypeA), f, false))
		}
	}
	t.Logf("of %d private addresses none is given, but where the user wants them", len(addresses))
}
