package zones

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-dns/rollcall/registry"
)

// resolvesAlike holds a Resolver, which has answered other questions before, to
// what Zones.Resolve answers.
func resolvesAlike(t *testing.T, s *Resolver, v *registry.View, q Question, want *Answer) {
	t.Helper()
	got, absence := s.Resolve(v, []byte(q.Name), q.Type)
	if absence != nil {
		got = &Answer{Rcode: 3, Authoritative: true, Zone: absence.Zone, Explanation: EDE{Text: string(absence.Why)}}
		got.Authority = append(got.Authority, s.r.z.SOA(absence.Zone, v))
	}
	if diff := cmp.Diff(render(want), render(got)); diff != "" || got.Zone != want.Zone || got.Cacheable != want.Cacheable || got.Stamp != want.Stamp {
		t.Errorf("a Resolver answers otherwise (-want +got):\n%s", diff)
	}
}

// absent are names that do not exist, one for each way not to.
var absent = []string{
	"wbe.service.consul. A", "v2.web.service.consul. A", "a.very.long.name.of.many.labels.that.nobody.has.registered.service.consul. A",
	`we\.b.service.consul. A`, "_wbe._tcp.consul. SRV", "_web._v2.consul. SRV", "_v2.consul. SRV", "x._web._tcp.consul. SRV",
	"foe.node.consul. A", "a.b.node.consul. A", "7f00.addr.consul. A", "zz000001.addr.consul. A", "x.query.consul. A", "web.connect.consul. A",
	"web.service.dc2.consul. A", "nil.consul. A", "web.consul. A", "x._dns-sd._udp.consul. PTR", "x.ns.consul. A",
	"9.0.0.10.in-addr.arpa. PTR", "9.0.10.in-addr.arpa. PTR", "x.10.in-addr.arpa. PTR",
	"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. PTR",
}

func TestToSayThatANameDoesNotExistAllocatesNothing(t *testing.T) {
	z := consul(t)
	v := view(foo(), node("eu.bar", "10.1.0.1"), instance("web", tags("v1")), instance("eu.web"))
	s := z.NewResolver()
	for _, ask := range absent {
		q := question(t, ask)
		name := []byte(q.Name)
		if _, absence := s.Resolve(v, name, q.Type); absence == nil {
			t.Errorf("%s exists", ask)
		}
		if n := testing.AllocsPerRun(100, func() { s.Resolve(v, name, q.Type) }); n > 0 {
			t.Errorf("%s: %v allocations", ask, n)
		}
	}
}

func BenchmarkAbsent(b *testing.B) {
	z := consul(b)
	things := []any{foo()}
	for n := range 1000 {
		things = append(things, instance(fmt.Sprint("svc", n)))
	}
	v, s := view(things...), z.NewResolver()
	for _, ask := range []string{absent[0], absent[1], absent[19]} {
		q := question(b, ask)
		name := []byte(q.Name)
		b.Run(ask, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Resolve(v, name, q.Type)
			}
		})
	}
}

func TestSpecialOctetsAreThoseOfMasterFiles(t *testing.T) {
	for c := range 256 {
		if got, want := isSpecial(byte(c)), c < ' ' || c > '~' || strings.IndexByte(`. '@;()"\`, byte(c)) >= 0; got != want {
			t.Errorf("%q: %v, want %v", rune(c), got, want)
		}
	}
}
