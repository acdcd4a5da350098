package static

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// naive looks a name up in a list of records, word by word as the RFCs have it.
func naive(records []dns.RR, zone, name string, qtype uint16) Found {
	exists := func(name string) bool {
		for _, rr := range records {
			if dns.IsSubDomain(name, rr.Header().Name) {
				return true
			}
		}
		return false
	}
	all := func(owner string, rrtype uint16) (found []dns.RR) {
		for _, rr := range records {
			if h := rr.Header(); h.Name == owner && (h.Rrtype == rrtype || rrtype == dns.TypeANY) {
				found = append(found, dns.Copy(rr))
			}
		}
		return found
	}
	// RFC 1034, section 4.3.2, step 3: match down, label by label.
	labels := dns.SplitDomainName(name)
	for n := dns.CountLabel(zone) + 1; n <= len(labels); n++ {
		above := dns.Fqdn(strings.Join(labels[len(labels)-n:], "."))
		if ns := all(above, dns.TypeNS); ns != nil {
			return Found{Kind: Referral, Records: ns} // 3b
		}
	}
	source, encloser := name, ""
	if !exists(name) { // 3c
		for closest := labels; ; closest = closest[1:] {
			if encloser = dns.Fqdn(strings.Join(closest, ".")); exists(encloser) {
				break
			}
		}
		if source = "*." + encloser; !exists(source) {
			return Found{Kind: NoName}
		}
	}
	f := Found{} // 3a
	if encloser != "" {
		f.Encloser, _ = wireOf(encloser)
	}
	if cname := all(source, dns.TypeCNAME); cname != nil && qtype != dns.TypeCNAME && qtype != dns.TypeANY {
		f.Kind, f.Records = Alias, cname
	} else {
		f.Records = all(source, qtype)
	}
	for _, rr := range f.Records {
		rr.Header().Name = name
	}
	return f
}

// TestLookupAgreesWithANaiveOne makes zones of few labels, so that what stands
// beside, above and below one another is met often.
func TestLookupAgreesWithANaiveOne(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "*", "c"})
	name := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(append(rapid.SliceOfN(label, 0, 4).Draw(t, "labels"), "z."), ".")
	})
	record := rapid.Custom(func(t *rapid.T) string {
		data := rapid.SampledFrom([]string{"A 10.0.0.1", "A 10.0.0.2", "TXT x", "CNAME a.z.", "CNAME out.", "NS a.z.", "NS b.b.z."})
		return name.Draw(t, "owner") + " " + data.Draw(t, "data")
	})
	zones := 0
	rapid.Check(t, func(t *rapid.T) {
		text := "$TTL 5\nz. SOA a b 1 2 3 4 5\nz. NS a.c.z.\n"
		var z *Zone
		for _, line := range rapid.SliceOfN(record, 1, 12).Draw(t, "records") {
			next, err := Parse("z.", fstest.MapFS{"f": {Data: []byte(text + line + "\n")}}, "f", "")
			if err == nil { // what is no zone is left out
				text, z = text+line+"\n", next
			}
		}
		if z == nil {
			return
		}
		zones++
		var records []dns.RR
		for rr := range z.Records() {
			records = append(records, rr)
		}
		for range 20 {
			asked := name.Draw(t, "name")
			qtype := rapid.SampledFrom([]uint16{dns.TypeA, dns.TypeTXT, dns.TypeCNAME, dns.TypeNS, dns.TypeMX, dns.TypeANY}).Draw(t, "type")
			wire, _ := wireOf(asked)
			got, want := render(z.Lookup(wire, asked, qtype)), render(naive(records, "z.", asked, qtype))
			if got != want {
				t.Fatalf("%s %s\n got: %s\nwant: %s\n%s", asked, dns.Type(qtype), got, want, text)
			}
		}
	})
	if zones == 0 {
		t.Error("no zone was made")
	}
}
