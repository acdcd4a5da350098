package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// These tests start rollcall and a secondary as programs of their own, with the
// very boxes of docs/integrations/secondaries.md.

// The boxes, in their order.
const (
	boxKey = iota
	boxRollcall
	boxBIND
	boxNSD
	boxKnot
)

// primary is a rollcall that hands its zone on, and what a secondary needs for it.
type primary struct {
	*place
	dnsAddr, secondary socketAddr // where rollcall and the secondary answer, which BIND only does on an interface's own address
	secret             string
	child              *exec.Cmd
	url                string
}

// socketAddr is an address with its port.
type socketAddr struct{ host, port string }

func freeAddr() socketAddr {
	host, port, _ := net.SplitHostPort(freePort())
	return socketAddr{host, port}
}

func (a socketAddr) String() string { return net.JoinHostPort(a.host, a.port) }

func newPrimary(t *testing.T, program string) *primary {
	t.Helper()
	needs(t, program)
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	p := &primary{
		place:   &place{T: t, dir: t.TempDir()},
		dnsAddr: freeAddr(), secondary: socketAddr{"127.0.0.1", strconv.Itoa(free(t))}, secret: base64.StdEncoding.EncodeToString(secret),
	}
	p.url = "http://" + freePort()
	if err := os.Chmod(p.write("transfer.key", p.box(boxKey, p.secret)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.write("rollcall.yaml", p.box(boxRollcall, p.secret))
	p.start()
	return p
}

// box returns a box of the page, with this test's addresses and a secret.
func (p *primary) box(n int, secret string) string {
	p.Helper()
	text, err := os.ReadFile("../../docs/integrations/secondaries.md")
	if err != nil {
		p.Fatal(err)
	}
	boxes := regexp.MustCompile("(?ms)^```[a-z]+\n(.*?)^```").FindAllStringSubmatch(string(text), -1)
	return strings.NewReplacer(
		"127.0.0.1:5300", p.dnsAddr.String(), "127.0.0.1@5300", p.dnsAddr.host+"@"+p.dnsAddr.port,
		"127.0.0.1 port 5300", p.dnsAddr.host+" port "+p.dnsAddr.port, "127.0.0.1:5301", p.secondary.String(),
		"allow-notify: 127.0.0.1", "allow-notify: "+p.dnsAddr.host, "address: 127.0.0.1\n", "address: "+p.dnsAddr.host+"\n",
		"/etc/rollcall", p.dir, "BASE64", secret,
	).Replace(boxes[n][1])
}

// start starts rollcall, or starts it anew.
func (p *primary) start() {
	p.Helper()
	path, err := exec.LookPath("rollcall")
	if err != nil {
		p.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(p.dir, "rollcall.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.Fatal(err)
	}
	defer log.Close()
	p.child = exec.Command(path, "serve", "--config", filepath.Join(p.dir, "rollcall.yaml"), "--admin-addr", strings.TrimPrefix(p.url, "http://"),
		"--data-dir", filepath.Join(p.dir, "state"), "--node", "host-1", "--log-level", "debug")
	p.child.Stdout, p.child.Stderr = log, log
	if err := p.child.Start(); err != nil {
		p.Fatal(err)
	}
	child := p.child
	p.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
		if text, _ := os.ReadFile(filepath.Join(p.dir, "rollcall.log")); p.Failed() {
			p.Logf("rollcall said:\n%.8000s", text)
		}
	})
	consultest.Eventually(p, 10*time.Second, "rollcall is ready", func() bool {
		response, err := http.Get(p.url + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

func (p *primary) register(id, address string) {
	p.Helper()
	put(p.T, p.url+"/v1/agent/service/register", object{"ID": id, "Name": "web", "Tags": []string{"v1"}, "Port": 80, "Address": address})
}

// metrics returns all of rollcall's.
func (p *primary) metrics() string {
	p.Helper()
	response, err := http.Get(p.url + "/metrics")
	if err != nil {
		p.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return string(text)
}

// measure returns one of them.
func (p *primary) measure(name string) int {
	p.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\d+)$`).FindStringSubmatch(p.metrics())
	if found == nil {
		p.Fatalf("there is no %s", name)
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

// askAt asks a server, and returns an empty reply where there is none.
func askAt(server socketAddr, name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name, qtype)
	reply, _, err := (&dns.Client{Timeout: time.Second}).Exchange(m, server.String())
	if err != nil {
		return new(dns.Msg)
	}
	return reply
}

func serialAt(server socketAddr) uint32 {
	for _, rr := range askAt(server, "rollcall.internal.", dns.TypeSOA).Answer {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa.Serial
		}
	}
	return 0
}

// A secondary is a program that the page has a box for.
type secondary struct {
	program string
	box     int
	config  func(p *primary) string // what else its configuration needs
	args    []string                // the configuration's name comes behind them
}

var secondaries = map[string]secondary{
	"BIND": {"named", boxBIND, func(p *primary) string {
		return fmt.Sprintf("options { directory %q; pid-file none; session-keyfile none; listen-on port %s { %s; }; listen-on-v6 { none; };\n"+
			"empty-zones-enable no; recursion no; dnssec-validation no; notify no; zero-no-soa-ttl no; };\ncontrols { };\n", p.dir, p.secondary.port, p.secondary.host)
	}, []string{"-g", "-c"}},
	"NSD": {"nsd", boxNSD, func(p *primary) string {
		return fmt.Sprintf("server:\n  ip-address: %s@%s\n  username: \"\"\n  chroot: \"\"\n  zonesdir: %q\n  pidfile: \"\"\n  database: \"\"\n  xfrdfile: \"xfrd.state\"\n"+
			"  xfrdir: %q\n  zonelistfile: \"zone.list\"\n  cookie-secret-file: \"\"\n  verbosity: 2\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n", p.secondary.host, p.secondary.port, p.dir, p.dir)
	}, []string{"-d", "-c"}},
	"Knot": {"knotd", boxKnot, func(p *primary) string {
		return fmt.Sprintf("server:\n    listen: %s@%s\n    rundir: %q\ndatabase:\n    storage: %q\nlog:\n  - target: stderr\n    any: info\n"+
			"template:\n  - id: default\n    storage: %q\n", p.secondary.host, p.secondary.port, p.dir, p.dir, p.dir)
	}, []string{"-c"}},
}

func (p *primary) follow(s secondary, secret string) {
	p.Helper()
	p.place.start(s.program, append(s.args, p.write("secondary.conf", s.config(p)+p.box(s.box, secret)))...)
}

func TestASecondaryFollows(t *testing.T) {
	for name, s := range secondaries {
		t.Run(name, func(t *testing.T) {
			p := newPrimary(t, s.program)
			p.register("web-1", "10.0.0.1")
			p.follow(s, p.secret)
			finds := func(addresses int) func() bool {
				return func() bool {
					return len(askAt(p.secondary, "web.service.rollcall.internal.", dns.TypeA).Answer) == addresses
				}
			}
			consultest.Eventually(t, 20*time.Second, "the secondary has the zone", finds(1))

			start := time.Now()
			p.register("web-2", "10.0.0.2")
			consultest.Eventually(t, 2*time.Second, "the secondary has what was registered", finds(2))
			t.Logf("a registration was found on the secondary after %v", time.Since(start).Round(time.Millisecond))
			if p.measure(`rollcall_transfer_replies_total{kind="ixfr"}`) == 0 {
				t.Error("it got the zone as a whole, and not what had changed")
			}
			if whole := p.measure(`rollcall_transfer_replies_total{kind="axfr"}`); whole != 1 {
				t.Errorf("it got the zone as a whole %d times", whole)
			}
			p.compare()

			put(t, p.url+"/v1/agent/service/deregister/web-1", nil)
			consultest.Eventually(t, 4*time.Second, "the secondary has lost what was deregistered", finds(1))
			p.restart()
			p.register("web-3", "10.0.0.3")
			consultest.Eventually(t, 4*time.Second, "the secondary has what was registered after a restart", finds(2))
			p.compare()
			of := fmt.Sprintf(`{secondary=%q,zone="rollcall.internal."} `, p.secondary)
			consultest.Eventually(t, 15*time.Second, "rollcall knows that the secondary follows", func() bool {
				text := p.metrics()
				return strings.Contains(text, "rollcall_transfer_secondary_reachable"+of+"1\n") && strings.Contains(text, "rollcall_transfer_secondary_behind_seconds"+of+"0\n")
			})
		})
	}
}

// restart ends rollcall and starts it again: the serial must not fall.
func (p *primary) restart() {
	p.Helper()
	before := serialAt(p.dnsAddr)
	_ = p.child.Process.Signal(os.Interrupt)
	_ = p.child.Wait()
	p.start()
	if after := serialAt(p.dnsAddr); int32(after-before) < 0 {
		p.Errorf("after a restart the serial is %d, before it was %d", after, before)
	}
}

// compare asks rollcall and the secondary the same.
func (p *primary) compare() {
	p.Helper()
	consultest.Eventually(p, 4*time.Second, "the secondary has rollcall's serial", func() bool { return serialAt(p.dnsAddr) == serialAt(p.secondary) })
	for _, question := range []struct {
		name  string
		qtype uint16
	}{
		{"", dns.TypeSOA}, {"", dns.TypeNS}, {"ns.", dns.TypeA}, {"web.service.", dns.TypeA}, {"web.service.", dns.TypeSRV}, {"web.service.dc1.", dns.TypeSRV},
		{"v1.web.service.", dns.TypeSRV}, {"_web._tcp.", dns.TypeSRV}, {"_web._tcp.", dns.TypePTR}, {"_web._v1.service.", dns.TypeSRV}, {"host-1.node.", dns.TypeA},
		{"0a000002.addr.dc1.", dns.TypeA}, {"_services._dns-sd._udp.", dns.TypePTR}, {"web-2._web._tcp.", dns.TypeSRV}, {"web-2._web._tcp.", dns.TypeTXT},
		{"service.", dns.TypeA}, {"wbe.service.", dns.TypeA}, {"web.service.", dns.TypeAAAA},
	} {
		name := question.name + "rollcall.internal."
		ours, theirs := askAt(p.dnsAddr, name, question.qtype), askAt(p.secondary, name, question.qtype)
		if a, b := recordsOf(ours), recordsOf(theirs); a != b || ours.Rcode != theirs.Rcode {
			p.Errorf("%s %s: rollcall says %s %s\nand the secondary %s %s", name, dns.TypeToString[question.qtype],
				dns.RcodeToString[ours.Rcode], a, dns.RcodeToString[theirs.Rcode], b)
		}
	}
}

func recordsOf(m *dns.Msg) string {
	var lines []string
	for _, rr := range m.Answer {
		lines = append(lines, strings.ToLower(rr.String()))
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}

func TestASecondaryWithAnotherSecretGetsNothing(t *testing.T) {
	for name, s := range secondaries {
		t.Run(name, func(t *testing.T) {
			p := newPrimary(t, s.program)
			p.follow(s, base64.StdEncoding.EncodeToString(make([]byte, 32)))
			consultest.Eventually(t, 20*time.Second, "the secondary was refused", func() bool {
				return p.measure(`rollcall_transfer_bad_signatures_total{error="BADSIG"}`) > 0
			})
			if n := p.measure(`rollcall_transfer_replies_total{kind="axfr"}`); n != 0 || serialAt(p.secondary) != 0 {
				t.Errorf("it got the zone, %d times", n)
			}
		})
	}
}

// TestASecondaryAnswersEveryNameAsTheZone asks rollcall and its secondary for every
// name that the zone has, for those that it has above them, and for one below each
// that nobody has registered, for all kinds of records.
func TestASecondaryAnswersEveryNameAsTheZone(t *testing.T) {
	for name, s := range secondaries {
		t.Run(name, func(t *testing.T) {
			p := newPrimary(t, s.program)
			for n := range 40 {
				put(p.T, p.url+"/v1/agent/service/register", object{
					"ID": fmt.Sprint("id-", n), "Name": fmt.Sprint("svc-", n%8), "Port": 1000 + n, "Tags": []string{"v1", fmt.Sprint("t", n%3)},
					"Address": []string{fmt.Sprintf("10.0.0.%d", n), fmt.Sprintf("2001:db8::%x", n), "", "www.example.com"}[n/2%4], "Meta": object{"n": fmt.Sprint(n)},
				})
			}
			p.follow(s, p.secret)
			consultest.Eventually(t, 20*time.Second, "the secondary has the zone", func() bool { return serialAt(p.secondary) != 0 })
			consultest.Eventually(t, 10*time.Second, "the secondary has rollcall's serial", func() bool { return serialAt(p.dnsAddr) == serialAt(p.secondary) })
			asked, differ, meant := 0, 0, make(map[string]int)
			for _, name := range p.names() {
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypePTR, dns.TypeNS, dns.TypeSOA, dns.TypeCNAME, dns.TypeSVCB, dns.TypeHTTPS, dns.TypeMX} {
					ours, theirs := wholeOf(t, p.dnsAddr, name, qtype), wholeOf(t, p.secondary, name, qtype)
					asked++
					if ours == theirs {
						continue
					}
					if why := secondaryMeansIt(name, ours, theirs); why != "" {
						meant[why]++
						continue
					}
					if differ++; differ <= 10 {
						t.Errorf("%s %s\nrollcall says      %s\nthe secondary says %s", name, dns.Type(qtype), ours, theirs)
					}
				}
			}
			t.Logf("%d questions: %d others, and differences that are meant: %v", asked, differ, meant)
		})
	}
}

// secondaryMeansIt says why a difference from a secondary is meant. A name that has an
// alias has nothing else in a zone, where rollcall answers each question as it is best.
func secondaryMeansIt(_, ours, theirs string) string {
	const alias = "\tin\tcname\twww.example.com."
	if strings.Contains(ours, alias) != strings.Contains(theirs, alias) && strings.HasPrefix(ours, "NOERROR aa=true") && strings.HasPrefix(theirs, "NOERROR aa=true") {
		return "an alias, and what cannot be beside it"
	}
	return ""
}

// names returns the names to ask for.
func (p *primary) names() []string {
	p.Helper()
	m := new(dns.Msg).SetAxfr("rollcall.internal.")
	m.SetTsig("transfer.", dns.HmacSHA256, 300, time.Now().Unix())
	messages, err := (&dns.Transfer{TsigSecret: map[string]string{"transfer.": p.secret}}).In(m, p.dnsAddr.String())
	if err != nil {
		p.Fatal(err)
	}
	names := make(map[string]bool)
	for message := range messages {
		if message.Error != nil {
			p.Fatal(message.Error)
		}
		for _, rr := range message.RR {
			for name := dns.CanonicalName(rr.Header().Name); dns.IsSubDomain("rollcall.internal.", name); {
				names[name], names["nobody."+name] = true, true
				_, name, _ = strings.Cut(name, ".")
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// wholeOf asks over TCP, and returns what is compared.
func wholeOf(t *testing.T, server socketAddr, name string, qtype uint16) string {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.RecursionDesired = false
	reply, _, err := (&dns.Client{Net: "tcp", Timeout: 5 * time.Second}).Exchange(m, server.String())
	if err != nil {
		t.Fatal(err)
	}
	denial := ""
	if len(reply.Answer) == 0 && len(reply.Ns) == 1 {
		denial = strings.ToLower(reply.Ns[0].String())
	}
	return fmt.Sprintf("%s aa=%v %s %s", dns.RcodeToString[reply.Rcode], reply.Authoritative, recordsOf(reply), denial)
}
