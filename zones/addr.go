package zones

import (
	"encoding/hex"
	"net/netip"

	"github.com/miekg/dns"
)

// addr answers for HEX.addr, the address that is written in the name: eight hex
// digits, or thirty-two. The answer is true for ever.
func (r *resolution) addr(labels []string) *Answer {
	if len(labels) == 0 {
		return r.nonTerminal(nil)
	}
	var octets [16]byte
	text := labels[len(labels)-1]
	if len(labels) > 1 || len(text) != 8 && len(text) != 32 {
		return r.noName(r.because("no address is written in ").text(r.owner))
	}
	n, err := hex.Decode(octets[:], []byte(text))
	if err != nil {
		return r.noName(r.because("no address is written in ").text(r.owner))
	}
	a, _ := netip.AddrFromSlice(octets[:n])
	return r.positive(r.ofType([]dns.RR{r.z.address(r.owner, a)}), nil)
}
