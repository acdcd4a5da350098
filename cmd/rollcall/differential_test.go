package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// TestAnswersAreConsuls puts the same questions to Consul's DNS and to rollcall
// in front of it, and holds the answers against each other: response codes,
// answer records with their TTLs, and additional ones, each as a set.
func TestAnswersAreConsuls(t *testing.T) {
	const services, questions = 320, 10_000
	agent := consultest.Start(t, `dns_config {
		node_ttl = "5s"  service_ttl { "*" = "5s" }  soa { min_ttl = 5 }  enable_additional_node_meta_txt = false }`)
	f := newFleet(t, agent, rand.New(rand.NewPCG(2026, 11)), services)
	s := runningInFront(t, agent, nil)
	consuls, ours := dialDNS(t, agent.DNSAddress()), dialDNS(t, s.dns.Addrs()[0].String())

	allowed := make(map[string]int)
	different := 0
	for range questions {
		q := f.question()
		theirs, mine := consuls.ask(t, q), ours.ask(t, q)
		if compare(theirs, mine) == "" {
			continue
		}
		if why := permitted(q, theirs, mine); why != "" {
			allowed[why]++
			continue
		}
		if different++; different <= 10 {
			t.Errorf("%s %s: %s\nConsul:\n%v\nrollcall:\n%v", q.Name, dns.Type(q.Qtype), compare(theirs, mine), theirs, mine)
		}
	}
	if different > 10 {
		t.Errorf("and %d more", different-10)
	}
	t.Logf("%d services, %d instances, %d questions, %d answered otherwise without a reason", services, f.instances, questions, different)
	for why, n := range allowed {
		t.Logf("%5d times: %s", n, why)
	}
	for _, d := range differences {
		if allowed[d.why] == 0 {
			t.Errorf("never seen, and so not known to be true: %s", d.why)
		}
	}
}

// difference is a way in which rollcall answers otherwise than Consul on purpose.
type difference struct {
	why  string
	here func(*asked) bool
}

// differences is the whole list of them.
var differences = []difference{
	{"a name that others end in is there, so that no resolver denies those (RFC 8020)", func(a *asked) bool {
		return a.codes(dns.RcodeNameError, dns.RcodeSuccess) && a.before == ""
	}},
	{"a service none of whose instances may be used is there (RFC 2308), and so is one with no record of the type", func(a *asked) bool {
		return a.codes(dns.RcodeNameError, dns.RcodeSuccess) && len(a.ours.Answer) == 0 && a.before != "" && !strings.Contains(a.name, "absent")
	}},
	{"there is nothing in a datacenter that is not there", func(a *asked) bool {
		return strings.HasSuffix(a.name, ".dc7.consul.") && a.codes(dns.RcodeSuccess, dns.RcodeNameError)
	}},
	{"the answer without a record has a SOA (RFC 2308)", func(a *asked) bool {
		return a.different == "the presence of a SOA" && soaOf(a.ours) != nil
	}},
	{"_udp means any tag, as _tcp does (RFC 2782)", func(a *asked) bool {
		return strings.Contains(a.name, "._udp.") && a.codes(dns.RcodeNameError, dns.RcodeSuccess)
	}},
	{"a name of RFC 2782 has more records than SRV", func(a *asked) bool {
		return a.name[0] == '_' && a.qtype != dns.TypeSRV && a.codes(dns.RcodeNameError, dns.RcodeSuccess)
	}},
	{"a question for TXT is not answered with addresses", func(a *asked) bool {
		return a.qtype == dns.TypeTXT && a.different == "the answers" && hasType(a.consul.Answer, dns.TypeA, dns.TypeAAAA, dns.TypeCNAME)
	}},
	{"a name that has addresses is no alias for another type (RFC 1034)", func(a *asked) bool {
		return a.qtype == dns.TypeMX && hasType(a.consul.Answer, dns.TypeCNAME) && len(a.ours.Answer) == 0
	}},
	{"behind an alias are the records of the type that was asked for, and no others (RFC 1034)", func(a *asked) bool {
		alias := ofType(a.ours.Answer, dns.TypeCNAME)
		return len(alias) > 0 && a.qtype != dns.TypeSRV && subset(alias[:1], a.consul.Answer) &&
			len(alias)+len(ofType(a.ours.Answer, a.qtype)) == len(a.ours.Answer)
	}},
	{"a target that leads to no address is left out", func(a *asked) bool {
		if a.qtype != dns.TypeSRV || len(a.ours.Answer) >= len(a.consul.Answer) || !subset(a.ours.Answer, a.consul.Answer) {
			return false
		}
		kept := set(a.ours.Answer)
		return !slices.ContainsFunc(a.consul.Answer, func(rr dns.RR) bool {
			return !slices.Contains(kept, text(rr)) &&
				hasOwner(a.ours.Extra, rr.(*dns.SRV).Target)
		})
	}},
	{"an address's own name has no additional records", func(a *asked) bool {
		return strings.Contains(a.name, ".addr.") && a.different == "the additional records" && len(a.ours.Extra) == 1
	}},
	{"ANY shows the addresses of both families", func(a *asked) bool {
		return a.qtype == dns.TypeANY && subset(a.consul.Answer, a.ours.Answer)
	}},
	{"a node's name leads to its addresses of both families, and is the target rather than one of them", func(a *asked) bool {
		return a.qtype == dns.TypeSRV && len(a.consul.Answer) == len(a.ours.Answer) && hasType(a.ours.Extra, dns.TypeAAAA)
	}},
	{"an instance with an address of its own is not at its node's", func(a *asked) bool {
		return (a.qtype == dns.TypeA || a.qtype == dns.TypeAAAA) && subset(a.ours.Answer, a.consul.Answer)
	}},
}

// asked is a question with the two answers to it.
type asked struct {
	name         string // in lower case
	before       string // of name, what comes before the kind, the datacenter and the domain
	qtype        uint16
	consul, ours *dns.Msg
	different    string
}

var kinds = regexp.MustCompile(`^(.*?)\.?(service|node|addr|query)?(\.dc1)?(\.dc)?\.?consul\.$`)

func newAsked(q dns.Question, consul, ours *dns.Msg) *asked {
	a := &asked{name: strings.ToLower(q.Name), qtype: q.Qtype, consul: consul, ours: ours, different: compare(consul, ours)}
	if parts := kinds.FindStringSubmatch(a.name); parts != nil {
		a.before = parts[1]
	}
	return a
}

func (a *asked) codes(consul, ours int) bool { return a.consul.Rcode == consul && a.ours.Rcode == ours }

func hasType(rrs []dns.RR, types ...uint16) bool {
	return slices.ContainsFunc(rrs, func(rr dns.RR) bool { return slices.Contains(types, rr.Header().Rrtype) })
}

func ofType(rrs []dns.RR, rrtype uint16) (some []dns.RR) {
	for _, rr := range rrs {
		if rr.Header().Rrtype == rrtype {
			some = append(some, rr)
		}
	}
	return some
}

func hasOwner(rrs []dns.RR, name string) bool {
	return slices.ContainsFunc(rrs, func(rr dns.RR) bool { return strings.EqualFold(rr.Header().Name, name) })
}

func subset(some, all []dns.RR) bool {
	texts := set(all)
	return !slices.ContainsFunc(set(some), func(one string) bool { return !slices.Contains(texts, one) })
}

func permitted(q dns.Question, consul, ours *dns.Msg) string {
	a := newAsked(q, consul, ours)
	for _, d := range differences {
		if d.here(a) {
			return d.why
		}
	}
	return ""
}

// compare says what is different about two answers, or nothing.
func compare(a, b *dns.Msg) string {
	switch {
	case a.Rcode != b.Rcode:
		return "the response codes"
	case !slices.Equal(set(a.Answer), set(b.Answer)):
		return "the answers"
	case !slices.Equal(set(a.Extra), set(b.Extra)):
		return "the additional records"
	case len(a.Answer) == 0 && (soaOf(a) == nil) != (soaOf(b) == nil):
		return "the presence of a SOA"
	}
	return ""
}

// set returns records in an order of their own, in lower case: no two texts here
// differ in that alone.
func set(rrs []dns.RR) []string {
	texts := make([]string, 0, len(rrs))
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeOPT {
			continue
		}
		texts = append(texts, text(rr))
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

func text(rr dns.RR) string { return strings.ToLower(rr.String()) }

func soaOf(m *dns.Msg) *dns.SOA {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa
		}
	}
	return nil
}

// fleet is what is registered, and what may be asked about it.
type fleet struct {
	t         *testing.T
	rand      *rand.Rand
	agent     *consultest.Agent
	nodes     []string
	names     []string // of services
	tags      []string
	addresses []string
	instances int
}

func newFleet(t *testing.T, agent *consultest.Agent, random *rand.Rand, services int) *fleet {
	f := &fleet{t: t, rand: random, agent: agent}
	f.registerNodes()
	for n := range services {
		name := pick(f, "Web-%d", "db%d", "Api%d", "svc-x-%d")
		f.names = append(f.names, fmt.Sprintf(name, n))
	}
	f.tags = []string{"primary", "Secondary", "v1", "v1.2", "v1.2.3", "a.b", "Blue", "green-2", "under_score"}
	for n, name := range f.names {
		switch {
		case n%20 == 0:
			f.registerAtAgent(name)
		default:
			f.registerInCatalog(name)
		}
	}
	consultest.Eventually(t, 10*time.Second, "the agent has told the catalog everything", func() bool {
		local, err := agent.API.Agent().Checks()
		known, _, err2 := agent.API.Health().Node(agent.Name(), nil)
		return err == nil && err2 == nil && len(known) == len(local)+1 // and that of serf
	})
	return f
}

func pick[T any](f *fleet, of ...T) T { return of[f.rand.IntN(len(of))] }

// likely is true so many times in a hundred.
func (f *fleet) likely(percent int) bool { return f.rand.IntN(100) < percent }

func (f *fleet) catalog(r *api.CatalogRegistration) {
	f.t.Helper()
	if _, err := f.agent.API.Catalog().Register(r, nil); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) registerNodes() {
	for n := range 16 {
		r := &api.CatalogRegistration{
			Node: pick(f, fmt.Sprint("node", n), fmt.Sprint("Node-", n), fmt.Sprintf("rack%d.host", n)), Address: f.address(n),
			NodeMeta: map[string]string{"rack": fmt.Sprint(n), "rfc1035-note": "in row " + fmt.Sprint(n)},
		}
		if f.likely(30) {
			r.TaggedAddresses = map[string]string{"lan_ipv4": fmt.Sprint("10.9.0.", n+1), "lan_ipv6": fmt.Sprintf("2001:db8:9::%x", n+1)}
		}
		if f.likely(40) {
			r.Checks = api.HealthChecks{{Node: r.Node, CheckID: "alive", Name: "alive", Status: pick(f, "passing", "warning", "critical")}}
		}
		f.catalog(r)
		f.nodes = append(f.nodes, r.Node)
	}
}

// address returns an address of a node: IPv4 mostly, and a name now and then.
func (f *fleet) address(n int) string {
	var a string
	switch f.rand.IntN(10) {
	case 0, 1:
		a = fmt.Sprintf("2001:db8::%x", n+1)
	case 2:
		return fmt.Sprintf("host%d.example.com", n)
	default:
		a = fmt.Sprintf("10.%d.%d.%d", f.rand.IntN(4), n>>8&255, n&255)
	}
	f.addresses = append(f.addresses, a)
	return a
}

func (f *fleet) someTags() (tags []string) {
	for range f.rand.IntN(4) {
		if tag := pick(f, f.tags...); !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

func (f *fleet) registerInCatalog(name string) {
	for n := range 1 + f.rand.IntN(5) {
		f.instances++
		s := &api.AgentService{
			ID: fmt.Sprint(name, "-", n), Service: name, Tags: f.someTags(), Port: 8000 + f.rand.IntN(3),
			Weights: api.AgentWeights{Passing: 1 + f.rand.IntN(9), Warning: 1 + f.rand.IntN(3)},
		}
		switch f.rand.IntN(8) {
		case 0, 1, 2:
			s.Address = f.address(f.instances)
		case 3:
			s.Address = pick(f, f.names...) + ".service.consul"
		case 4:
			s.TaggedAddresses = map[string]api.ServiceAddress{
				"lan_ipv4": {Address: fmt.Sprintf("10.8.%d.%d", f.instances>>8, f.instances&255), Port: s.Port},
				"lan_ipv6": {Address: fmt.Sprintf("2001:db8:8::%x", f.instances), Port: s.Port},
			}
		}
		r := &api.CatalogRegistration{Node: pick(f, f.nodes...), SkipNodeUpdate: true, Service: s}
		if f.likely(70) {
			r.Checks = api.HealthChecks{{Node: r.Node, CheckID: "service:" + s.ID, Name: "alive", ServiceID: s.ID,
				Status: pick(f, "passing", "passing", "passing", "warning", "critical")}}
		}
		f.catalog(r)
	}
}

func (f *fleet) registerAtAgent(name string) {
	for n := range 1 + f.rand.IntN(3) {
		f.instances++
		s := &api.AgentServiceRegistration{
			ID: fmt.Sprint(name, "-", n), Name: name, Tags: f.someTags(), Port: 9000 + n,
			Weights: &api.AgentWeights{Passing: 1 + f.rand.IntN(9), Warning: 1},
			Check:   &api.AgentServiceCheck{TTL: "1h", Status: pick(f, "passing", "passing", "warning", "critical")},
		}
		if f.likely(40) {
			s.Address = f.address(f.instances)
		}
		if err := f.agent.API.Agent().ServiceRegister(s); err != nil {
			f.t.Fatal(err)
		}
		if f.likely(25) {
			if err := f.agent.API.Agent().EnableServiceMaintenance(s.ID, "painting"); err != nil {
				f.t.Fatal(err)
			}
		}
	}
}

// question makes a question, of a name that is there more often than not.
func (f *fleet) question() dns.Question {
	service, tag, node := pick(f, f.names...), pick(f, f.tags...), pick(f, f.nodes...)
	if f.likely(5) {
		service = "absent"
	}
	if f.likely(5) {
		tag = "absent"
	}
	dc := pick(f, "", "", "", ".dc1", ".DC1", ".dc1.dc", ".dc7")
	name := pick(f,
		service+".service"+dc, service+".service"+dc, tag+"."+service+".service"+dc,
		"_"+service+"._"+tag+".service"+dc, "_"+service+"._tcp.service"+dc, "_"+service+"._udp"+dc, "_"+service+"._"+tag+dc,
		node+".node"+dc, f.addrName()+".addr"+dc, service, "service"+dc, "node"+dc, "absent.query"+dc, "",
	)
	if name != "" {
		name += "."
	}
	return dns.Question{Name: f.inSomeCase(name + "consul."), Qclass: dns.ClassINET, Qtype: pick(f,
		dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeAAAA, dns.TypeSRV, dns.TypeSRV, dns.TypeSRV,
		dns.TypeANY, dns.TypeTXT, dns.TypeMX)}
}

// addrName returns an address as names have it.
func (f *fleet) addrName() string {
	a, err := netip.ParseAddr(pick(f, f.addresses...))
	if err != nil {
		f.t.Fatal(err)
	}
	return fmt.Sprintf("%x", a.AsSlice())
}

func (f *fleet) inSomeCase(name string) string {
	switch f.rand.IntN(4) {
	case 0:
		return strings.ToLower(name)
	case 1:
		return strings.ToUpper(name)
	}
	return name
}

// dnsClient asks one server over a connection that it keeps.
type dnsClient struct {
	address string
	conn    *dns.Conn
}

func dialDNS(t *testing.T, address string) *dnsClient {
	t.Helper()
	c := &dnsClient{address: address}
	c.dial(t)
	t.Cleanup(func() { c.conn.Close() })
	return c
}

func (c *dnsClient) dial(t *testing.T) {
	t.Helper()
	var err error
	if c.conn, err = dns.DialTimeout("tcp", c.address, 5*time.Second); err != nil {
		t.Fatal(err)
	}
}

func (c *dnsClient) ask(t *testing.T, q dns.Question) *dns.Msg {
	t.Helper()
	m := &dns.Msg{Question: []dns.Question{q}}
	m.Id = dns.Id()
	m.SetEdns0(4096, false)
	client := dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	reply, _, err := client.ExchangeWithConn(m, c.conn)
	if err != nil { // the server may have closed it
		c.conn.Close()
		c.dial(t)
		reply, _, err = client.ExchangeWithConn(m, c.conn)
	}
	if err != nil {
		t.Fatalf("asking %s for %s %s: %v", c.address, q.Name, dns.Type(q.Qtype), err)
	}
	return reply
}
