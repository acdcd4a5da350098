package cache

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
	"github.com/rollcall-dns/rollcall/zones"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newCache(t testing.TB) *Cache {
	t.Helper()
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// key returns a question's key, and the message that asks it.
func key(t testing.TB, name string, qtype uint16) (key, message []byte) {
	t.Helper()
	message, err := new(dns.Msg).SetQuestion(name, qtype).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return message[headerSize : len(message)-2], message
}

func answer(t testing.TB, stamp *registry.Stamp, records ...string) *zones.Answer {
	t.Helper()
	a := &zones.Answer{Authoritative: true, Stamp: stamp, Cacheable: true, Shuffle: true}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		a.Records = append(a.Records, zones.Record{RR: rr, Weight: 1})
	}
	return a
}

func pack(t testing.TB, c *Cache, key []byte, a *zones.Answer) *Packed {
	t.Helper()
	p, err := c.Pack(key, a)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAnswerIsFoundUntilItsStampIsSuperseded(t *testing.T) {
	c := newCache(t)
	r, err := embedded.Open(context.Background(), embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	register := func(port int) {
		t.Helper()
		if err := r.Register(t.Context(), registry.Registration{Instance: &registry.Instance{Service: "web", Port: port}}); err != nil {
			t.Fatal(err)
		}
	}
	register(80)
	k, _ := key(t, "web.test.", dns.TypeA)
	c.Put(pack(t, c, k, answer(t, r.View().Service("web").Stamp, "web.test. 5 IN A 10.0.0.1")))
	c.store.Wait()
	if c.Get(k) == nil {
		t.Fatal("the answer is not there")
	}
	register(81)
	if c.Get(k) != nil {
		t.Error("an answer outlived its truth")
	}
}

func TestHashIsNoIdentity(t *testing.T) {
	c := newCache(t)
	k, _ := key(t, "web.test.", dns.TypeA)
	p := pack(t, c, k, answer(t, nil, "web.test. 5 IN A 10.0.0.1"))
	p.key = "another question of the same hash"
	c.Put(p)
	c.store.Wait()
	if c.Get([]byte(p.key)) != p {
		t.Error("the answer is not found by its own question")
	}
	if c.Get(k) != nil {
		t.Error("the answer is found by another question")
	}
}

func TestAnswersThatMustNotBeKeptAreNot(t *testing.T) {
	c := newCache(t)
	k, _ := key(t, "nobody.test.", dns.TypeA)
	a := answer(t, nil)
	a.Cacheable = false
	c.Put(pack(t, c, k, a))
	c.store.Wait()
	if c.Get(k) != nil {
		t.Error("it was kept")
	}
}

func TestRecordThatCannotBeWrittenIsLeftOut(t *testing.T) {
	c := newCache(t)
	k, message := key(t, "web.test.", dns.TypeTXT)
	a := answer(t, nil, `web.test. 5 IN TXT "fine"`, `web.test. 5 IN TXT "too long"`)
	a.Records[1].RR.(*dns.TXT).Txt[0] = string(make([]byte, 300))
	p := pack(t, c, k, a)
	reply, truncated := p.Append(nil, &Query{Message: message, End: len(message), Limit: 512})
	got := new(dns.Msg)
	if err := got.Unpack(reply); err != nil || truncated || len(got.Answer) != 1 || p.Skipped() != 1 {
		t.Errorf("got %v, %v, %d skipped", got, err, p.Skipped())
	}
}

func TestSharedGlueIsGivenOnce(t *testing.T) {
	c := newCache(t)
	k, message := key(t, "web.test.", dns.TypeSRV)
	a := answer(t, nil, "web.test. 5 IN SRV 1 1 80 n1.test.", "web.test. 5 IN SRV 1 1 81 n1.test.")
	glue, err := dns.NewRR("n1.test. 5 IN A 10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Records {
		a.Records[i].Glue = []dns.RR{glue}
	}
	reply, _ := pack(t, c, k, a).Append(nil, &Query{Message: message, End: len(message), Limit: 512})
	got := new(dns.Msg)
	if err := got.Unpack(reply); err != nil || len(got.Answer) != 2 || len(got.Extra) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestReplyFitsAnyLimit(t *testing.T) {
	c := newCache(t)
	k, message := key(t, "web.test.", dns.TypeA)
	var records []string
	for n := range 50 {
		records = append(records, fmt.Sprintf("web.test. 5 IN A 10.0.0.%d", n))
	}
	p := pack(t, c, k, answer(t, nil, records...))
	for limit := len(message) + optSize; limit < 1000; limit++ {
		q := &Query{Message: message, End: len(message), EDNS: true, Limit: limit, Client: netip.MustParseAddr("192.0.2.1")}
		reply, truncated := p.Append(nil, q)
		got := new(dns.Msg)
		if err := got.Unpack(reply); err != nil {
			t.Fatalf("limit %d: %v", limit, err)
		}
		fit := min(50, (limit-len(message)-optSize)/16)
		if len(reply) > limit || len(got.Answer) != fit || truncated != (fit < 50) || got.Truncated != truncated || got.IsEdns0() == nil {
			t.Fatalf("limit %d: %d octets, %d records, TC %v", limit, len(reply), len(got.Answer), got.Truncated)
		}
	}
}

func BenchmarkPack(b *testing.B) {
	for _, n := range []int{3, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := newCache(b)
			k, _ := key(b, "web.test.", dns.TypeA)
			var records []string
			for i := range n {
				records = append(records, fmt.Sprintf("web.test. 5 IN A 10.0.%d.%d", i>>8, i&255))
			}
			a := answer(b, nil, records...)
			b.ReportAllocs()
			for b.Loop() {
				pack(b, c, k, a)
			}
		})
	}
}

func BenchmarkHit(b *testing.B) {
	c := newCache(b)
	k, message := key(b, "web.test.", dns.TypeA)
	c.Put(pack(b, c, k, answer(b, nil, "web.test. 5 IN A 10.0.0.1", "web.test. 5 IN A 10.0.0.2")))
	c.store.Wait()
	q := &Query{Message: message, End: len(message), Limit: 512}
	reply := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		reply, _ = c.Get(k).Append(reply[:0], q)
	}
}

func TestStaleAnswersAreNotKeptForLong(t *testing.T) {
	for _, ttl := range []uint32{0, 3, 5, 6, 86400} {
		records := appendRecord(t, nil, dns.TypeA, ttl)
		records = appendRecord(t, records, dns.TypeSRV, ttl)
		records = append(records, 0xc0, 12, 0, 1, 0, 1, byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), 0, 4, 10, 0, 0, 1)
		shortenTTLs(records, staleTTL)
		for at, n := 0, 0; at < len(records); n++ {
			var rr dns.RR
			var err error
			if records[at] == 0xc0 {
				rr, _, err = dns.UnpackRR(append([]byte{0}, records[at+2:]...), 0)
				at = len(records)
			} else {
				rr, at, err = dns.UnpackRR(records, at)
			}
			if err != nil || rr.Header().Ttl != min(ttl, 5) {
				t.Errorf("record %d with a TTL of %d s: %v, %v", n, ttl, rr, err)
			}
		}
	}
}

func appendRecord(t *testing.T, records []byte, qtype uint16, ttl uint32) []byte {
	t.Helper()
	header := dns.RR_Header{Name: "web.service.test.", Rrtype: qtype, Class: dns.ClassINET, Ttl: ttl}
	var rr dns.RR = &dns.A{Hdr: header, A: net.IPv4(10, 0, 0, 1)}
	if qtype == dns.TypeSRV {
		rr = &dns.SRV{Hdr: header, Port: 80, Target: "n1.node.test."}
	}
	scratch := make([]byte, 512)
	end, err := dns.PackRR(rr, scratch, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return append(records, scratch[:end]...)
}
