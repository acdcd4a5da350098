package cache

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/zones"
)

// newSOA returns the SOA of a zone at serial 7.
func newSOA(t testing.TB, zone, mname string) *dns.SOA {
	t.Helper()
	rr, err := dns.NewRR(fmt.Sprintf("%s 30 IN SOA %s hostmaster.%s 7 3600 600 86400 30", zone, mname, mname[3:]))
	if err != nil {
		t.Fatal(err)
	}
	return rr.(*dns.SOA)
}

func TestADenialIsTheReplyThatPackingEachWouldMake(t *testing.T) {
	c := newCache(t)
	long := strings.Repeat("ab.", 70)
	for _, row := range []struct{ name, zone, mname, why string }{
		{"wbe.service.test.", "test.", "ns.test.", "no service wbe is registered"},
		{long + "test.", "test.", "ns.test.", strings.Repeat("no service "+long, 2)},
		{"wbe.service.eu.test.", "eu.test.", "ns.eu.test.", ""},
		{"wbe.service.test.", "test.", "ns.test.", strings.Repeat("a", 199) + "ä and more"},
		{"9.0.0.10.in-addr.arpa.", "10.in-addr.arpa.", "ns.test.", "nothing is registered at 10.0.0.9"},
		{"9.0.0.10.in-addr.arpa.", "10.in-addr.arpa.", "ns.corp.arpa.", "nothing is registered at 10.0.0.9"},
	} {
		denial, err := c.NewDenial(newSOA(t, row.zone, row.mname))
		if err != nil {
			t.Fatal(err)
		}
		k, message := key(t, row.name, dns.TypeA)
		packed := pack(t, c, k, &zones.Answer{
			Rcode: dns.RcodeNameError, Authoritative: true, Authority: []dns.RR{newSOA(t, row.zone, row.mname)}, Explanation: zones.EDE{Text: row.why},
		})
		for limit := len(message) + optSize; limit < 700; limit++ {
			for flags := range 8 {
				q := &Query{Message: message, End: len(message), Limit: limit, EDNS: flags&1 != 0, DO: flags&2 != 0, Stale: flags&4 != 0, Serial: 1 << 30}
				want, _ := packed.Append(nil, q)
				if got := denial.Append(nil, q, []byte(row.why)); !bytes.Equal(got, want) {
					t.Fatalf("%s, limit %d, flags %b: got\n%x, want\n%x", row.name, limit, flags, got, want)
				}
			}
		}
	}
}

// Where the label before the zone is that of a name in the SOA, packing would
// point to it, and the Denial spells it out.
func TestADenialBelowTheNameServerSaysTheSame(t *testing.T) {
	c := newCache(t)
	denial, err := c.NewDenial(newSOA(t, "test.", "ns.test."))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x.ns.test.", "x.hostmaster.test."} {
		_, message := key(t, name, dns.TypeA)
		got := new(dns.Msg)
		if err := got.Unpack(denial.Append(nil, &Query{Message: message, End: len(message), Limit: 512, Serial: 7}, nil)); err != nil {
			t.Fatal(err)
		}
		if len(got.Ns) != 1 || got.Ns[0].String() != newSOA(t, "test.", "ns.test.").String() || got.Question[0].Name != name {
			t.Errorf("got\n%v", got)
		}
	}
}

func BenchmarkDenial(b *testing.B) {
	c := newCache(b)
	denial, err := c.NewDenial(newSOA(b, "test.", "ns.test."))
	if err != nil {
		b.Fatal(err)
	}
	_, message := key(b, "wbe.service.test.", dns.TypeA)
	q := &Query{Message: message, End: len(message), Limit: 1232, EDNS: true}
	reply, why := make([]byte, 0, 512), []byte("no service wbe is registered")
	b.ReportAllocs()
	for b.Loop() {
		reply = denial.Append(reply[:0], q, why)
	}
}
