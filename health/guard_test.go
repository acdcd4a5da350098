package health

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
// it, from a Runner that may not: nobody must ever connect.
func TestHostileTargets(t *testing.T) {
	var connected atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connected.Add(1)
			conn.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	redirect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, fmt.Sprintf("http://127.0.0.1:%d/", port), http.StatusFound)
	}))
	defer redirect.Close()
	target := netip.MustParseAddrPort(redirect.Listener.Addr().String())

	var definitions []registry.Definition
	for _, host := range []string{"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]"} {
		at := fmt.Sprint(host, ":", port)
		definitions = append(definitions,
			registry.Definition{HTTP: "http://" + at + "/"}, registry.Definition{HTTP: "https://user:password@" + at + "/"},
			registry.Definition{TCP: at}, registry.Definition{GRPC: at})
	}
	definitions = append(definitions, registry.Definition{HTTP: redirect.URL})
	r, c := guarded(t, Config{})
	redirecting, _ := guarded(t, Config{Allow: []netip.Prefix{netip.PrefixFrom(target.Addr(), 32)}})
	for _, d := range definitions {
		runner := r
		if d.HTTP == redirect.URL {
			runner = redirecting
		}
		d.Interval = time.Second
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		found := newProber(d, runner.dialer(c))(ctx)
		cancel()
		if found.status != registry.Critical {
			t.Errorf("%+v: %v %q", d, found.status, found.output)
		}
	}
	if n := connected.Load(); n != 0 {
		t.Errorf("%d of %d targets were connected to", n, len(definitions))
	}
}
