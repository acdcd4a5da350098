package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
	"github.com/rollcall-dns/rollcall/zones/dnssec"
)

// These tests ask a signed rollcall with programs that validate.

const corpFile = `$TTL 60
@      SOA ns hostmaster 1 3600 600 86400 30
@      NS ns
ns     A 127.0.0.1
a      A 192.0.2.1
www    CNAME a
gone   CNAME nothing
ours   CNAME web.service.rollcall.internal.
*.any  A 192.0.2.2
old    DNAME new
x.new  A 192.0.2.3
sub    NS ns.sub
ns.sub A 192.0.2.4
`

// newSignedPlace returns a place whose zones are signed, and their keys.
func newSignedPlace(t *testing.T, program string) (*place, map[string]*dnssec.Key) {
	t.Helper()
	requireProgram(t, program)
	dir, keys, list := t.TempDir(), make(map[string]*dnssec.Key), []*dnssec.Key(nil)
	for _, zone := range []string{"rollcall.internal.", "corp.example.", "10.in-addr.arpa."} {
		key, err := writeKey(zone, dir)
		if err != nil {
			t.Fatal(err)
		}
		keys[zone], list = key, append(list, key)
	}
	p := placeAt(t, start(t, signedSettings(t, list, "rollcall.internal.")))
	put(t, p.api()+"/v1/agent/service/register", object{"Name": "ten", "Port": 80, "Address": "10.1.2.3"})
	put(t, p.api()+"/v1/agent/service/register", object{"Name": "alias", "Port": 80, "Address": "www.corp.example"})
	put(t, p.api()+"/v1/agent/service/register", object{"Name": "ill", "Port": 80, "Check": object{"TTL": "1h", "Status": "critical"}})
	return p, keys
}

// signedSettings are those of a server with keys, and with the file of corp.example.
func signedSettings(t *testing.T, keys []*dnssec.Key, zones ...string) *settings {
	t.Helper()
	file := filepath.Join(t.TempDir(), "corp.zone")
	if err := os.WriteFile(file, []byte(corpFile), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := openZoneFiles([]string{"corp.example=" + file}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &settings{
		dnsAddrs: []string{"127.0.0.1:0"}, adminAddr: "127.0.0.1:0", zones: zones, zoneFiles: files, keys: keys,
		dataDir: t.TempDir(), datacenter: "dc1", node: "host-1", nodeAddress: "127.0.0.1",
		ttl: 5 * time.Second, negativeTTL: 5 * time.Second, maxAnswers: 100, logger: slog.New(slog.DiscardHandler),
	}
}

// anchor returns a key as BIND's configuration has it.
func anchor(zone string, key *dnssec.Key) string {
	fields := strings.Fields(key.DNSKEY().String())
	return fmt.Sprintf("trust-anchors { %q static-key 257 3 13 %q; };\n", zone, strings.Join(fields[7:], ""))
}

func TestDelvValidatesEveryKindOfAnswer(t *testing.T) {
	p, keys := newSignedPlace(t, "delv")
	for i := range 30 {
		p.register(fmt.Sprint("web-", 2+i), 9000+i)
	}
	for _, row := range []struct{ zone, name, qtype, want string }{
		{"rollcall.internal.", "web.service.rollcall.internal", "SRV", "fully validated"},
		{"rollcall.internal.", "wEb.SERVICE.rollcall.internal", "A", "fully validated"},
		{"rollcall.internal.", "_web._tcp.rollcall.internal", "PTR", "fully validated"},
		{"rollcall.internal.", "host-1.node.rollcall.internal", "A", "fully validated"},
		{"rollcall.internal.", "rollcall.internal", "SOA", "fully validated"},
		{"rollcall.internal.", "rollcall.internal", "NS", "fully validated"},
		{"rollcall.internal.", "rollcall.internal", "DNSKEY", "fully validated"},
		{"rollcall.internal.", "rollcall.internal", "CDS", "fully validated"},
		{"rollcall.internal.", "rollcall.internal", "MX", "negative response, fully validated"},
		{"rollcall.internal.", "web.service.rollcall.internal", "AAAA", "negative response, fully validated"},
		{"rollcall.internal.", "ill.service.rollcall.internal", "A", "negative response, fully validated"},
		{"rollcall.internal.", "wbe.service.rollcall.internal", "SRV", "negative response, fully validated"},
		{"rollcall.internal.", "service.rollcall.internal", "A", "negative response, fully validated"},
		{"corp.example.", "a.corp.example", "A", "fully validated"},
		{"corp.example.", "www.corp.example", "A", "fully validated"},
		{"corp.example.", "www.corp.example", "TXT", "fully validated"},
		{"corp.example.", "gone.corp.example", "A", "fully validated"},
		{"corp.example.", "p.q.any.corp.example", "A", "fully validated"},
		{"corp.example.", "p.q.any.corp.example", "TXT", "negative response, fully validated"},
		{"corp.example.", "x.old.corp.example", "A", "fully validated"},
		{"corp.example.", "nothing.corp.example", "A", "negative response, fully validated"},
		{"corp.example.", "sub.corp.example", "DS", "negative response, fully validated"},
		{"10.in-addr.arpa.", "3.2.1.10.in-addr.arpa", "PTR", "fully validated"},
		{"10.in-addr.arpa.", "4.2.1.10.in-addr.arpa", "PTR", "negative response, fully validated"},
		{"10.in-addr.arpa.", "1.10.in-addr.arpa", "PTR", "negative response, fully validated"},
	} {
		file := p.write("anchor", anchor(row.zone, keys[row.zone]))
		if out := p.delv(file, row.zone, row.name, row.qtype); !strings.Contains(out, "; "+row.want+"\n") {
			t.Errorf("%s %s:\n%s", row.name, row.qtype, out)
		}
	}
	other, err := dnssec.Generate("rollcall.internal.")
	if err != nil {
		t.Fatal(err)
	}
	file := p.write("anchor", anchor("rollcall.internal.", other))
	if out := p.delv(file, "rollcall.internal.", "web.service.rollcall.internal", "SRV"); strings.Contains(out, "validated") {
		t.Errorf("with another key:\n%s", out)
	}
}

// TestThePagesCommandsMakeAKeyThatDelvTrusts runs the commands of
// docs/integrations/dnssec.md: keygen, and delv with the key as the page's BIND has it.
func TestThePagesCommandsMakeAKeyThatDelvTrusts(t *testing.T) {
	p := newPlace(t, "delv")
	sh := func(command string) string {
		child := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(command, "/etc/rollcall", p.dir))
		child.Dir = p.dir
		out, err := child.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	ds := sh(p.boxes("dnssec.md")[0])
	files, err := filepath.Glob(filepath.Join(p.dir, "Krollcall.internal.+013+*.private"))
	if err != nil || len(files) != 1 {
		t.Fatalf("there are %q: %v\n%s", files, err, ds)
	}
	key, err := dnssec.ReadKey(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if want := key.DS().Digest; !strings.Contains(ds, strings.ToUpper(want)) {
		t.Errorf("keygen printed %s, and the digest is %s", ds, want)
	}
	signed := placeAt(t, start(t, signedSettings(t, []*dnssec.Key{key}, "rollcall.internal.")))
	boxes := signed.boxes("dnssec.md")
	public := strings.Join(strings.Fields(key.DNSKEY().String())[7:], "")
	trust, _, _ := strings.Cut(boxes[2], "\n\n")
	p.write("anchor", strings.Replace(trust, `"KEY"`, `"`+public+`"`, 1)+"\n")
	if out := sh(boxes[3]); !strings.Contains(out, "; fully validated\n") || !strings.Contains(out, "SRV") {
		t.Errorf("delv said\n%s", out)
	}
}

// TestAZoneBelowOneOfOursNeedsNoAnchorOfItsOwn has zones of services in the zone of
// a file, which has no word of them.
func TestAZoneBelowOneOfOursNeedsNoAnchorOfItsOwn(t *testing.T) {
	requireProgram(t, "delv")
	dir := t.TempDir()
	above, err := writeKey("corp.example.", dir)
	if err != nil {
		t.Fatal(err)
	}
	below, err := writeKey("safe.corp.example.", dir)
	if err != nil {
		t.Fatal(err)
	}
	p := placeAt(t, start(t, signedSettings(t, []*dnssec.Key{above, below}, "safe.corp.example.", "open.corp.example.")))
	key := p.write("anchor", anchor("corp.example.", above))
	for _, row := range []struct{ name, qtype, want string }{
		{"safe.corp.example", "DS", "fully validated"},
		{"rollcall.service.safe.corp.example", "SRV", "fully validated"},
		{"wbe.service.safe.corp.example", "SRV", "negative response, fully validated"},
		{"open.corp.example", "DS", "negative response, fully validated"},
		{"rollcall.service.open.corp.example", "SRV", "unsigned answer"},
	} {
		if out := p.delv(key, "corp.example.", row.name, row.qtype); !strings.Contains(out, "; "+row.want+"\n") {
			t.Errorf("%s %s:\n%s", row.name, row.qtype, out)
		}
	}
}

func (p *place) delv(anchor, zone, name, qtype string) string {
	p.Helper()
	port := fmt.Sprint(p.server.dns.Addrs()[0].Port())
	out, _ := exec.CommandContext(p.Context(), "delv", "@127.0.0.1", "-p", port, "-a", anchor, "+root="+zone, name, qtype).CombinedOutput()
	return string(out)
}

// TestUnboundValidates starts unbound with the box of docs/integrations/dnssec.md.
func TestUnboundValidates(t *testing.T) {
	p, keys := newSignedPlace(t, "unbound")
	other, err := dnssec.Generate("rollcall.internal.")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		key  *dnssec.Key
		good bool
	}{{keys["rollcall.internal."], true}, {other, false}} {
		port := free(t)
		file := p.write(fmt.Sprint(port, ".key"), row.key.DNSKEY().String()+"\n")
		box := strings.Replace(p.boxes("dnssec.md")[1], "/etc/rollcall/Krollcall.internal.key", file, 1)
		config := fmt.Sprintf("server:\n  interface: 127.0.0.1@%d\n  port: %d\n  username: \"\"\n  chroot: \"\"\n  directory: %q\n  pidfile: \"\"\n"+
			"  use-syslog: no\n  do-ip6: no\n  qname-minimisation-strict: yes\n  use-caps-for-id: yes\n  harden-below-nxdomain: yes\n  aggressive-nsec: yes\n", port, port, p.dir)
		p.start("unbound", "-d", "-c", p.write(fmt.Sprint(port, ".conf"), config+box))
		p.validates(port, row.good)
	}
}

// TestBINDValidates does the same with BIND.
func TestBINDValidates(t *testing.T) {
	p, keys := newSignedPlace(t, "named")
	other, err := dnssec.Generate("rollcall.internal.")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		key  *dnssec.Key
		good bool
	}{{keys["rollcall.internal."], true}, {other, false}} {
		port := free(t)
		fields := strings.Fields(row.key.DNSKEY().String())
		box := strings.Replace(p.boxes("dnssec.md")[2], `"KEY"`, `"`+strings.Join(fields[7:], "")+`"`, 1)
		config := fmt.Sprintf("options { directory %q; pid-file none; session-keyfile none; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };\n"+
			"empty-zones-enable no; dnssec-validation yes; };\ncontrols { };\n%s", p.dir, port, box)
		p.start("named", "-g", "-c", p.write(fmt.Sprint(port, ".conf"), config))
		p.validates(port, row.good)
	}
}

// validates waits until a resolver on a port answers, and asks for what is there and
// what is not: with AD, or not at all where it trusts another key.
func (p *place) validates(port int, good bool) {
	p.Helper()
	ask := func(name string, qtype uint16) *dns.Msg {
		m := new(dns.Msg).SetQuestion(name, qtype)
		m.AuthenticatedData = true
		reply, _, err := (&dns.Client{Timeout: 4 * time.Second}).Exchange(m, fmt.Sprint("127.0.0.1:", port))
		if err == nil && reply.Truncated {
			reply, _, err = (&dns.Client{Net: "tcp", Timeout: 4 * time.Second}).Exchange(m, fmt.Sprint("127.0.0.1:", port))
		}
		if err != nil {
			return nil
		}
		return reply
	}
	for n := range 120 { // more than are given, and more than fit in a datagram
		put(p.T, p.api()+"/v1/agent/service/register", object{"ID": fmt.Sprint("big-", n), "Name": "big", "Port": 80, "Address": fmt.Sprintf("10.0.0.%d", n)})
	}
	consultest.Eventually(p, 20*time.Second, "the resolver answers", func() bool { return ask("rollcall.internal.", dns.TypeSOA) != nil })
	for _, row := range []struct {
		name    string
		qtype   uint16
		records int
	}{
		{"web.service.rollcall.internal.", dns.TypeSRV, 1}, {"web.service.rollcall.internal.", dns.TypeA, 1}, {"rollcall.internal.", dns.TypeSOA, 1},
		{"big.service.rollcall.internal.", dns.TypeA, 100}, {"big.service.rollcall.internal.", dns.TypeSRV, 100},
		{"web.service.rollcall.internal.", dns.TypeAAAA, 0}, {"web.service.rollcall.internal.", dns.TypeMX, 0}, {"ill.service.rollcall.internal.", dns.TypeA, 0},
		{"wbe.service.rollcall.internal.", dns.TypeA, 0}, {"nothing.at.all.rollcall.internal.", dns.TypeSRV, 0}, {"service.rollcall.internal.", dns.TypeA, 0},
	} {
		reply := ask(row.name, row.qtype)
		switch {
		case reply == nil:
			p.Errorf("%s %s: no reply", row.name, dns.Type(row.qtype))
		case !good && reply.Rcode != dns.RcodeServerFailure:
			p.Errorf("with another key:\n%v", reply)
		case good && (reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError || !reply.AuthenticatedData || len(reply.Answer) != row.records):
			p.Errorf("%s %s:\n%v", row.name, dns.Type(row.qtype), reply)
		}
	}
}
