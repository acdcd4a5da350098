package zones

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// Explanation tells how a question is answered, and why an instance is not in
// the answer.
type Explanation struct {
	Name       string    `json:"name"`
	Type       string    `json:"type"`
	Zone       string    `json:"zone,omitempty"`
	Rcode      string    `json:"rcode"`
	Reason     string    `json:"reason,omitempty"` // why there is no answer
	Answer     []string  `json:"answer"`           // in master-file text, as the two below
	Authority  []string  `json:"authority"`
	Additional []string  `json:"additional"`
	Note       string    `json:"note,omitempty"`    // what the answer does not show
	Service    string    `json:"service,omitempty"` // that the name is about, and
	Tag        string    `json:"tag,omitempty"`     // the tag it asks for
	Instances  int       `json:"instances"`         // of the service
	LeftOut    []LeftOut `json:"left_out"`
}

// LeftOut is an instance that is not in an answer.
type LeftOut struct {
	Node   string `json:"node"`
	ID     string `json:"id"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

// Explain answers a question as Resolve does, in words. The name is in
// master-file text.
func (z *Zones) Explain(v *registry.View, name string, qtype uint16) Explanation {
	wire, _ := pack(name)
	r := &resolution{z: z, v: v, wire: wire, qtype: qtype}
	r.about.left = make(map[*registry.Instance]string)
	a := r.resolve()
	e := Explanation{
		Name: dns.Fqdn(name), Type: dns.Type(qtype).String(), Rcode: dns.RcodeToString[a.Rcode], Reason: a.Explanation.Text,
		Answer: []string{}, Authority: texts(nil, a.Authority), Additional: texts(nil, a.Extra), LeftOut: []LeftOut{},
	}
	if a.Zone != nil {
		e.Zone = a.Zone.Name
	}
	seen := make(map[string]bool)
	for _, record := range a.Records {
		e.Answer = append(e.Answer, record.RR.String())
		if key := fmt.Sprint(texts(nil, record.Glue)); !seen[key] {
			seen[key] = true
			e.Additional = texts(e.Additional, record.Glue)
		}
	}
	if most := z.config.MaxAnswers; most > 0 && len(a.Records) > most {
		e.Note = fmt.Sprintf("of these %d records each client is given %d, by weight", len(a.Records), most)
	}
	if r.about.service != nil {
		r.explainService(&e)
	}
	return e
}

// instanceTypes are the types that instances have records of. One whose address is a
// name has an alias for every other, too.
var instanceTypes = map[uint16]bool{
	dns.TypeA: true, dns.TypeAAAA: true, dns.TypeSRV: true, dns.TypeSVCB: true, dns.TypeHTTPS: true, dns.TypeTXT: true, dns.TypeANY: true,
}

// explainService says of each instance of the service that is not in the answer
// why.
func (r *resolution) explainService(e *Explanation) {
	e.Service, e.Tag, e.Instances = r.about.service.Name, r.about.tags.String(), len(r.about.service.Instances)
	for _, i := range r.about.service.Instances {
		why := r.unfit(i)
		switch {
		case !r.about.tags.covers(i):
			why = r.about.tags.unmet(i)
		case r.about.id != "" && !same(i.ID, r.about.id):
			why = "it has another ID"
		case why == "":
			why = r.about.left[i]
			if why != "" && len(e.Answer) == 0 && !instanceTypes[r.qtype] {
				why = "it has no records of type " + e.Type
			}
		}
		if why != "" {
			e.LeftOut = append(e.LeftOut, LeftOut{i.Node, i.ID, r.v.StatusOf(i).String(), why})
		}
	}
}

// unfit says why an instance may not be used; nothing if it may.
func (r *resolution) unfit(i *registry.Instance) string {
	status := r.v.StatusOf(i)
	if status != registry.Critical && !(status == registry.Warning && r.z.config.OnlyPassing) {
		return ""
	}
	for _, c := range i.Checks {
		if strings.HasPrefix(c.ID, registry.ServiceMaintenancePrefix) {
			return strings.TrimSuffix("in maintenance: "+c.Reason(), ": ")
		}
	}
	n := r.v.Node(i.Node)
	if c := n.Maintenance(); c != nil {
		return strings.TrimSuffix("in maintenance with its node: "+c.Reason(), ": ")
	}
	for _, c := range i.Checks {
		if c.Status == status {
			return says(status, "check", c)
		}
	}
	if n != nil {
		for _, c := range n.Checks {
			if c.Status == status {
				return says(status, "its node's check", c)
			}
		}
	}
	return status.String()
}

func says(status registry.Status, whose string, c *registry.Check) string {
	text := fmt.Sprintf("%s: %s '%s'", status, whose, c.ID)
	if output := strings.TrimSpace(c.Output); output != "" {
		text += " said: " + output
	} else if waits := Awaited(c); waits != "" {
		text += ": " + waits
	}
	return text
}

// Awaited says what a check waits for that has its first status still; nothing where
// it does not wait. A status that somebody set without a word is no longer the first.
func Awaited(c *registry.Check) string {
	switch {
	case c.Output != "" || c.ModifyIndex != c.CreateIndex:
		return ""
	case c.Type == "ttl":
		return "no heartbeat has come yet"
	case c.Type != "" && c.Type != "maintenance":
		return "it has not run yet"
	}
	return ""
}

// texts appends records in master-file text.
func texts(to []string, rrs []dns.RR) []string {
	if to == nil {
		to = []string{}
	}
	for _, rr := range rrs {
		to = append(to, rr.String())
	}
	return to
}
