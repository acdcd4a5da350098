package static

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/miekg/dns"
)

const corp = `
$ORIGIN corp.example.
$TTL 300
@         IN SOA ns1 hostmaster 7 3600 600 86400 60
          IN NS  ns1
          IN NS  ns.elsewhere.example.
          IN MX  10 mail
ns1       IN A   10.0.0.1
          IN AAAA fd00::1
mail      IN A   10.0.0.2
WWW       IN CNAME web
web       IN A   10.0.0.3
          IN A   10.0.0.4
away      IN CNAME www.elsewhere.example.
_ldap._tcp IN SRV 0 5 389 ns1
a.b.c     IN TXT "deep"
*.wild    IN TXT "any"
          IN A   10.0.0.9
here.wild IN A   10.0.0.10
*.alias   IN CNAME web
sub       IN NS  ns.sub
          IN NS  ns1
          IN DS  1 13 2 00000000000000000000000000000000000000000000000000000000000000FF
ns.sub    IN A   10.0.1.1
old       IN DNAME new.example.
old       IN TXT "moved"
\046\000  IN TXT "odd"
`

func parse(t testing.TB, text string) *Zone {
	t.Helper()
	zone, err := Parse("corp.example.", fstest.MapFS{"corp.zone": {Data: []byte(text)}}, "corp.zone", "")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// lookup asks for NAME TYPE and writes what was found on one line.
func lookup(t testing.TB, z *Zone, ask string) string {
	t.Helper()
	owner, qtype, _ := strings.Cut(ask, " ")
	wire, ok := wireOf(owner)
	if !ok {
		t.Fatalf("%q is no name", owner)
	}
	return render(z.Lookup(wire, owner, dns.StringToType[qtype]))
}

func render(f Found) string {
	texts := []string{[]string{"here", "alias", "referral", "no name", "too long"}[f.Kind]}
	if f.Encloser != "" {
		texts[0] += " by *." + show(f.Encloser)
	}
	var records []string
	for _, rr := range f.Records {
		h := rr.Header()
		records = append(records, strings.TrimSpace(fmt.Sprint(h.Name, " ", dns.Type(h.Rrtype), " ", strings.TrimPrefix(rr.String(), h.String()))))
	}
	slices.Sort(records)
	return strings.Join(append(texts, records...), "; ")
}

func TestLookupIsAsRFC1034And4592Say(t *testing.T) {
	z := parse(t, corp)
	for _, c := range []struct{ behaviour, ask, want string }{
		{"a name has its records", "web.corp.example. A", "here; web.corp.example. A 10.0.0.3; web.corp.example. A 10.0.0.4"},
		{"and none of another type", "web.corp.example. AAAA", "here"},
		{"the owner is as it was asked for", "www.corp.example. A", "alias; www.corp.example. CNAME web.corp.example."},
		{"an alias itself can be asked for", "www.corp.example. CNAME", "here; www.corp.example. CNAME web.corp.example."},
		{"ANY of an alias is the alias", "www.corp.example. ANY", "here; www.corp.example. CNAME web.corp.example."},
		{"an alias may lead away", "away.corp.example. TXT", "alias; away.corp.example. CNAME www.elsewhere.example."},
		{"a name with nothing but names below it is there", "b.c.corp.example. TXT", "here"},
		{"also the highest", "c.corp.example. A", "here"},
		{"also where labels begin with an underscore", "_tcp.corp.example. A", "here"},
		{"a name that nobody wrote is not there", "b.corp.example. A", "no name"},
		{"a wildcard answers for what is not there", "x.wild.corp.example. TXT", "here by *.wild.corp.example.; x.wild.corp.example. TXT \"any\""},
		{"over several labels", "x.y.wild.corp.example. A", "here by *.wild.corp.example.; x.y.wild.corp.example. A 10.0.0.9"},
		{"with no record of a type that it does not have", "x.wild.corp.example. MX", "here by *.wild.corp.example."},
		{"and not for what is there", "here.wild.corp.example. TXT", "here"},
		{"nor for what is below that", "x.here.wild.corp.example. A", "no name"},
		{"nor for the name it stands below", "wild.corp.example. A", "here"},
		{"the asterisk can be asked for", "*.wild.corp.example. A", "here; *.wild.corp.example. A 10.0.0.9"},
		{"a wildcard may be an alias", "x.alias.corp.example. A", "alias by *.alias.corp.example.; x.alias.corp.example. CNAME web.corp.example."},
		{"a delegation leads to its servers", "sub.corp.example. A", "referral; sub.corp.example. NS ns.sub.corp.example.; sub.corp.example. NS ns1.corp.example."},
		{"whatever is below it", "x.y.sub.corp.example. A", "referral; sub.corp.example. NS ns.sub.corp.example.; sub.corp.example. NS ns1.corp.example."},
		{"glue is no answer", "ns.sub.corp.example. A", "referral; sub.corp.example. NS ns.sub.corp.example.; sub.corp.example. NS ns1.corp.example."},
		{"even for its own NS", "sub.corp.example. NS", "referral; sub.corp.example. NS ns.sub.corp.example.; sub.corp.example. NS ns1.corp.example."},
		{"but its DS is ours", "sub.corp.example. DS", "here; sub.corp.example. DS 1 13 2 00000000000000000000000000000000000000000000000000000000000000FF"},
		{"a DNAME makes a CNAME of what is below it", "x.y.old.corp.example. A", "alias; old.corp.example. DNAME new.example.; x.y.old.corp.example. CNAME x.y.new.example."},
		{"and leaves its own name alone", "old.corp.example. TXT", "here; old.corp.example. TXT \"moved\""},
		{"the apex has its NS", "corp.example. NS", "here; corp.example. NS ns.elsewhere.example.; corp.example. NS ns1.corp.example."},
		{"any octet may be in a label", "\\.\\000.corp.example. TXT", "here; \\.\\000.corp.example. TXT \"odd\""},
	} {
		if got := lookup(t, z, c.ask); got != c.want {
			t.Errorf("%s: %s\n got: %s\nwant: %s", c.behaviour, c.ask, got, c.want)
		}
	}
}

func TestADNAMEThatMakesANameTooLongSaysSo(t *testing.T) {
	long := strings.Repeat(strings.Repeat("l", 63)+".", 3)
	z := parse(t, corp+"x IN DNAME "+long+"example.\n")
	if got := lookup(t, z, strings.Repeat("y", 63)+".x.corp.example. A"); !strings.HasPrefix(got, "too long; x.corp.example. DNAME") {
		t.Error(got)
	}
}

func TestWhatIsReturnedBelongsToTheCaller(t *testing.T) {
	z := parse(t, corp)
	before := lookup(t, z, "web.corp.example. A")
	wire, _ := wireOf("web.corp.example.")
	for _, rr := range z.Lookup(wire, "web.corp.example.", dns.TypeA).Records {
		rr.(*dns.A).A[3] = 99
		rr.Header().Name = "else."
	}
	z.SOA().Serial++
	if after := lookup(t, z, "web.corp.example. A"); after != before || z.Serial() != 7 {
		t.Errorf("%s became %s, serial %d", before, after, z.Serial())
	}
}

func TestTheTTLOfANegativeAnswerIsTheMinimum(t *testing.T) {
	if ttl := parse(t, corp).SOA().Hdr.Ttl; ttl != 60 {
		t.Errorf("%d", ttl)
	}
}

func TestRecordsOfAnRRsetHaveOneTTLAndAreThereOnce(t *testing.T) {
	z := parse(t, corp+"twice 60 IN A 10.9.9.9\ntwice 30 IN A 10.9.9.9\ntwice 90 IN A 10.9.9.8\n")
	wire, _ := wireOf("twice.corp.example.")
	found := z.Lookup(wire, "twice.corp.example.", dns.TypeA).Records
	if len(found) != 2 || found[0].Header().Ttl != 30 || found[1].Header().Ttl != 30 {
		t.Error(found)
	}
}

func TestRecordsBeginAtTheApexAndAreAllThere(t *testing.T) {
	z := parse(t, corp)
	all := slices.Collect(z.Records())
	if len(all) != z.Len() || all[0].Header().Rrtype != dns.TypeSOA || z.Len() != strings.Count(corp, " IN ") {
		t.Errorf("%d records of %d, the first is %v", len(all), z.Len(), all[0])
	}
}
