package health

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
)

// guarded returns a Runner, and a check of an instance at 192.0.2.10 on a node
// at 192.0.2.1.
func guarded(t *testing.T, config Config) (*Runner, *registry.Check) {
	t.Helper()
	reg, err := embedded.Open(t.Context(), embedded.Config{Node: registry.Node{Name: "n1", Address: "192.0.2.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close() })
	err = reg.Register(t.Context(), registry.Registration{
		Instance: &registry.Instance{Service: "web", Address: "192.0.2.10", Port: 80,
			TaggedAddresses: map[string]registry.TaggedAddress{"lan_ipv6": {Address: "2001:db8::10"}}},
		Checks: []registry.Check{{ID: "c", Definition: &registry.Definition{TTL: time.Hour}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	config.Registry = reg
	return New(config), reg.View().Check("n1", "c")
}

func TestWhereChecksMayGo(t *testing.T) {
	r, c := guarded(t, Config{Allow: prefixes("10.0.0.0/8", "127.0.0.0/8"), Forbidden: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:5380"), netip.MustParseAddrPort("127.0.0.1:5300")}})
	for address, want := range map[string]string{
		"192.0.2.10:80":                 "",
		"[::ffff:192.0.2.10]:80":        "",
		"192.0.2.1:80":                  "",
		"[2001:db8::10]:80":             "",
		"10.9.9.9:80":                   "",
		"127.0.0.1:80":                  "",
		"127.0.0.1:5380":                "own endpoints",
		"[::ffff:127.0.0.1]:5380":       "own endpoints",
		"127.0.0.1:5300":                "own endpoints",
		"127.0.0.2:5300":                "", // which is another's
		"[64:ff9b::10.9.9.9]:80":        "--check-allow",
		"[64:ff9b::127.0.0.1]:80":       "no check may go",
		"[64:ff9b::a9fe:a9fe]:80":       "no check may go",
		"[64:ff9b:1::a9fe:a9fe]:80":     "no check may go",
		"[2002:a9fe:a9fe::1]:80":        "no check may go",
		"[::169.254.169.254]:80":        "no check may go",
		"[::ffff:0:169.254.169.254]:80": "no check may go",
		"[::127.0.0.1]:80":              "no check may go",
		"100.100.100.200:80":            "no check may go",
		"168.63.129.16:80":              "no check may go",
		"192.0.0.192:80":                "no check may go",
		"[fd20:ce::254]:80":             "no check may go",
		"[fe80::a9fe:a9fe%lo]:80":       "no check may go",
		"169.254.170.2:80":              "no check may go",
		"192.0.2.11:80":                 "--check-allow",
		"8.8.8.8:53":                    "--check-allow",
		"[2001:db8::11]:80":             "--check-allow",
		"169.254.169.254:80":            "no check may go",
		"[::ffff:169.254.169.254]:80":   "no check may go",
		"[fe80::1]:80":                  "no check may go",
		"[fd00:ec2::254]:80":            "no check may go",
		"0.0.0.0:80":                    "no check may go",
		"[::]:80":                       "no check may go",
		"224.0.0.1:80":                  "no check may go",
		"[ff02::1]:80":                  "no check may go",
		"255.255.255.255:80":            "no check may go",
	} {
		err := r.permit(c, netip.MustParseAddrPort(address))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}

func TestACheckUnderTheNameThatIsRegistered(t *testing.T) {
	r, c := guarded(t, Config{})
	err := r.config.Registry.Register(t.Context(), registry.Registration{Instance: &registry.Instance{Service: "web", Address: "Api.example.com", Port: 443}})
	if err != nil {
		t.Fatal(err)
	}
	check := *c
	check.Definition = &registry.Definition{HTTP: "https://api.example.com/health", Interval: time.Second}
	if err := r.permit(&check, netip.MustParseAddrPort("198.51.100.1:443")); err != nil {
		t.Error(err)
	}
	if err := r.permit(&check, netip.MustParseAddrPort("169.254.169.254:443")); err == nil {
		t.Error("a name leads to where no check may go")
	}
	check.Definition.HTTP = "https://other.example.com/health"
	if err := r.permit(&check, netip.MustParseAddrPort("198.51.100.1:443")); err == nil {
		t.Error("another name leads there, too")
	}
}

// TestLoopbackIsOnlyWhoseAddressItIs registers instances that may go nowhere but to
// themselves: what leads to loopback without saying so does not get there.
func TestLoopbackIsOnlyWhoseAddressItIs(t *testing.T) {
	r, c := guarded(t, Config{})
	err := r.config.Registry.Register(t.Context(), registry.Registration{Node: registry.Node{Name: "n1", Address: "127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort("127.0.0.1:80")
	for address, own := range map[string]bool{"192.0.2.10": false, "": false, "localhost": false, "rebind.example.com": false, "127.0.0.2": false, "127.0.0.1": true} {
		if err := r.config.Registry.Register(t.Context(), registry.Registration{Instance: &registry.Instance{Service: "web", Address: address, Port: 80}}); err != nil {
			t.Fatal(err)
		}
		check := *c
		check.Definition = &registry.Definition{HTTP: "http://" + cmp.Or(address, "localhost") + "/", Interval: time.Second}
		if err := r.permit(&check, to); (err == nil) != own {
			t.Errorf("an instance at %q: %v", address, err)
		}
	}
}

// TestHostileTargets probes a listener on loopback under every name there is for
// it, from a Runner that may not: nobody must ever connect, and no datagram come.
func TestHostileTargets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	datagrams, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	reached := countReached(l, datagrams)
	port := l.Addr().(*net.TCPAddr).Port
	redirect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Path[1:])
		http.Redirect(w, r, fmt.Sprintf("http://127.0.0.1:%d/", port), status)
	}))
	defer redirect.Close()
	target := netip.MustParseAddrPort(redirect.Listener.Addr().String())
	t.Setenv("HTTP_PROXY", "http://"+l.Addr().String())
	t.Setenv("HTTPS_PROXY", "http://"+l.Addr().String())

	names := everyNameLeadsToLoopback(t)
	var definitions []registry.Definition
	for _, host := range []string{
		"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "127.0.0.01", "localhost", "LOCALHOST", "localhost.", "ip6-localhost", "",
		"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::1]", "[::1%lo]", "0.0.0.0", "0", "[::]", "%31%32%37.0.0.1", "①②⑦.0.0.1", "127。0。0。1", "evil.example@127.0.0.1", "127.0.0.1#@evil.example",
		"loopback.example", "metadata.example", "169.254.169.254", "[::ffff:169.254.169.254]", "0xa9fea9fe", "2852039166",
	} {
		at := fmt.Sprint(host, ":", port)
		definitions = append(definitions,
			registry.Definition{HTTP: "http://" + at + "/"}, registry.Definition{HTTP: "https://user:password@" + at + "/"},
			registry.Definition{TCP: at}, registry.Definition{UDP: at}, registry.Definition{GRPC: at}, registry.Definition{GRPC: at, GRPCUseTLS: true},
			registry.Definition{DNS: "dns://" + at + "/example.com"})
	}
	for status := 300; status <= 308; status++ {
		definitions = append(definitions, registry.Definition{HTTP: fmt.Sprint(redirect.URL, "/", status)})
	}
	r, c := guarded(t, Config{})
	redirecting, _ := guarded(t, Config{Allow: []netip.Prefix{netip.PrefixFrom(target.Addr(), 32)}, Forbidden: []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())}})
	for _, d := range definitions {
		runner := r
		if strings.HasPrefix(d.HTTP, redirect.URL) {
			runner = redirecting
		}
		d.Interval = time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		dialer := runner.dialer(c)
		dialer.Resolver = names
		found := newProber(d, dialer)(ctx)
		cancel()
		if found.status != registry.Critical {
			t.Errorf("%+v: %v %q", d, found.status, found.output)
		}
	}
	t.Logf("%d targets, %d connections and datagrams", len(definitions), reached.Load())
	if n := reached.Load(); n != 0 {
		t.Errorf("%d of %d targets were reached", n, len(definitions))
	}
}

// everyNameLeadsToLoopback returns a resolver that finds 127.0.0.1 for all names, and the
// address of clouds' metadata for one.
func everyNameLeadsToLoopback(t *testing.T) *net.Resolver {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		if h := (dns.RR_Header{Name: q.Question[0].Name, Class: dns.ClassINET, Rrtype: dns.TypeA}); q.Question[0].Qtype == dns.TypeA {
			a := net.IPv4(127, 0, 0, 1)
			if strings.HasPrefix(h.Name, "metadata") {
				a = net.IPv4(169, 254, 169, 254)
			}
			reply.Answer = append(reply.Answer, &dns.A{Hdr: h, A: a})
		}
		_ = w.WriteMsg(reply)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", packets.LocalAddr().String())
	}}
}

// countReached counts the connections and datagrams that come.
func countReached(l net.Listener, datagrams net.PacketConn) *atomic.Int32 {
	reached := new(atomic.Int32)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			conn.Close()
		}
	}()
	go func() {
		for {
			if _, _, err := datagrams.ReadFrom(make([]byte, 512)); err != nil {
				return
			}
			reached.Add(1)
		}
	}()
	return reached
}
