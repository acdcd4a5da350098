package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/dnsserver/forward"
	"github.com/rollcall-dns/rollcall/health"
	"github.com/rollcall-dns/rollcall/registry/admin"
)

// running starts a server in this process, on free ports of loopback.
func running(t *testing.T, edit ...func(*settings)) *server {
	t.Helper()
	settings := &settings{
		dnsAddrs: []string{"127.0.0.1:0"}, adminAddr: "127.0.0.1:0", zones: []string{"rollcall.internal."},
		dataDir: t.TempDir(), datacenter: "dc1", node: "host-1", nodeAddress: "127.0.0.1", checkAllow: health.Private(),
		ttl: 5 * time.Second, negativeTTL: 5 * time.Second, maxAnswers: 100, logger: slog.New(slog.DiscardHandler),
	}
	for _, edit := range edit {
		edit(settings)
	}
	return start(t, settings)
}

// put makes a request that must succeed.
func put(t *testing.T, url string, body any) {
	t.Helper()
	if err := tryPut(url, body); err != nil {
		t.Fatal(err)
	}
}

func tryPut(url string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPut, url, bytes.NewReader(data))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("PUT %s: %d %s", url, response.StatusCode, text)
	}
	return err
}

type object map[string]any

// TestTheNextQueryShowsIt changes what is registered 10,000 times in a row, with
// ROLLCALL_LONG 100,000 times, and looks each time with the very next query: over one
// of eight UDP sockets, so that all that read from the port have their turn, or over TCP.
func TestTheNextQueryShowsIt(t *testing.T) {
	changes := 10_000
	if os.Getenv("ROLLCALL_LONG") != "" {
		changes = 100_000
	}
	s := running(t)
	api := "http://" + s.adminAddr().String() + "/v1/agent/"
	var conns []*dns.Conn
	for _, network := range []string{"udp", "udp", "udp", "udp", "tcp", "udp", "udp", "udp", "udp"} {
		c, err := dns.Dial(network, s.dns.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	asked := 0
	shows := func() bool {
		asked++
		c := conns[asked%len(conns)]
		question := new(dns.Msg).SetQuestion("web.service.rollcall.internal.", dns.TypeSRV)
		if err := c.WriteMsg(question); err != nil {
			t.Fatal(err)
		}
		answer, err := c.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		return len(answer.Answer) == 1
	}
	there := func(n int, after string, want bool) {
		if shows() != want {
			t.Fatalf("change %d: after %s, the next query shows it: %v", n, after, !want)
		}
	}
	for n := 0; n < changes; n += 4 {
		put(t, api+"service/register", object{"Name": "web", "Port": 80, "Check": object{"TTL": "1h", "Status": "passing"}})
		there(n, "a registration", true)
		put(t, api+"check/fail/service:web", nil)
		there(n+1, "a check that failed", false)
		put(t, api+"check/pass/service:web", nil)
		there(n+2, "a check that passed", true)
		put(t, api+"service/deregister/web", nil)
		there(n+3, "a deregistration", false)
	}
	t.Logf("%d changes, and none that the next query did not show", changes)
}

// TestGoResolver finds a service as a Go program does.
func TestGoResolver(t *testing.T) {
	s := running(t)
	put(t, "http://"+s.adminAddr().String()+"/v1/agent/service/register", object{"Name": "web", "Port": 8000, "Address": "10.1.2.3"})
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.dns.Addrs()[0].String())
	}}
	_, records, err := resolver.LookupSRV(t.Context(), "web", "tcp", "rollcall.internal")
	if err != nil || len(records) != 1 || records[0].Port != 8000 || records[0].Target != "0a010203.addr.dc1.rollcall.internal." {
		t.Fatalf("SRV: %v, %v", records, err)
	}
	for _, name := range []string{records[0].Target, "web.service.rollcall.internal"} {
		if addresses, err := resolver.LookupHost(t.Context(), name); err != nil || len(addresses) != 1 || addresses[0] != "10.1.2.3" {
			t.Errorf("%s: %v, %v", name, addresses, err)
		}
	}
}

// TestMetricsHaveAnAddressOfTheirOwn where no token is asked for, though the rest of HTTP
// does, and where no check goes.
func TestMetricsHaveAnAddressOfTheirOwn(t *testing.T) {
	s := running(t, func(s *settings) {
		s.metricsAddr = "127.0.0.1:0"
		s.adminTokens = func() []admin.Token { return []admin.Token{{Name: "all", Secret: "secret", Write: true}} }
	})
	at := s.watchers.Addr().String()
	if n := series(t, "http://"+at); n < 100 {
		t.Errorf("there are %d metrics", n)
	}
	for _, url := range []string{"http://" + at + "/v1/agent/services", "http://" + s.adminAddr().String() + "/metrics"} {
		response, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode < 400 {
			t.Errorf("%s without a token: %s", url, response.Status)
		}
	}
	if !slices.Contains(s.ownAddrs(), netip.MustParseAddrPort(at)) {
		t.Error("a check may go there")
	}
}

// TestMetricsDoNotGrowWithNames asks for made-up names, with ROLLCALL_LONG for a
// million of them, a server that has all there is to count: upstreams, a check of each
// kind, and who asks HTTP for everything and has it wrong.
func TestMetricsDoNotGrowWithNames(t *testing.T) {
	const most = 500
	names := 20_000
	if os.Getenv("ROLLCALL_LONG") != "" {
		names = 1_000_000
	}
	s := running(t, func(s *settings) {
		for _, upstream := range []string{"127.0.0.1:1", "tcp://127.0.0.1:2"} {
			route, err := forward.ParseRoute(upstream)
			if err != nil {
				t.Fatal(err)
			}
			s.forward.routes = append(s.forward.routes, route)
		}
		s.forward.clients = health.Private()
	})
	api := "http://" + s.adminAddr().String()
	put(t, api+"/v1/agent/service/register", object{"Name": "web", "Checks": []object{
		{"HTTP": "http://127.0.0.1:1/", "Interval": "1s"}, {"TCP": "127.0.0.1:1", "Interval": "1s"}, {"UDP": "127.0.0.1:1", "Interval": "1s"},
		{"GRPC": "127.0.0.1:1", "Interval": "1s"}, {"DNS": "dns://127.0.0.1:1/x", "Interval": "1s"}, {"TTL": "1s"},
	}})
	time.Sleep(1200 * time.Millisecond) // each has run
	c, err := dns.Dial("udp", s.dns.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func(n int, zone string) {
		for range n {
			if err := c.WriteMsg(new(dns.Msg).SetQuestion(fmt.Sprintf("n%x.%s", rand.Uint64(), zone), dns.TypeA)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.ReadMsg(); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask(10, "service.rollcall.internal.")
	ask(1, "example.com.")
	routes := askEveryRoute(t, api)
	series(t, api)
	before := series(t, api)
	ask(names, "service.rollcall.internal.")
	after := series(t, api)
	t.Logf("%d series after each of %d routes of HTTP was asked, well and badly, and after %d names %d", before, routes, names, after)
	if after > before || after > most {
		t.Errorf("%d series, and after %d names %d, of %d at most", before, names, after, most)
	}
}

// series returns how many there are at /metrics.
func series(t *testing.T, api string) (n int) {
	t.Helper()
	response, err := http.Get(api + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}

// askEveryRoute asks HTTP for all that there is, with all methods and with parameters
// and bodies that are right for some, and returns how many routes that is.
func askEveryRoute(t *testing.T, api string) (routes int) {
	t.Helper()
	var spec struct{ Paths map[string]map[string]any }
	response, err := http.Get(api + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&spec); err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`{[^}]*}`)
	ask := func(method, path, body, have string) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, method, api+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if have != "" {
			r.Header.Set("If-None-Match", have)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	for path := range spec.Paths {
		for _, value := range []string{"web", "service:web", "passing", "..%2f"} {
			for _, query := range []string{"", "?index=x&type=x&filter=(&wait=x&level=x"} {
				for _, body := range []string{"", "{", `{"Name":"web","Node":"host-1","Status":"passing","CheckID":"service:web"}`} {
					for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "BREW"} {
						if path == "/v1/events" && method == "GET" { // which has no end
							continue
						}
						ask(method, parameter.ReplaceAllString(path, value)+query, body, "")
						ask(method, parameter.ReplaceAllString(path, value)+query, body, "*")
					}
				}
			}
		}
		routes++
	}
	return routes
}

// TestKilledServerLosesNothing kills the program while 16 clients register over
// HTTP, 5 times, with ROLLCALL_LONG 200 times, and looks for what it had answered.
func TestKilledServerLosesNothing(t *testing.T) {
	rounds := 5
	if os.Getenv("ROLLCALL_LONG") != "" {
		rounds = 200
	}
	dir, answered := t.TempDir(), make(map[string]bool)
	for round := range rounds {
		child, api, _ := startProcess(t, dir)
		verify(t, api, answered)
		for id := range registerUntilKilled(child, api) {
			answered[id] = true
		}
		t.Logf("round %d: %d registrations answered", round, len(answered))
	}
	child, api, _ := startProcess(t, dir)
	verify(t, api, answered)
	killed(child)
	t.Logf("%d rounds, %d registrations answered, none lost and none there by halves", rounds, len(answered))
}

// startProcess starts rollcall as a process and waits until it is ready.
func startProcess(t *testing.T, dir string, flags ...string) (child *exec.Cmd, api, dnsAddr string) {
	t.Helper()
	return startProcessUnder(t, nil, dir, flags...)
}

// startProcessUnder starts it as the child of another program, which takes its
// command line as the end of its own.
func startProcessUnder(t *testing.T, other []string, dir string, flags ...string) (child *exec.Cmd, api, dnsAddr string) {
	t.Helper()
	addr, dnsAddr := freePort(), freePort()
	args := append(slices.Clone(other), program(t), "serve", "--dns-addr", dnsAddr, "--admin-addr", addr, "--data-dir", filepath.Join(dir, "state"), "--node", "host-1")
	args = append(args, flags...)
	child = exec.Command(args[0], args[1:]...)
	var out bytes.Buffer
	child.Stdout, child.Stderr = &out, &out
	child.SysProcAttr, child.WaitDelay = &syscall.SysProcAttr{Setpgid: true}, 5*time.Second
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-child.Process.Pid, syscall.SIGKILL) })
	api = "http://" + addr
	for deadline := time.Now().Add(2 * time.Minute); ; { // it may have a million instances to read
		response, err := http.Get(api + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			return child, api, dnsAddr
		}
		if time.Now().After(deadline) {
			_ = child.Process.Kill()
			_ = child.Wait()
			t.Fatalf("rollcall did not start:\n%s", &out)
		}
		time.Sleep(5 * time.Millisecond) // waits for another process
	}
}

// registerUntilKilled registers from 16 clients, kills the process in the midst
// of it, and returns what was answered.
func registerUntilKilled(child *exec.Cmd, api string) map[string]bool {
	var mu sync.Mutex
	answered, most := make(map[string]bool), 100+rand.IntN(400)
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for {
				id := fmt.Sprintf("w%x", rand.Uint64())
				check := func(n string) object { return object{"CheckID": id + n, "Notes": id, "TTL": "1h"} }
				err := tryPut(api+"/v1/agent/service/register", object{
					"Name": "web", "ID": id, "Meta": object{"id": id}, "Checks": []object{check("-1"), check("-2")},
				})
				if err != nil {
					return
				}
				mu.Lock()
				answered[id] = true
				full := len(answered) == most
				mu.Unlock()
				if full {
					_ = child.Process.Kill()
				}
			}
		})
	}
	clients.Wait()
	_ = child.Wait()
	return answered
}

// verify checks that what was answered is there, and that nothing is there by
// halves.
func verify(t *testing.T, api string, answered map[string]bool) {
	t.Helper()
	response, err := http.Get(api + "/v1/health/service/web")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var found []*entry
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	for _, e := range found {
		id := e.Service.ID
		there[id] = true
		whole := e.Service.Meta["id"] == id && len(e.Checks) == 2
		for _, c := range e.Checks {
			whole = whole && c.Notes == id && strings.HasPrefix(c.CheckID, id)
		}
		if !whole {
			t.Errorf("half of one: %+v", e)
		}
	}
	for id := range answered {
		if !there[id] {
			t.Errorf("%s was answered and is gone", id)
		}
	}
}
