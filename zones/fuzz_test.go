package zones

import (
	"testing"

	"github.com/miekg/dns"
)

func FuzzResolve(f *testing.F) {
	z := consul(f, "alt.test.")
	v := view(node("foo", "127.0.0.1", "k=v"), node("a.b", "fd00::1"), instance("web", tags("v1", "x.y")), instance("eu.web", at("10.0.0.1")),
		instance("alias", at("web.service.consul")), instance("down", critical))
	for _, name := range names() {
		wire, _ := pack(name)
		f.Add([]byte(wire), uint16(dns.TypeSRV))
	}
	for _, wire := range []string{"", "\x00", "\xc0\x00", "\x01_\x06consul\x00", "\x01.\x07service\x06consul\x00", "\x40a", "\x01:\x03ip6\x04arpa\x00"} {
		f.Add([]byte(wire), uint16(dns.TypeANY))
	}
	f.Fuzz(func(t *testing.T, wire []byte, qtype uint16) {
		q := Question{lower(string(wire)), qtype}
		a := z.Resolve(v, q)
		wellFormed(t, q, a)
		labels, ok := parse(nil, q.Name)
		if want, end, err := dns.UnpackDomainName([]byte(q.Name), 0); ok && (err != nil || end != len(q.Name) || present(labels) != want) {
			t.Errorf("%q is %s and not %s", q.Name, want, present(labels))
		}
		if dns.RcodeToString[a.Rcode] == "" {
			t.Errorf("the answer's code is %d", a.Rcode)
		}
	})
}
