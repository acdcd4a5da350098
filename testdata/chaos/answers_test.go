package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/miekg/dns"
)

const ownZone = "rollcall.internal."

// ask asks for services at random and judges each answer.
func (w *embeddedWorld) ask(n int, a *asker) {
	defer a.hangUp()
	random := rand.New(rand.NewPCG(w.j.seed, uint64(200+n)))
	zone := ownZone
	if a.signed != nil {
		zone = signedZone
	}
	for ; !w.over(); time.Sleep(max(a.pause, betweenAsks)) {
		service, qtype := random.IntN(services), dns.TypeSRV
		if random.IntN(4) == 0 || a.signed != nil && a.network == "udp" { // where signatures of more do not fit
			qtype = dns.TypeA
		}
		reply, sent, came := a.ask(serviceName(service)+".service."+zone, qtype)
		if reply == nil {
			continue
		}
		if a.signed != nil {
			a.signed.judge(reply, a)
		}
		shown, err := read(reply)
		if err != nil {
			w.j.wrong("wrong", "%v:\n%v", err, reply)
			continue
		}
		for _, e := range w.enrolments[service*instancesOfEach : (service+1)*instancesOfEach] {
			port, there := shown[e.address]
			delete(shown, e.address)
			text := showing(port)
			is := func(p int) bool { return p == port }
			if qtype == dns.TypeA && there {
				text, is = "shown", func(p int) bool { return p != hidden }
			}
			if err := e.history.read(sent, came, text, is); err != nil {
				w.j.wrong("wrong", "%s in the answer over %s, asked for %v ago: %v", e.id, a.network, came.Sub(sent), err)
			}
		}
		for address := range shown {
			w.j.wrong("wrong", "%s is in an answer for %s, whose it is not", address, serviceName(service))
		}
	}
}

// read returns the addresses that a reply shows, and the ports where it has them.
func read(reply *dns.Msg) (shown map[string]int, err error) {
	shown = make(map[string]int)
	addresses := make(map[string]string) // of SRV targets
	for _, rr := range reply.Extra {
		if a, ok := rr.(*dns.A); ok {
			addresses[a.Hdr.Name] = a.A.String()
		}
	}
	for _, rr := range reply.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			shown[rr.A.String()] = hidden
		case *dns.SRV:
			address, ok := addresses[rr.Target]
			if !ok {
				return nil, fmt.Errorf("no address of %s comes with the answer", rr.Target)
			}
			shown[address] = int(rr.Port)
		case *dns.RRSIG:
		default:
			return nil, fmt.Errorf("nobody asked for %v", rr)
		}
	}
	switch {
	case reply.Truncated:
		return nil, fmt.Errorf("truncated")
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError, reply.Rcode == dns.RcodeNameError && len(shown) > 0:
		return nil, fmt.Errorf("response code %s", dns.RcodeToString[reply.Rcode])
	}
	return shown, nil
}
