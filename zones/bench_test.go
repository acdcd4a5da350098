package zones

import (
	"fmt"
	"net/netip"
	"testing"
)

// BenchmarkResolve makes the RRsets of services of several sizes: half of the
// instances are at addresses of their own, half at their nodes'.
func BenchmarkResolve(b *testing.B) {
	z := consul(b)
	for _, size := range []int{3, 100, 1000} {
		things := make([]any, 0, 2*size)
		address := netip.MustParseAddr("10.0.0.0")
		for n := range size {
			address = address.Next()
			name := fmt.Sprintf("n%d", n)
			things = append(things, node(name, address.String()))
			i := instance("web", on(name), tags("v1", fmt.Sprint("rack-", n%8)), passing)
			if n%2 == 0 {
				i.Address = address.String()
			}
			things = append(things, i)
		}
		v := view(things...)
		for _, ask := range []string{"web.service.consul. A", "web.service.consul. SRV", "v1.web.service.consul. A"} {
			q := question(b, ask)
			b.Run(fmt.Sprintf("%s/%d", ask, size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if a := z.Resolve(v, q); len(a.Records) != size {
						b.Fatalf("%d records", len(a.Records))
					}
				}
			})
		}
		for _, ask := range []string{"wbe.service.consul. A", "nil.web.service.consul. A"} {
			q := question(b, ask)
			b.Run(fmt.Sprintf("%s/%d", ask, size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					z.Resolve(v, q)
				}
			})
		}
	}
}
