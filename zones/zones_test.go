package zones

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// The tables of this package are rows of a question and its golden answer. Rows
// whose name begins with a number are Consul's: what its own tests assert, in its
// test domain and datacenter. Where an RFC demands something else, the name of
// the row says so.
//
// A golden answer is master-file text. Its first comment holds the RCODE and the
// sentence of the Extended DNS Error, others begin the sections after the answer.
type row struct {
	name string
	view *registry.View
	ask  string // NAME TYPE
	want string
}

// soa7 ends a negative answer from a View of the function view.
const soa7 = "\n ; authority\n consul. 5 IN SOA ns.consul. hostmaster.consul. 7 3600 600 86400 5"

func check(t *testing.T, z *Zones, rows []row) {
	t.Helper()
	resolver := z.NewResolver()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Helper()
			q := question(t, row.ask)
			a := z.Resolve(row.view, q)
			wellFormed(t, q, a)
			resolvesAlike(t, resolver, row.view, q, a)
			asked(t, row.ask)
			if diff := cmp.Diff(golden(row.want), render(a)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", row.ask, diff)
			}
		})
	}
}

// consul returns zones as in Consul's tests; more zones may follow.
func consul(t testing.TB, more ...string) *Zones {
	return with(t, Config{Zones: append([]string{"consul."}, more...)})
}

func with(t testing.TB, config Config) *Zones {
	t.Helper()
	config.Node, config.Service = "foo", "consul"
	config.TTL, config.NegativeTTL = 5*time.Second, 5*time.Second
	z, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func question(t testing.TB, ask string) Question {
	t.Helper()
	name, qtype, _ := strings.Cut(ask, " ")
	wire, ok := pack(name)
	if !ok || dns.StringToType[qtype] == 0 {
		t.Fatalf("%q is no question", ask)
	}
	return Question{wire, dns.StringToType[qtype]}
}

// golden brings a golden answer to the form of render's.
func golden(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 {
			lines = append(lines, strings.Join(fields, " "))
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func render(a *Answer) string {
	head := "; " + dns.RcodeToString[a.Rcode]
	if a.Explanation.Text != "" {
		head += ": " + a.Explanation.Text
	}
	lines := []string{head}
	section := func(name string, rrs []dns.RR) {
		for i, rr := range rrs {
			if i == 0 && name != "" {
				lines = append(lines, "; "+name)
			}
			lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	var answer []dns.RR
	for _, record := range a.Records {
		answer = append(answer, record.RR)
	}
	section("", answer)
	section("authority", a.Authority)
	section("additional", additional(a))
	return strings.Join(lines, "\n") + "\n"
}

// additional returns the additional records, each once.
func additional(a *Answer) (rrs []dns.RR) {
	all := slices.Clone(a.Extra)
	for _, record := range a.Records {
		all = append(all, record.Glue...)
	}
	seen := make(map[string]bool)
	for _, rr := range all {
		if !seen[rr.String()] {
			seen[rr.String()] = true
			rrs = append(rrs, rr)
		}
	}
	return rrs
}

// wellFormed holds an answer to what is true of each.
func wellFormed(t interface {
	Helper()
	Errorf(string, ...any)
}, q Question, a *Answer) {
	t.Helper()
	m := new(dns.Msg)
	owner, _, err := dns.UnpackDomainName([]byte(q.Name), 0)
	if err != nil || !dns.IsFqdn(owner) {
		if a.Rcode != dns.RcodeFormatError && a.Rcode != dns.RcodeRefused {
			t.Errorf("%q is no name, and is answered with %d", q.Name, a.Rcode)
		}
		return
	}
	next := owner // of the CNAME chain
	seen := make(map[string]bool)
	for _, record := range a.Records {
		m.Answer = append(m.Answer, record.RR)
		m.Extra = append(m.Extra, record.Glue...)
		if _, isDNAME := record.RR.(*dns.DNAME); record.RR.Header().Name != next && !isDNAME {
			t.Errorf("%s does not belong to %s", record.RR, next)
		}
		if seen[record.RR.String()] {
			t.Errorf("%s is there twice", record.RR)
		}
		seen[record.RR.String()] = true
		if cname, ok := record.RR.(*dns.CNAME); ok {
			next = cname.Target
		}
		if a.Shuffle && record.Weight < 0 {
			t.Errorf("%s weighs %d", record.RR, record.Weight)
		}
	}
	m.Ns, m.Extra = a.Authority, append(m.Extra, a.Extra...)
	if _, err := m.Pack(); err != nil {
		t.Errorf("%s cannot be packed: %v", render(a), err)
	}
	if !utf8.ValidString(a.Explanation.Text) {
		t.Errorf("%q is no UTF-8", a.Explanation.Text)
	}
	switch {
	case a.Zone == nil && (a.Authoritative || len(a.Records) > 0 || a.Cacheable):
		t.Errorf("%s is none of ours, and yet there is an answer", owner)
	case a.Zone != nil && !a.Authoritative && !isReferral(a):
		t.Errorf("%s is ours, and yet the answer has no authority", owner)
	case a.Rcode == dns.RcodeNameError && a.Cacheable && len(a.Records) == 0:
		t.Errorf("%s does not exist, and yet the answer may be kept", owner)
	case len(a.Authority) > 0 && !dns.IsSubDomain(a.Authority[0].Header().Name, next):
		t.Errorf("%s is not in the zone of %s", next, a.Authority[0])
	}
}

// isReferral tells whether an answer names others' servers and nothing else.
func isReferral(a *Answer) bool {
	return len(a.Records) == 0 && len(a.Authority) > 0 && a.Authority[0].Header().Rrtype == dns.TypeNS
}

// view returns a View of nodes and instances at index 7.
func view(things ...any) *registry.View {
	return viewOf(registry.NewView("dc1"), things...)
}

func viewOf(v *registry.View, things ...any) *registry.View {
	tx := v.Txn(7)
	for _, thing := range things {
		switch thing := thing.(type) {
		case *registry.Node:
			tx.PutNode(thing)
		case *registry.Instance:
			tx.PutInstance(thing)
		default:
			panic(fmt.Sprintf("a View has no %T", thing))
		}
	}
	return tx.Commit().View
}

// node returns a node; its metadata and its tagged addresses follow as k=v.
func node(name, address string, pairs ...string) *registry.Node {
	n := &registry.Node{Name: name, Address: address, TaggedAddresses: map[string]string{}, Meta: map[string]string{}}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		if key == "lan_ipv4" || key == "lan_ipv6" || key == "wan" {
			n.TaggedAddresses[key] = value
		} else {
			n.Meta[key] = value
		}
	}
	return n
}

// instance returns an instance of a service on the node foo, unless it is told
// otherwise. Its ID is the service's name, its port 12345.
func instance(service string, edits ...func(*registry.Instance)) *registry.Instance {
	i := &registry.Instance{Node: "foo", ID: service, Service: service, Port: 12345, Weights: registry.Weights{Passing: 1, Warning: 1}}
	for _, edit := range edits {
		edit(i)
	}
	return i
}

func on(node string) func(*registry.Instance) { return func(i *registry.Instance) { i.Node = node } }
func id(id string) func(*registry.Instance)   { return func(i *registry.Instance) { i.ID = id } }
func port(n int) func(*registry.Instance)     { return func(i *registry.Instance) { i.Port = n } }
func at(address string) func(*registry.Instance) {
	return func(i *registry.Instance) { i.Address = address }
}
func tags(t ...string) func(*registry.Instance) { return func(i *registry.Instance) { i.Tags = t } }

func weights(passing, warning int) func(*registry.Instance) {
	return func(i *registry.Instance) { i.Weights = registry.Weights{Passing: passing, Warning: warning} }
}

func tagged(tag, address string) func(*registry.Instance) {
	return func(i *registry.Instance) {
		if i.TaggedAddresses == nil {
			i.TaggedAddresses = make(map[string]registry.TaggedAddress)
		}
		i.TaggedAddresses[tag] = registry.TaggedAddress{Address: address}
	}
}

func meta(pairs ...string) func(*registry.Instance) {
	return func(i *registry.Instance) { i.Meta = node("", "", pairs...).Meta }
}

// checked gives an instance a check called http.
func checked(status registry.Status, output string) func(*registry.Instance) {
	return func(i *registry.Instance) {
		i.Checks = []*registry.Check{{Node: i.Node, ID: "http", InstanceID: i.ID, Service: i.Service, Status: status, Output: output}}
	}
}

var critical, warning, passing = checked(registry.Critical, ""), checked(registry.Warning, ""), checked(registry.Passing, "")

// maintained puts an instance into maintenance.
func maintained(i *registry.Instance) {
	i.Checks = []*registry.Check{{
		Node: i.Node, ID: registry.ServiceMaintenancePrefix + i.ID, InstanceID: i.ID, Status: registry.Critical, Notes: "a new disk",
	}}
}

func sick(n *registry.Node, status registry.Status) *registry.Node {
	n.Checks = []*registry.Check{{Node: n.Name, ID: "serfHealth", Status: status, Output: "not heard of"}}
	return n
}

// foo is the node that most instances run on.
func foo() *registry.Node { return node("foo", "127.0.0.1") }
