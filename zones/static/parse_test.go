package static

import (
	"strings"
	"testing"
	"testing/fstest"
)

const head = `$ORIGIN corp.example.
$TTL 300
@ IN SOA ns1 hostmaster 7 3600 600 86400 60
@ IN NS ns1
ns1 IN A 10.0.0.1
`

func TestAMistakeIsToldWithFileAndLine(t *testing.T) {
	for _, c := range []struct{ mistake, text, want string }{
		{"a syntax error", head + "www IN A 10.0.0.x\n", "etc/corp.zone:6: bad A"},
		{"an unknown type", head + "\n\nwww IN FOO bar\n", "etc/corp.zone:8: "},
		{"no SOA", "$TTL 5\n@ IN NS ns1\n", "etc/corp.zone: there is no SOA at corp.example."},
		{"no NS", "$TTL 5\n@ IN SOA a b 1 2 3 4 5\n", "etc/corp.zone: there is no NS at corp.example."},
		{"an empty file", "", "etc/corp.zone: there is no SOA at corp.example."},
		{"two SOAs", head + "@ IN SOA ns1 hostmaster 8 3600 600 86400 60\n", "etc/corp.zone:6: there is a second SOA"},
		{"a SOA below the apex", head + "sub IN SOA ns1 hostmaster 8 3600 600 86400 60\n", "etc/corp.zone:6: a SOA is at sub.corp.example., which is not the name of the zone"},
		{"a name that is not in the zone", head + "www.example. IN A 10.0.0.1\n", "etc/corp.zone:6: www.example. is not in the zone corp.example."},
		{"one that only looks as if it were", head + "xcorp.example. IN A 10.0.0.1\n", "etc/corp.zone:6: xcorp.example. is not in the zone corp.example."},
		{"a CNAME beside others", head + "ns1 IN CNAME web\n", "etc/corp.zone:6: ns1.corp.example. has a CNAME beside other records (RFC 1034, section 3.6.2)"},
		{"others beside a CNAME", head + "www IN CNAME web\nwww IN TXT x\n", "etc/corp.zone:7: www.corp.example. has a TXT beside a CNAME (RFC 1034, section 3.6.2)"},
		{"two CNAMEs", head + "www IN CNAME a\nwww IN CNAME b\n", "etc/corp.zone:7: www.corp.example. has a CNAME beside other records (RFC 1034, section 3.6.2)"},
		{"two DNAMEs", head + "www IN DNAME a\nwww IN DNAME b\n", "etc/corp.zone:7: www.corp.example. has a second DNAME (RFC 6672, section 2.4)"},
		{"another class", head + "www CH TXT x\n", "etc/corp.zone:6: the class of www.corp.example. is not IN"},
		{"a wildcard delegation", head + "*.x IN NS ns1\n", "etc/corp.zone:6: *.x.corp.example. is a wildcard with a NS, which means nothing that anybody agrees on (RFC 4592, section 4)"},
		{"a signed zone", head + "www IN NSEC ns1 A\n", "etc/corp.zone:6: www.corp.example. has a NSEC: a zone that is signed already cannot be served"},
		{"records below a delegation", head + "sub IN NS ns1\nwww.sub IN TXT x\n", "etc/corp.zone:7: www.sub.corp.example. is in a zone of its own, to which an NS has delegated it, and can only have addresses here"},
		{"a name server that is an alias", head + "ns2 IN CNAME ns1\n@ IN NS ns2\n", "etc/corp.zone:7: corp.example. has the name server ns2.corp.example., which is an alias (RFC 2181, section 10.3)"},
		{"a record of several lines", head + "www IN TXT (\n  x\n  y )\nwww IN CNAME a\n", "etc/corp.zone:9: www.corp.example. has a CNAME beside"},
		{"a mistake in a file that is included", head + "$INCLUDE more.zone\n", "etc/more.zone:2: www.example. is not in the zone corp.example."},
		{"a syntax error there", head + "$INCLUDE wrong.zone\n", "etc/wrong.zone:1: bad A"},
		{"a mistake behind it", head + "$INCLUDE fine.zone\n\nwww.example. A 10.0.0.1\n", "etc/corp.zone:8: www.example. is not in the zone corp.example."},
		{"a file that is not there", head + "$INCLUDE missing.zone\n", "etc/corp.zone:6: failed to open"},
		{"one outside of the directory", head + "$INCLUDE ../../passwd\n", "etc/corp.zone:6: failed to open"},
		{"one that includes itself", head + "$INCLUDE corp.zone\n", "etc/corp.zone:3: there is a second SOA"},
	} {
		t.Run(c.mistake, func(t *testing.T) {
			files := fstest.MapFS{
				"corp.zone":  {Data: []byte(c.text)},
				"more.zone":  {Data: []byte("www IN A 10.0.0.1\nwww.example. IN A 10.0.0.1\n")},
				"wrong.zone": {Data: []byte("www IN A 10\n")},
				"fine.zone":  {Data: []byte("www IN A 10.0.0.1\n")},
			}
			_, err := Parse("corp.example", files, "corp.zone", "etc")
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("\n got: %v\nwant: %s", err, c.want)
			}
		})
	}
}

func TestWhatIsIncludedIsOfTheZone(t *testing.T) {
	files := fstest.MapFS{
		"corp.zone":      {Data: []byte(head + "$INCLUDE d/more.zone dc1\nlast IN A 10.0.0.3\n$GENERATE 1-3 host$ A 10.0.1.$\n")},
		"d/more.zone":    {Data: []byte("web IN A 10.0.0.2\n$INCLUDE deep/er.zone\n")},
		"d/deep/er.zone": {Data: []byte("db IN A 10.0.0.4")},
	}
	z, err := Parse("corp.example", files, "corp.zone", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web.dc1", "db.dc1", "last", "host3"} {
		if got := lookup(t, z, name+".corp.example. A"); !strings.HasPrefix(got, "here; ") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(head)
	f.Add(corp)
	f.Add(head + "$GENERATE 1-9 a$ CNAME b$\n$INCLUDE x\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "$GENERATE") && len(text) > 200 {
			t.Skip("makes much of little")
		}
		z, err := Parse("corp.example", fstest.MapFS{"x": {Data: []byte(text)}}, "x", "")
		if err != nil {
			return
		}
		for wire := range z.nodes {
			for _, qtype := range []uint16{1, 2, 5, 6, 43, 255} {
				if found := z.Lookup(wire, show(wire), qtype); found.Kind == NoName {
					t.Errorf("%s is there and is not", show(wire))
				}
				z.Lookup("\x01x"+wire, "x."+show(wire), qtype)
			}
		}
	})
}
