package dnsserver

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// TestEachInstanceIsFirstInTheShareOfItsWeight asks 100,000 times, through a
// worker of each transport, as clients that come in turn and as one alone.
func TestEachInstanceIsFirstInTheShareOfItsWeight(t *testing.T) {
	l := newLab(t)
	services := map[string][]int{
		"even":  {1, 1, 1},
		"two":   {1, 3},
		"steep": {1, 2, 3, 10, 84},
		"far":   {1, 65535},
		"many":  {10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120},
	}
	for service, weights := range services {
		for i, weight := range weights {
			l.register(t, registry.Instance{
				Service: service, ID: fmt.Sprint(service, i), Address: fmt.Sprintf("10.0.1.%d", i), Weights: registry.Weights{Passing: weight, Warning: 1},
			})
		}
	}
	for service, weights := range services {
		for transport, counts := range map[string][]int{"udp": {1, 7}, "tcp": {2}} {
			for _, clients := range counts {
				shares := l.shares(t, service, transport, clients, len(weights))
				total := 0
				for _, weight := range weights {
					total += weight
				}
				for i, weight := range weights {
					want := 100 * float64(weight) / float64(total)
					if shares[i] < want-2 || shares[i] > want+2 {
						t.Errorf("%s over %s, %d clients: instance %d is first in %.1f %%, and has %.1f %% of the weight", service, transport, clients, i, shares[i], want)
					}
				}
			}
		}
	}
}

// shares returns how often each instance is first, in percent, to the client that
// gets it least evenly: the first one, who asks each time that its turn comes.
func (l *lab) shares(t *testing.T, service, transport string, clients, instances int) []float64 {
	t.Helper()
	query, _ := question(service+".service.test.", dns.TypeA, 0).Pack()
	w := l.newWorker(transport)
	const asked = 100_000
	first, all := make([]float64, instances), 0
	reply := make([]byte, 0, 512)
	for n := range asked {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n % clients)}), 5353)
		reply = w.serve(reply[:0], query, from)
		if n%clients == 0 {
			first[reply[len(query)+15]]++ // the last octet of the first address
			all++
		}
	}
	for i := range first {
		first[i] *= 100 / float64(all)
	}
	return first
}
