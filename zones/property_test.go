package zones

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/rollcall-dns/rollcall/registry"
)

// The properties below are held to worlds of few names, so that these collide
// in every way: services called like nodes, aliases of aliases, tags with dots.
var (
	someNodes    = []string{"foo", "Foo.bar", "bar", "under_score", "node"}
	someServices = []string{"web", "Api", "eu.web", "bar.eu.web", "_odd", "node"}
	someTags     = []string{"v1", "V1.x", "eu", "tcp", "web"}
	someIDs      = []string{"1", "web.2", "node", "One"}
	addresses    = []string{
		"", "", "10.0.0.1", "10.0.0.2", "8.8.8.8", "fd00::1", "2001:db8::1", "::ffff:10.0.0.3", "www.example", "no/address",
		"web.service.consul", "api.service.consul.", "v1.web.service.alt.test", "foo.node.consul", "Bar.Node.dc1.consul", "web.service.dc2.consul",
		"0a000009.addr.consul", "consul", "ns.consul", "_odd.service.consul", "eu.web.service.consul", "1.0.0.10.in-addr.arpa",
	}
	someTypes = []string{"A", "AAAA", "SRV", "TXT", "ANY", "PTR", "MX", "NS", "SOA", "CNAME"}
)

// names returns every name that a world may have, and some that it has not.
func names() (names []string) {
	for _, s := range append(slices.Clone(someServices), "nil") {
		names = append(names, s+".service")
		for _, tag := range append(slices.Clone(someTags), "nil", "x") {
			names = append(names, tag+"."+s+".service", "_"+s+"._"+tag, "_"+s+"._"+tag+".service", "_"+tag)
		}
		names = append(names, "nil.not."+s+".service", "v1.not.eu."+s+".service")
		names = append(names, "_"+s+"._tcp", "_"+s+"._udp.service.dc1")
		for _, id := range someIDs {
			names = append(names, strings.ReplaceAll(id, ".", `\.`)+"._"+s+"._tcp")
		}
	}
	for _, n := range append(slices.Clone(someNodes), "nil") {
		names = append(names, n+".node", n+".node.dc1")
	}
	for _, n := range slices.Concat(names, []string{"service", "_tcp", "_services._dns-sd._udp", "dc1"}) {
		names = append(names, n+".http.port")
	}
	for i, n := range names {
		names[i] = n + ".consul."
	}
	return append(names, "_services._dns-sd._udp.consul.", "0a000001.addr.consul.", "ns.consul.", "consul.", "web.service.alt.test.", "alt.test.",
		"1.0.0.10.in-addr.arpa.", "8.8.8.8.in-addr.arpa.", "nil.consul.")
}

// change draws one change to a View.
func change(t *rapid.T, tx *registry.Txn) {
	switch rapid.SampledFrom([]string{"node", "instance", "instance", "instance", "delete node", "delete instance"}).Draw(t, "change") {
	case "node":
		n := node(rapid.SampledFrom(someNodes).Draw(t, "node"), rapid.SampledFrom(addresses).Draw(t, "node address"))
		if rapid.Bool().Draw(t, "dual") {
			n.TaggedAddresses["lan_ipv6"] = "fd00::9"
		}
		tx.PutNode(sick(n, rapid.SampledFrom([]registry.Status{registry.Passing, registry.Warning, registry.Critical}).Draw(t, "node status")))
	case "instance":
		tx.PutInstance(instance(rapid.SampledFrom(someServices).Draw(t, "service"),
			on(rapid.SampledFrom(someNodes).Draw(t, "on")),
			id(rapid.SampledFrom(someIDs).Draw(t, "id")),
			at(rapid.SampledFrom(addresses).Draw(t, "address")),
			port(rapid.IntRange(80, 81).Draw(t, "port")),
			tags(rapid.SliceOfNDistinct(rapid.SampledFrom(someTags), 0, 2, rapid.ID).Draw(t, "tags")...),
			rapid.SampledFrom([]func(*registry.Instance){
				passing, passing, warning, critical, maintained, meta("k=v"), tagged("lan_ipv4", "10.0.0.4"), webPort, webPort,
			}).Draw(t, "edit")))
	case "delete node":
		tx.DeleteNode(rapid.SampledFrom(someNodes).Draw(t, "node"))
	case "delete instance":
		tx.DeleteInstance(rapid.SampledFrom(someNodes).Draw(t, "on"), rapid.SampledFrom(someIDs).Draw(t, "id"))
	}
}

// webPort gives an instance a port with a name.
func webPort(i *registry.Instance) {
	i.Ports = []registry.Port{{Name: "http", Port: i.Port, Default: true}}
}

// world draws a View.
func world(t *rapid.T) *registry.View {
	tx := registry.NewView(rapid.SampledFrom([]string{"dc1", "dc1", "dc1", "node", "dc_1", ""}).Draw(t, "datacenter")).Txn(1)
	for range rapid.IntRange(1, 12).Draw(t, "size") {
		change(t, tx)
	}
	return tx.Commit().View
}

// One of the zones is below a name that a service may have.
func worldZones(t *testing.T) *Zones { return consul(t, "alt.test.", "deep.web.service.consul.") }

func TestEverySRVTargetResolves(t *testing.T) {
	z := worldZones(t)
	rapid.Check(t, func(rt *rapid.T) {
		v := world(rt)
		for _, name := range names() {
			q := question(t, name+" SRV")
			a := z.Resolve(v, q)
			wellFormed(rt, q, a)
			for _, record := range a.Records {
				srv, ok := record.RR.(*dns.SRV)
				if !ok {
					continue
				}
				wire, ours := z.isOurs(srv.Target)
				if !ours {
					if len(record.Glue) > 0 {
						rt.Errorf("%s has glue for somebody else's name", srv)
					}
					continue
				}
				if len(record.Glue) == 0 {
					rt.Errorf("%s has no glue", srv)
				}
				direct := make(map[string]bool)
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
					for _, r := range z.Resolve(v, Question{wire, qtype}).Records {
						direct[r.RR.String()] = true
					}
				}
				for _, rr := range record.Glue {
					if !direct[rr.String()] {
						rt.Errorf("%s: the additional %s is in no direct answer", srv, rr)
					}
				}
				if len(direct) != len(record.Glue) {
					rt.Errorf("%s: %d additional records, and direct answers have %d", srv, len(record.Glue), len(direct))
				}
			}
		}
	})
}

func TestAboveANameThatExistsAllNamesExist(t *testing.T) {
	z := worldZones(t)
	rapid.Check(t, func(rt *rapid.T) {
		v := world(rt)
		for _, name := range names() {
			if a := z.Resolve(v, question(t, name+" MX")); a.Zone == nil || a.Rcode != dns.RcodeSuccess || a.Zone.Name == "arpa." {
				continue
			}
			for above := name; ; {
				_, above, _ = strings.Cut(strings.ReplaceAll(above, `\.`, "?"), ".")
				a := z.Resolve(v, question(t, above+" MX"))
				if a.Zone == nil {
					break
				}
				if a.Rcode != dns.RcodeSuccess && len(a.Records) == 0 { // behind a CNAME it is of the last name
					rt.Errorf("%s exists, and above it %s", name, render(a))
				}
			}
		}
	})
}

func TestWhetherANameExistsDependsOnNoType(t *testing.T) {
	z := worldZones(t)
	rapid.Check(t, func(rt *rapid.T) {
		v := world(rt)
		for _, name := range names() {
			first := z.Resolve(v, question(t, name+" A"))
			for _, qtype := range someTypes[1:] {
				a := z.Resolve(v, question(t, name+" "+qtype))
				if a.Rcode != first.Rcode && len(a.Records)+len(first.Records) == 0 { // behind a CNAME it is of the last name
					rt.Errorf("%s A\n%sand %s\n%s", name, render(first), qtype, render(a))
				}
			}
		}
	})
}

func TestNoAnswerOutlivesItsStamp(t *testing.T) {
	z := worldZones(t)
	rapid.Check(t, func(rt *rapid.T) {
		feed := registry.NewFeed(world(rt))
		type kept struct {
			q    Question
			a    *Answer
			text string
		}
		var answers []kept
		for range 3 {
			v := feed.View()
			for _, name := range names() {
				q := question(t, name+" "+rapid.SampledFrom(someTypes).Draw(rt, "type"))
				if a := z.Resolve(v, q); a.Cacheable {
					answers = append(answers, kept{q, a, unserial(a)})
				}
			}
			tx := v.Txn(v.Index() + 1)
			change(rt, tx)
			feed.Publish(tx.Commit())
			answers = slices.DeleteFunc(answers, func(k kept) bool { return !k.a.Stamp.Current() })
			for _, k := range answers {
				if now := unserial(z.Resolve(feed.View(), k.q)); now != k.text {
					rt.Errorf("what was\n%sis now\n%sand its stamp is current", k.text, now)
				}
			}
		}
	})
}

// unserial renders an answer without the SOA's serial, which is written into it
// whenever it is sent.
func unserial(a *Answer) string {
	text := render(a)
	for _, rr := range a.Authority {
		if soa, ok := rr.(*dns.SOA); ok {
			text = strings.ReplaceAll(text, fmt.Sprintf(" %d 3600", soa.Serial), " N 3600")
		}
	}
	for _, record := range a.Records {
		if soa, ok := record.RR.(*dns.SOA); ok {
			text = strings.ReplaceAll(text, fmt.Sprintf(" %d 3600", soa.Serial), " N 3600")
		}
	}
	return text
}
