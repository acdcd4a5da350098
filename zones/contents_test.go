package zones

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones/static"
)

// listed lists a zone anew, and holds both ways of doing that to each other.
func listed(t interface {
	Helper()
	Fatal(...any)
	Errorf(string, ...any)
}, z *Zones, zone *Zone, v *registry.View) []string {
	t.Helper()
	c := z.NewContents(zone)
	if _, err := c.Update(v); err != nil {
		t.Fatal(err)
	}
	var each []string
	if err := z.Each(zone, v, func(*dns.SOA) error { return nil }, func(record string) error {
		each = append(each, record)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(each)
	if diff := cmp.Diff(unpacked(slices.Collect(c.Records())), unpacked(slices.Compact(each))); diff != "" {
		t.Errorf("what is listed for a large zone is something else (-small +large):\n%s", diff)
	}
	return slices.Collect(c.Records())
}

// unpacked returns packed records as master files have them.
func unpacked(packed []string) []string {
	lines := make([]string, len(packed))
	for n, p := range packed {
		rr, _, err := dns.UnpackRR([]byte(p), 0)
		if err != nil {
			panic(err)
		}
		lines[n] = strings.Join(strings.Fields(rr.String()), " ")
	}
	slices.Sort(lines)
	return lines
}

func TestTheListHasAllNames(t *testing.T) {
	z := with(t, Config{Zones: []string{"consul."}, MaxAnswers: 2})
	v := view(node("foo", "127.0.0.1", "k=v"),
		instance("web", id("web-1"), at("10.0.0.1"), tags("v1"), func(i *registry.Instance) {
			i.Port, i.Ports = 80, []registry.Port{{Name: "http", Port: 80, Default: true}}
		}),
		instance("gone", critical))
	both := func(format string, args ...any) []string {
		line := fmt.Sprintf(format, args...)
		return []string{line, strings.Replace(line, "consul. 5", "dc1.consul. 5", 1)}
	}
	want := []string{
		"consul. 5 IN NS ns.consul.", "ns.consul. 5 IN A 127.0.0.1", "0a000001.addr.dc1.consul. 5 IN A 10.0.0.1",
	}
	for _, list := range [][]string{
		both("foo.node.consul. 5 IN A 127.0.0.1"), both(`foo.node.consul. 5 IN TXT "k=v"`),
		both("_services._dns-sd._udp.consul. 5 IN PTR _web._tcp.consul."), both("_services._dns-sd._udp.consul. 5 IN PTR _gone._tcp.consul."),
	} {
		want = append(want, list...)
	}
	for _, name := range []string{"web.service", "v1.web.service", "_web._tcp", "_web._udp", "_web._tcp.service", "_web._udp.service", "_web._v1", "_web._v1.service"} {
		want = append(want, both("%s.consul. 5 IN A 10.0.0.1", name)...)
		want = append(want, both("%s.consul. 5 IN SRV 1 1 80 0a000001.addr.dc1.consul.", name)...)
		for _, line := range both("%s.consul. 5 IN SRV 1 1 80 0a000001.addr.dc1.consul.", name) {
			want = append(want, strings.Replace(line, "consul. 5", "http.port.consul. 5", 1))
		}
		for _, line := range both("%s.consul. 5 IN A 10.0.0.1", name) {
			want = append(want, strings.Replace(line, "consul. 5", "http.port.consul. 5", 1))
		}
	}
	got := unpacked(listed(t, z, z.Primary(), v))
	rest := slices.DeleteFunc(slices.Clone(got), func(line string) bool { return slices.Contains(want, line) })
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s is missing", line)
		}
	}
	for _, line := range rest {
		if !strings.Contains(line, " TXT ") && !strings.Contains(line, " PTR web-1._web.") && !strings.HasPrefix(line, "web-1._web.") && !strings.Contains(line, " SVCB ") && !strings.Contains(line, " HTTPS ") {
			t.Errorf("%s is too much", line)
		}
	}
}

// TestASecondaryAnswersLikeTheZone looks for what each question is answered with in
// the list, and for nothing where there is no answer.
func TestASecondaryAnswersLikeTheZone(t *testing.T) {
	believing, doubting := worldZones(t), with(t, Config{Zones: []string{"consul."}, PanicBelow: 60})
	rapid.Check(t, func(rt *rapid.T) {
		z := rapid.SampledFrom([]*Zones{believing, doubting}).Draw(rt, "zones")
		v := world(rt)
		at := make(map[string][]string) // by name and type
		alias := make(map[string]bool)
		for _, packed := range listed(rt, z, z.Primary(), v) {
			rr, _, err := dns.UnpackRR([]byte(packed), 0)
			if err != nil {
				rt.Fatal(err)
			}
			h := rr.Header()
			at[h.Name+dns.TypeToString[h.Rrtype]] = append(at[h.Name+dns.TypeToString[h.Rrtype]], rr.String())
			alias[h.Name] = alias[h.Name] || h.Rrtype == dns.TypeCNAME
		}
		for _, n := range names() {
			if !strings.HasSuffix(n, ".consul.") {
				continue
			}
			name := lower(n)
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypePTR} {
				wire, _ := pack(name)
				a := z.Resolve(v, Question{wire, qtype})
				var want []string
				for _, record := range a.Records {
					if record.RR.Header().Name != name || record.RR.Header().Rrtype == dns.TypeCNAME {
						break
					}
					want = append(want, record.RR.String())
				}
				got := at[name+dns.TypeToString[qtype]]
				slices.Sort(want)
				slices.Sort(got)
				if diff := cmp.Diff(want, got); diff != "" && !alias[name] && !isMadeUp(v, name) {
					rt.Errorf("%s %s (-answered +listed):\n%s", name, dns.TypeToString[qtype], diff)
				}
			}
		}
	})
}

// isMadeUp tells whether a name means something that nobody has registered: several
// tags, or an address.
func isMadeUp(v *registry.View, name string) bool {
	before, isService := strings.CutSuffix(strings.Replace(name, ".http.port.", ".", 1), ".service.consul.")
	if strings.Contains(name, ".addr.") {
		return true
	}
	if !isService {
		return false
	}
	for s := range v.Services() {
		tags, ok := strings.CutSuffix(before, "."+lower(s.Name))
		if ok && !anyBears(s, tags) {
			return true
		}
	}
	return false
}

func TestChangesLeadFromOneListToTheNext(t *testing.T) {
	z := worldZones(t)
	rapid.Check(t, func(rt *rapid.T) {
		feed := registry.NewFeed(world(rt))
		c := z.NewContents(z.Primary())
		if _, err := c.Update(feed.View()); err != nil {
			rt.Fatal(err)
		}
		secondary := make(map[string]bool)
		for record := range c.Records() {
			secondary[record] = true
		}
		for range rapid.IntRange(1, 6).Draw(rt, "changes") {
			tx := feed.View().Txn(feed.View().Index() + 1)
			change(rt, tx)
			feed.Publish(tx.Commit())
			changed, err := c.Update(feed.View())
			if err != nil {
				rt.Fatal(err)
			}
			for _, record := range changed.Removed {
				if !secondary[record] {
					rt.Errorf("what is removed was not there: %q", unpacked([]string{record}))
				}
				delete(secondary, record)
			}
			for _, record := range changed.Added {
				if secondary[record] {
					rt.Errorf("what is added was there: %q", unpacked([]string{record}))
				}
				secondary[record] = true
			}
			var has []string
			for record := range secondary {
				has = append(has, record)
			}
			if diff := cmp.Diff(unpacked(listed(rt, z, z.Primary(), feed.View())), unpacked(has)); diff != "" {
				rt.Errorf("the secondary has something else (-zone +secondary):\n%s", diff)
			}
		}
	})
}

func TestAnAliasIsAloneInTheList(t *testing.T) {
	z := consul(t)
	v := view(foo(), instance("web", at("www.example")))
	for _, line := range unpacked(listed(t, z, z.Primary(), v)) {
		if strings.HasPrefix(line, "web.service.consul. ") && line != "web.service.consul. 5 IN CNAME www.example." ||
			strings.HasPrefix(line, "_web._tcp.consul. ") && strings.Contains(line, "CNAME") {
			t.Error(line)
		}
	}
}

func TestALargeServiceIsListedInPart(t *testing.T) {
	z := with(t, Config{Zones: []string{"consul."}, MaxAnswers: 100})
	things := []any{foo()}
	for n := range 300 {
		things = append(things, instance("web", id(fmt.Sprint("web-", n)), at(fmt.Sprintf("10.0.%d.%d", n/256, n%256))))
	}
	v := view(things...)
	sets := make(map[string]int)
	first := unpacked(listed(t, z, z.Primary(), v))
	for _, line := range first {
		fields := strings.Fields(line)
		sets[fields[0]+fields[3]]++
	}
	for set, n := range sets {
		if n > 100 {
			t.Errorf("%s has %d records", set, n)
		}
	}
	if n := sets["web.service.consul.A"]; n != 100 {
		t.Errorf("of 300 addresses %d are listed", n)
	}
	if diff := cmp.Diff(first, unpacked(listed(t, z, z.Primary(), v))); diff != "" {
		t.Errorf("others are listed the next time:\n%s", diff)
	}
}

func TestAZoneFileIsListed(t *testing.T) {
	corp := file(t, "corp.example.", "www CNAME web\nweb A 10.0.0.1\nsub NS ns.sub\nns.sub A 10.0.0.4\n")
	beside := file(t, "consul.", "gw A 10.0.0.1\nweb.service A 10.66.0.1\n")
	z := with(t, Config{Zones: []string{"consul."}, Files: []*static.File{corp, beside}})
	v := view(foo(), instance("web", at("10.1.0.1")))
	got := strings.Join(unpacked(listed(t, z, z.Find("corp.example."), v)), "\n")
	if want := "corp.example. 60 IN NS ns1.corp.example.\nns.sub.corp.example. 60 IN A 10.0.0.4\nns1.corp.example. 60 IN A 10.9.0.1\n" +
		"sub.corp.example. 60 IN NS ns.sub.corp.example.\nweb.corp.example. 60 IN A 10.0.0.1\nwww.corp.example. 60 IN CNAME web.corp.example."; got != want {
		t.Errorf("the file is listed as\n%s", got)
	}
	got = strings.Join(unpacked(listed(t, z, z.Primary(), v)), "\n")
	if !strings.Contains(got, "gw.consul. 60 IN A 10.0.0.1") || strings.Contains(got, "10.66.0.1") || !strings.Contains(got, "web.service.consul. 5 IN A 10.1.0.1") {
		t.Errorf("beside what is registered the file is listed as\n%s", got)
	}
	if c := z.NewContents(z.Primary()); true {
		change, err := c.Update(v)
		if err != nil || change.From != nil || change.To.Serial != 107 {
			t.Errorf("%v, %v", change, err)
		}
	}
}

func TestAZoneOfTooManyRecordsIsNotRemembered(t *testing.T) {
	z := consul(t)
	c := z.NewContents(z.Primary())
	c.most = 200
	of := func(n int) *registry.View {
		things := []any{foo()}
		for i := range n {
			things = append(things, instance(fmt.Sprint("s", i), at("10.0.0.1")))
		}
		return view(things...)
	}
	if _, err := c.Update(of(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Update(of(40)); !errors.Is(err, ErrTooLarge) || c.Len() != 0 {
		t.Errorf("%v, and %d records are kept", err, c.Len())
	}
	if _, err := c.Update(of(35)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a little smaller: %v", err)
	}
	if change, err := c.Update(of(2)); err != nil || change.From != nil || len(change.Added) != 0 {
		t.Errorf("small again: %v, %v", change, err)
	}
}
