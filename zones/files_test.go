package zones

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-dns/rollcall/zones/static"
)

// file writes a zone file and reads it.
func file(t *testing.T, zone, text string) *static.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "zone")
	text = "$TTL 60\n@ IN SOA ns1 hostmaster 100 3600 600 86400 30\n@ IN NS ns1\nns1 IN A 10.9.0.1\n" + text
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := static.Open(zone, path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const soaCorp = "\n ; authority\n corp.example. 30 IN SOA ns1.corp.example. hostmaster.corp.example. 100 3600 600 86400 30"

func TestAZoneFileIsAZone(t *testing.T) {
	z := with(t, Config{Zones: []string{"consul."}, Files: []*static.File{
		file(t, "corp.example.", `
www     CNAME web
web     A 10.0.0.1
        A 10.0.0.2
mail    MX 10 mx
        MX 20 mx.elsewhere.example.
mx      A 10.0.0.3
        AAAA fd00::3
_x._tcp SRV 1 2 3 mx
shop    CNAME web.service.consul.
gone    CNAME wbe.service.consul.
out     CNAME www.elsewhere.example.
dead    CNAME nobody
loop    CNAME pool
pool    CNAME loop
sub     NS ns.sub
ns.sub  A 10.0.0.4
deep    CNAME x.sub
old     DNAME sub.consul.
*.wild  TXT any
child   NS ns1
`),
		file(t, "child.corp.example.", "@ DS 1 13 2 00000000000000000000000000000000000000000000000000000000000000FF\n@ TXT child\n"),
	}})
	v := view(node("foo", "127.0.0.1"), instance("web", at("10.1.0.1")))
	check(t, z, []row{
		{"the apex", v, "corp.example. SOA", "; NOERROR\n corp.example. 60 IN SOA ns1.corp.example. hostmaster.corp.example. 100 3600 600 86400 30"},
		{"name servers come with their addresses", v, "corp.example. NS", "; NOERROR\n corp.example. 60 IN NS ns1.corp.example.\n ; additional\n ns1.corp.example. 60 IN A 10.9.0.1"},
		{"mail servers, too", v, "mail.corp.example. MX", "; NOERROR\n mail.corp.example. 60 IN MX 10 mx.corp.example.\n mail.corp.example. 60 IN MX 20 mx.elsewhere.example.\n ; additional\n mx.corp.example. 60 IN A 10.0.0.3\n mx.corp.example. 60 IN AAAA fd00::3"},
		{"and the targets of SRV", v, "_x._tcp.corp.example. SRV", "; NOERROR\n _x._tcp.corp.example. 60 IN SRV 1 2 3 mx.corp.example.\n ; additional\n mx.corp.example. 60 IN A 10.0.0.3\n mx.corp.example. 60 IN AAAA fd00::3"},
		{"an alias is followed", v, "www.corp.example. A", "; NOERROR\n www.corp.example. 60 IN CNAME web.corp.example.\n web.corp.example. 60 IN A 10.0.0.1\n web.corp.example. 60 IN A 10.0.0.2"},
		{"to a service", v, "shop.corp.example. A", "; NOERROR\n shop.corp.example. 60 IN CNAME web.service.consul.\n web.service.consul. 5 IN A 10.1.0.1"},
		{"to one that is not registered", v, "gone.corp.example. A", "; NXDOMAIN: no service wbe is registered\n gone.corp.example. 60 IN CNAME wbe.service.consul." + soa7},
		{"to a name that is not there", v, "dead.corp.example. A", "; NXDOMAIN: no name nobody.corp.example. is in the file of corp.example.\n dead.corp.example. 60 IN CNAME nobody.corp.example." + soaCorp},
		{"as far as it is ours", v, "out.corp.example. A", "; NOERROR\n out.corp.example. 60 IN CNAME www.elsewhere.example."},
		{"once round", v, "loop.corp.example. A", "; NOERROR: the alias loop.corp.example. leads back to that name\n loop.corp.example. 60 IN CNAME pool.corp.example.\n pool.corp.example. 60 IN CNAME loop.corp.example."},
		{"an alias that a DNAME makes, which is asked for", v, "x.old.corp.example. CNAME", "; NOERROR\n old.corp.example. 60 IN DNAME sub.consul.\n x.old.corp.example. 60 IN CNAME x.sub.consul."},
		{"or is any record", v, "x.old.corp.example. ANY", "; NOERROR\n old.corp.example. 60 IN DNAME sub.consul.\n x.old.corp.example. 60 IN CNAME x.sub.consul."},
		{"through a DNAME", v, "x.old.corp.example. A", "; NXDOMAIN: no name in consul. has the form of x.sub\n old.corp.example. 60 IN DNAME sub.consul.\n x.old.corp.example. 60 IN CNAME x.sub.consul." + soa7},
		{"no record of the type", v, "web.corp.example. TXT", "; NOERROR" + soaCorp},
		{"an empty non-terminal", v, "_tcp.corp.example. A", "; NOERROR" + soaCorp},
		{"no such name", v, "wbe.corp.example. A", "; NXDOMAIN: no name wbe.corp.example. is in the file of corp.example." + soaCorp},
		{"a wildcard", v, "x.y.wild.corp.example. TXT", "; NOERROR\n x.y.wild.corp.example. 60 IN TXT \"any\""},
		{"a delegation", v, "x.sub.corp.example. A", "; NOERROR\n ; authority\n sub.corp.example. 60 IN NS ns.sub.corp.example.\n ; additional\n ns.sub.corp.example. 60 IN A 10.0.0.4"},
		{"an alias into one", v, "deep.corp.example. A", "; NOERROR\n deep.corp.example. 60 IN CNAME x.sub.corp.example.\n ; authority\n sub.corp.example. 60 IN NS ns.sub.corp.example.\n ; additional\n ns.sub.corp.example. 60 IN A 10.0.0.4"},
		{"a zone below another", v, "child.corp.example. TXT", "; NOERROR\n child.corp.example. 60 IN TXT \"child\""},
		{"whose DS is above", v, "child.corp.example. DS", "; NOERROR" + soaCorp},
		{"what is above a zone is somebody else's", v, "example. A", "; REFUSED: example. is outside consul."},
	})
}

const soaBoth = "\n ; authority\n consul. 5 IN SOA ns.consul. hostmaster.consul. 107 3600 600 86400 5"

func TestInAZoneOfServicesTheRegistryWins(t *testing.T) {
	z := with(t, Config{Zones: []string{"consul."}, Files: []*static.File{
		file(t, "consul.", `
@               MX 10 gw
gw              A 10.0.0.1
web.service     A 10.66.0.1
api.service     A 10.0.0.2
foo.node        TXT "not seen"
ns              A 10.66.0.2
*               A 10.0.0.3
*.service       TXT any
tail.web.service A 10.0.0.4
`),
		file(t, "legacy.consul.", "db A 10.0.1.1\nweb.service A 10.66.0.3\n"),
	}})
	v := view(node("foo", "127.0.0.1"), instance("web", at("10.1.0.1")), instance("gate", at("gw.consul")))
	check(t, z, []row{
		{"what only the file has", v, "gw.consul. A", "; NOERROR\n gw.consul. 60 IN A 10.0.0.1"},
		{"a service that only the file has", v, "api.service.consul. A", "; NOERROR\n api.service.consul. 60 IN A 10.0.0.2"},
		{"what both have", v, "web.service.consul. A", "; NOERROR\n web.service.consul. 5 IN A 10.1.0.1"},
		{"what both have, and the registry not of the type", v, "web.service.consul. MX", "; NOERROR" + soaBoth},
		{"a node", v, "foo.node.consul. TXT", "; NOERROR" + soaBoth},
		{"the apex, with the sum of both serials", v, "consul. SOA", "; NOERROR\n consul. 5 IN SOA ns.consul. hostmaster.consul. 107 3600 600 86400 5"},
		{"the apex has no more than that", v, "consul. MX", "; NOERROR" + soaBoth},
		{"the own name server", v, "ns.consul. A", "; NOERROR\n ns.consul. 5 IN A 127.0.0.1"},
		{"a name below a registered one", v, "tail.web.service.consul. A", "; NOERROR\n tail.web.service.consul. 60 IN A 10.0.0.4"},
		{"a wildcard for what nobody has", v, "x.y.consul. A", "; NOERROR\n x.y.consul. 60 IN A 10.0.0.3"},
		{"but not below what the registry has", v, "x.node.consul. A", "; NXDOMAIN: no node x is registered" + soaBoth},
		{"a wildcard below such a name", v, "wbe.service.consul. TXT", "; NOERROR\n wbe.service.consul. 60 IN TXT \"any\""},
		{"and not below a service", v, "v1.web.service.consul. TXT", "; NXDOMAIN: no instance of web bears the tag v1" + soaBoth},
		{"an instance at a name in the file", v, "gate.service.consul. A", "; NOERROR\n gate.service.consul. 5 IN CNAME gw.consul.\n gw.consul. 60 IN A 10.0.0.1"},
		{"a zone in the zone", v, "db.legacy.consul. A", "; NOERROR\n db.legacy.consul. 60 IN A 10.0.1.1"},
		{"has a SOA of its own", v, "x.legacy.consul. A", "; NXDOMAIN: no name x.legacy.consul. is in the file of legacy.consul.\n ; authority\n legacy.consul. 30 IN SOA ns1.legacy.consul. hostmaster.legacy.consul. 100 3600 600 86400 30"},
	})
	shadowed := make(map[string]bool)
	for _, name := range z.Shadowed(v) {
		shadowed[name] = true
	}
	if diff := cmp.Diff([]string{"foo.node.consul.", "ns.consul.", "web.service.consul."}, slices.Sorted(maps.Keys(shadowed))); diff != "" {
		t.Errorf("names that the registry has, too (-want +got):\n%s", diff)
	}
}

func TestInAReverseZoneRegisteredAddressesWin(t *testing.T) {
	z := with(t, Config{Zones: []string{"consul."}, Files: []*static.File{
		file(t, "10.in-addr.arpa.", "1.0.0 PTR router.example.\n2.0.0 PTR old.example.\n"),
		file(t, "2.0.192.in-addr.arpa.", "1 PTR public.example.\n"),
	}})
	v := view(node("foo", "10.0.0.2"), node("bar", "192.0.2.7"))
	check(t, z, []row{
		{"what the file has", v, "1.0.0.10.in-addr.arpa. PTR", "; NOERROR\n 1.0.0.10.in-addr.arpa. 60 IN PTR router.example."},
		{"what both have", v, "2.0.0.10.in-addr.arpa. PTR", "; NOERROR\n 2.0.0.10.in-addr.arpa. 5 IN PTR foo.node.dc1.consul."},
		{"what none has", v, "3.0.0.10.in-addr.arpa. PTR", "; NXDOMAIN: no name 3.0.0.10.in-addr.arpa. is in the file of 10.in-addr.arpa.\n ; authority\n 10.in-addr.arpa. 30 IN SOA ns1.10.in-addr.arpa. hostmaster.10.in-addr.arpa. 100 3600 600 86400 30"},
		{"the file's SOA", v, "10.in-addr.arpa. SOA", "; NOERROR\n 10.in-addr.arpa. 60 IN SOA ns1.10.in-addr.arpa. hostmaster.10.in-addr.arpa. 100 3600 600 86400 30"},
		{"a public network", v, "1.2.0.192.in-addr.arpa. PTR", "; NOERROR\n 1.2.0.192.in-addr.arpa. 60 IN PTR public.example."},
		{"and a node in it", v, "7.2.0.192.in-addr.arpa. PTR", "; NOERROR\n 7.2.0.192.in-addr.arpa. 5 IN PTR bar.node.dc1.consul."},
	})
}

func TestOneZoneHasOneFile(t *testing.T) {
	_, err := New(Config{Zones: []string{"consul."}, Files: []*static.File{file(t, "corp.example.", ""), file(t, "CORP.example.", "")}})
	if err == nil || !strings.HasPrefix(err.Error(), "zone corp.example. has two files, ") {
		t.Error(err)
	}
}

// TestAnAnswerFromAFileIsKeptUntilTheFileChanges holds what may be kept to the
// stamp of its reading.
func TestAnAnswerFromAFileIsKeptUntilTheFileChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := file(t, "corp.example.", "www CNAME web\nweb A 10.0.0.1\n*.wild A 10.0.0.2\nshop CNAME web.service.consul.\n")
		z := with(t, Config{Zones: []string{"consul."}, Files: []*static.File{f}})
		v := view(node("foo", "127.0.0.1"), instance("web", at("10.1.0.1")), instance("gate", at("web.corp.example")))
		kept := make(map[string]*Answer)
		for ask, want := range map[string]bool{
			"web.corp.example. A": true, "www.corp.example. A": true, "web.corp.example. TXT": true, "corp.example. SOA": true,
			"x.wild.corp.example. A": false, "shop.corp.example. A": false, "x.corp.example. A": false,
			"web.service.consul. A": true, "gate.service.consul. A": false, "gate.service.consul. SRV": false,
		} {
			a := z.Resolve(v, question(t, ask))
			if a.Cacheable != want {
				t.Errorf("%s: may be kept: %v, want %v", ask, a.Cacheable, want)
			}
			if a.Cacheable && strings.Contains(ask, "corp") {
				kept[ask] = a
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = f.Run(ctx, func() {}) }()
		text := "$TTL 60\n@ SOA ns1 hostmaster 101 3600 600 86400 30\n@ NS ns1\nns1 A 10.9.0.1\nweb A 10.0.0.9\n"
		if err := os.WriteFile(f.Path(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for ask, a := range kept {
			if a.Stamp.Current() {
				t.Errorf("%s: the file has changed, and the answer is still current", ask)
			}
		}
		if got := render(z.Resolve(v, question(t, "web.corp.example. A"))); got != "; NOERROR\nweb.corp.example. 60 IN A 10.0.0.9\n" {
			t.Error(got)
		}
	})
}
