package zones

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// noName answers that there is no such name, and nothing below it. Such answers
// are made each time, so that names that nobody has registered fill no cache, and
// out of what is there already: all but the reason is the same for a whole zone.
func (r *resolution) noName(why sentence) *Answer {
	r.absence = Absence{Zone: r.zone, Why: why}
	return nil
}

// noData answers that the name is there, and has no record of the type.
func (r *resolution) noData(stamp *registry.Stamp, why string) *Answer {
	return &Answer{
		Authoritative: true, Zone: r.zone, Stamp: stamp, Cacheable: true,
		Authority: []dns.RR{r.z.SOA(r.zone, r.v)}, Explanation: EDE{Text: why},
		Proof: &Proof{owner: r.owner, types: registeredTypes},
	}
}

// nonTerminal answers for a name that is there because others end in it.
func (r *resolution) nonTerminal(stamp *registry.Stamp) *Answer {
	a := r.noData(stamp, "")
	a.Proof.types = nil
	return a
}

// noInstance says how the instances are, none of which may be used.
func (r *resolution) noInstance() string {
	var all, critical, warning, maintenance int
	for _, i := range r.about.service.Instances {
		if !r.about.covers(i) {
			continue
		}
		all++
		switch {
		case r.v.InMaintenance(i):
			maintenance++
		case r.v.StatusOf(i) == registry.Critical:
			critical++
		default:
			warning++
		}
	}
	var parts []string
	for _, part := range []struct {
		count int
		text  string
	}{{critical, "critical"}, {warning, "in warning"}, {maintenance, "in maintenance"}} {
		switch {
		case part.count == 0:
		case part.count < all:
			parts = append(parts, fmt.Sprintf("%d %s", part.count, part.text))
		case all > 1:
			parts = append(parts, "all "+part.text)
		default:
			parts = append(parts, part.text)
		}
	}
	return r.about.count(all) + ", " + strings.Join(parts, ", ")
}

// count says in words how many instances an answer is about.
func (s *subject) count(n int) string {
	text := fmt.Sprintf("%d instances of %s", n, show(strings.Split(s.service.Name, ".")...))
	if n == 1 {
		text = strings.Replace(text, "instances", "instance", 1)
	}
	if len(s.tags) > 0 {
		text += " with the tag " + s.tags.String()
	}
	if s.id != "" {
		text += " with the ID " + show(s.id)
	}
	return text
}

// covers tells whether an answer is about an instance.
func (s *subject) covers(i *registry.Instance) bool {
	return s.tags.covers(i) && (s.id == "" || same(i.ID, s.id))
}
