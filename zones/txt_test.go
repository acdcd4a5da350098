package zones

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestMetadataAfterRFC1464(t *testing.T) {
	for _, row := range []struct{ name, key, value, want string }{
		{"row 125 a word", "color", "blue", "color=blue"},
		{"row 125 an equals sign in the value", "equation", "a=4", "equation=a=4"},
		{"row 125 an equals sign in the key", "a=a", "true", "a`=a=true"},
		{"row 125 a backslash and an equals sign in the key", `a\=a`, "false", "a\\`=a=false"},
		{"row 125 a key that is an equals sign", "=", `\=`, "`==\\="},
		{"row 125 quotes in the value", "string", `"Cat"`, `string="Cat"`},
		{"row 125 a backquote in the key", "a`b", "c", "a``b=c"},
		{"row 125 RFC: a backquote in the value needs none", "string2", "`abc`", "string2=`abc`"},
		{"row 125 no value", "novalue", "", "novalue="},
		{"row 125 a blank within", "a b", "c d", "a b=c d"},
		{"row 125 a blank at the end of the key", "abc ", "123 ", "abc` =123 "},
		{"row 125 blanks around the key", "  abc ", " 321", "` ` abc` = 321"},
		{"row 10 a key that gives its value a place", "rfc1035-00", "value0", "value0"},
		{"row 10 in another case", "RFC1035-x", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff([]string{row.want}, pairs(map[string]string{row.key: row.value})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLongMetadataIsCutIntoCharacterStrings(t *testing.T) {
	for _, text := range []string{"", "k=v", `\` + strings.Repeat("x", 254), strings.Repeat(`\`, 300), strings.Repeat("é", 400) + `"\`} {
		msg := make([]byte, 4096)
		n, err := dns.PackRR(&dns.TXT{Hdr: consul(t).header("x.", dns.TypeTXT), Txt: pieces(nil, text)}, msg, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for data := msg[3+10 : n]; len(data) > 0; data = data[1+int(data[0]):] {
			got = append(got, data[1:1+int(data[0])]...)
		}
		if string(got) != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// TestMetadataThatNoMessageHoldsIsLeftOut has an instance and a node with more than there
// is room for, as a Consul may have them: the others are answered with all the same.
func TestMetadataThatNoMessageHoldsIsLeftOut(t *testing.T) {
	huge, large := strings.Repeat("x", 100_000), strings.Repeat("x", 60_000)
	meta := func(m map[string]string) func(*registry.Instance) { return func(i *registry.Instance) { i.Meta = m } }
	many := make(map[string]string)
	for n := range 1000 {
		many[fmt.Sprint("key", n)] = strings.Repeat("x", 100)
	}
	n := foo()
	n.Meta = map[string]string{"huge": huge, "a": "b"}
	v := view(n, instance("web", id("a"), meta(map[string]string{"a": "b"})), instance("web", id("huge"), meta(map[string]string{"k": huge})),
		instance("web", id("large"), meta(map[string]string{"k": large})), instance("web", id("many"), meta(many)))
	for ask, want := range map[string]int{
		"web.service.consul. TXT": 2, "foo.node.consul. TXT": 1, "foo.node.consul. ANY": 2, "huge._web._tcp.consul. TXT": 1, "many._web._tcp.consul. TXT": 0,
	} {
		a := consul(t).Resolve(v, question(t, ask))
		if len(a.Records) != want {
			t.Errorf("%s: %d records, want %d", ask, len(a.Records), want)
		}
		for _, record := range a.Records {
			if _, err := (&dns.Msg{Answer: []dns.RR{record.RR}}).Pack(); err != nil {
				t.Errorf("%s: %v", ask, err)
			}
		}
	}
}

func TestServiceDiscoveryAttributes(t *testing.T) {
	for _, row := range []struct {
		name string
		meta []string
		want []string
	}{
		{"in the order of their keys", []string{"b=2", "a=1"}, []string{"a=1", "b=2"}},
		{"nothing is quoted", []string{" a`=`"}, []string{" a`=`"}},
		{"a key that is no ASCII", []string{"é=1", "a=1"}, []string{"a=1"}},
		{"a pair too long for a string", []string{"a=1", "b=" + strings.Repeat("x", 254)}, []string{"a=1"}},
		{"none", nil, []string{""}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := attributes(instance("web", meta(row.meta...))); !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}
