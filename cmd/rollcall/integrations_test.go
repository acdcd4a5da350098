package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// These tests start the programs of docs/integrations with the very boxes of
// their pages, and find a service through them.

// place is a rollcall with a service that answers over HTTP, and a directory for
// a program's files.
type place struct {
	*testing.T
	server *server
	web    *httptest.Server
	dir    string
}

// needs skips a test whose program is not there.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed, and .ci/install should have", program)
		}
		t.Skipf("%s is not installed: .ci/install does that", program)
	}
}

func newPlace(t *testing.T, program string) *place {
	t.Helper()
	requireProgram(t, program)
	return placeAt(t, running(t))
}

// requireProgram skips a test of a program that is not installed.
func requireProgram(t *testing.T, program string) {
	t.Helper()
	needs(t, program)
}

// placeAt returns a place with a server.
func placeAt(t *testing.T, s *server) *place {
	t.Helper()
	p := &place{T: t, server: s, dir: t.TempDir()}
	p.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "web_answers 1\n") }))
	t.Cleanup(p.web.Close)
	p.register("web-1", p.web.Listener.Addr().(*net.TCPAddr).Port)
	if err := os.Chmod(p.dir, 0o777); err != nil { // some programs become another user
		t.Fatal(err)
	}
	return p
}

func (p *place) register(id string, port int) {
	p.Helper()
	put(p.T, p.api()+"/v1/agent/service/register", object{"ID": id, "Name": "web", "Port": port, "Address": "127.0.0.1"})
}

func (p *place) api() string { return "http://" + p.server.adminAddr().String() }

// boxes returns the boxes of a page, with the addresses of this place.
func (p *place) boxes(page string) []string {
	p.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs/integrations", page))
	if err != nil {
		p.Fatal(err)
	}
	port := strconv.Itoa(int(p.server.dns.Addrs()[0].Port()))
	replacer := strings.NewReplacer(
		"127.0.0.1@5300", "127.0.0.1@"+port, "127.0.0.1#5300", "127.0.0.1#"+port, "127.0.0.1:5300", "127.0.0.1:"+port,
		"127.0.0.1 port 5300", "127.0.0.1 port "+port, "127.0.0.1 -p 5300", "127.0.0.1 -p "+port, "127.0.0.1:5380", p.server.adminAddr().String(),
		":8080", fmt.Sprint(":", p.web.Listener.Addr().(*net.TCPAddr).Port),
	)
	var boxes []string
	for _, box := range regexp.MustCompile("(?ms)^```[a-z]+\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		boxes = append(boxes, replacer.Replace(box[1]))
	}
	if len(boxes) == 0 {
		p.Fatalf("%s has no box", page)
	}
	return boxes
}

// write writes a file of the program's, and returns its path.
func (p *place) write(name, text string) string {
	p.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.Fatal(err)
	}
	return path
}

// start runs a program until the test ends, and returns what gives all that it
// has said by then.
func (p *place) start(program string, args ...string) (said func() string) {
	p.Helper()
	log, err := os.Create(filepath.Join(p.TempDir(), "log"))
	if err != nil {
		p.Fatal(err)
	}
	defer log.Close() // the program has its own
	said = func() string {
		text, _ := os.ReadFile(log.Name())
		return string(text)
	}
	command := exec.Command(program, args...)
	command.Dir, command.Stdout, command.Stderr = p.dir, log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it may have workers
	command.WaitDelay = time.Second
	if err := command.Start(); err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		_ = command.Wait()
		if p.Failed() {
			text := said()
			p.Logf("%s said last:\n%s", program, text[max(len(text)-4000, 0):])
		}
	})
	return said
}

// ports counts the ports that were given out.
var ports atomic.Uint32

// free returns a port of 127.0.0.1 that nobody has over TCP or UDP. It is below those
// that the system gives to whoever asks for none, who would take it at any time.
func free(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 10_000 + (64*os.Getpid()+int(ports.Add(1)))%20_000
		addr := fmt.Sprint("127.0.0.1:", port)
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp", addr)
		_ = tcp.Close()
		if err == nil {
			_ = udp.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// resolves waits until a resolver on a port finds the service, and then until it
// does not: its absence, another case and large answers have to come through, too.
func (p *place) resolves(port int) {
	p.Helper()
	ask := func(name string, qtype uint16) *dns.Msg {
		m := new(dns.Msg).SetQuestion(name, qtype)
		reply, _, err := (&dns.Client{Timeout: time.Second}).Exchange(m, fmt.Sprint("127.0.0.1:", port))
		if err == nil && reply.Truncated {
			reply, _, err = (&dns.Client{Net: "tcp", Timeout: time.Second}).Exchange(m, fmt.Sprint("127.0.0.1:", port))
		}
		if err != nil {
			return new(dns.Msg)
		}
		return reply
	}
	consultest.Eventually(p, 15*time.Second, "the resolver finds the service", func() bool {
		reply := ask("web.service.rollcall.internal.", dns.TypeA)
		return len(reply.Answer) == 1 && strings.Contains(reply.Answer[0].String(), "127.0.0.1")
	})
	if reply := ask("wEb.SERVICE.rollcall.internal.", dns.TypeSRV); len(reply.Answer) != 1 {
		p.Errorf("SRV in another case:\n%v", reply)
	}
	if reply := ask("wbe.service.rollcall.internal.", dns.TypeA); reply.Rcode != dns.RcodeNameError {
		p.Errorf("a name that is not there:\n%v", reply)
	}
	if reply := ask("web.service.rollcall.internal.", dns.TypeAAAA); reply.Rcode != dns.RcodeSuccess || len(reply.Answer) != 0 {
		p.Errorf("an address of another family:\n%v", reply)
	}
	for n := range 120 { // more than are given
		put(p.T, p.api()+"/v1/agent/service/register", object{"ID": fmt.Sprint("big-", n), "Name": "big", "Port": 80, "Address": fmt.Sprintf("10.0.0.%d", n)})
	}
	if reply := ask("big.service.rollcall.internal.", dns.TypeA); len(reply.Answer) != 100 {
		p.Errorf("of a large service there are %d addresses, code %s", len(reply.Answer), dns.RcodeToString[reply.Rcode])
	}
}

func TestUnbound(t *testing.T) {
	for n, form := range []string{"stub", "forward", "stub, hardened", "forward, hardened"} {
		t.Run(form, func(t *testing.T) {
			p := newPlace(t, "unbound")
			port := free(t)
			config := fmt.Sprintf("server:\n  interface: 127.0.0.1@%d\n  port: %d\n  username: \"\"\n  chroot: \"\"\n  directory: %q\n  pidfile: \"\"\n"+
				"  use-syslog: no\n  do-ip6: no\n  private-address: 127.0.0.0/8\n  private-address: 10.0.0.0/8\n", port, port, p.dir)
			if n >= 2 {
				config += "  harden-below-nxdomain: yes\n  use-caps-for-id: yes\n  qname-minimisation-strict: yes\n"
			}
			p.start("unbound", "-d", "-c", p.write("unbound.conf", config+p.boxes("unbound.md")[n%2]))
			p.resolves(port)
		})
	}
}

func TestDnsmasq(t *testing.T) {
	p := newPlace(t, "dnsmasq")
	port := free(t)
	p.start("dnsmasq", "--keep-in-foreground", "--conf-file="+p.write("dnsmasq.conf", p.boxes("dnsmasq.md")[0]), "--port="+strconv.Itoa(port),
		"--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts", "--pid-file=", "--user=", "--stop-dns-rebind")
	p.resolves(port)
}

func TestBIND(t *testing.T) {
	p := newPlace(t, "named")
	boxes, port := p.boxes("bind.md"), free(t)
	config := fmt.Sprintf("options { directory %q; pid-file none; session-keyfile none; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };\n"+
		"empty-zones-enable no; %s };\ncontrols { };\n%s", p.dir, port, boxes[0], boxes[1])
	p.start("named", "-g", "-c", p.write("named.conf", config))
	p.resolves(port)
}

func TestHAProxy(t *testing.T) {
	for _, transport := range []string{"tcp@", ""} {
		t.Run("nameserver "+transport, func(t *testing.T) {
			p := newPlace(t, "haproxy")
			port := free(t)
			config := "defaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n" +
				fmt.Sprintf("frontend in\n  bind 127.0.0.1:%d\n  default_backend web\n", port) + strings.Replace(p.boxes("haproxy.md")[0], "tcp@", transport, 1)
			p.start("haproxy", "-db", "-f", p.write("haproxy.cfg", config))
			p.answersHTTP(port)
		})
	}
}

func TestNginx(t *testing.T) {
	p := newPlace(t, "nginx")
	port := free(t)
	box := strings.Replace(p.boxes("nginx.md")[0], "listen 127.0.0.1:8000", fmt.Sprint("listen 127.0.0.1:", port), 1)
	config := "daemon off; pid nginx.pid; error_log stderr; events {}\nhttp { access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n" + box + "}\n"
	p.start("nginx", "-p", p.dir, "-c", p.write("nginx.conf", config))
	p.answersHTTP(port)
}

// answersHTTP waits until a proxy on a port leads to the service, and until it
// does not any more when there is no instance.
func (p *place) answersHTTP(port int) {
	p.Helper()
	get := func() string {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			return ""
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return string(body)
	}
	consultest.Eventually(p, 15*time.Second, "the proxy leads to the service", func() bool { return get() == "web_answers 1\n" })
	put(p.T, p.api()+"/v1/agent/service/maintenance/web-1?enable=true", nil)
	consultest.Eventually(p, 30*time.Second, "the proxy leads nowhere", func() bool { return get() != "web_answers 1\n" })
	put(p.T, p.api()+"/v1/agent/service/maintenance/web-1?enable=false", nil)
	consultest.Eventually(p, 30*time.Second, "the proxy leads to the service again", func() bool { return get() == "web_answers 1\n" })
}

func TestPrometheusTargets(t *testing.T) {
	p := newPlace(t, "prometheus")
	port := free(t)
	config := "global: {scrape_interval: 1s}\n" + p.boxes("prometheus.md")[0]
	p.start("prometheus", "--config.file="+p.write("prometheus.yaml", config), "--storage.tsdb.path="+filepath.Join(p.dir, "data"),
		fmt.Sprint("--web.listen-address=127.0.0.1:", port))
	consultest.Eventually(p, 30*time.Second, "Prometheus scrapes the service", func() bool {
		response, err := http.Get(fmt.Sprintf(`http://127.0.0.1:%d/api/v1/query?query=web_answers{service="web"}`, port))
		if err != nil {
			return false
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return bytes.Contains(body, []byte(`"value"`))
	})
}

// grpcProgram is what the boxes of grpc.md stand in: a program that makes a hundred
// calls through the connection of the one that it is told.
const grpcProgram = `package main

import (
	"context"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

%s

func resolver() (*grpc.ClientConn, error) {
%s
	return conn, err
}

func dns() (*grpc.ClientConn, error) {
%s
	return conn, err
}

func main() {
	conn, err := map[string]func() (*grpc.ClientConn, error){"resolver": resolver, "dns": dns}[os.Args[1]]()
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for range 100 {
		if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
			log.Fatal(err)
		}
	}
}
`

// TestGRPC compiles the boxes of grpc.md, and has them find two servers.
func TestGRPC(t *testing.T) {
	p := newPlace(t, "go")
	port := free(t)
	var seen [2]atomic.Int32
	put(t, p.api()+"/v1/agent/service/deregister/web-1", nil) // which speaks no gRPC
	for n, address := range []string{"127.0.0.1", "127.0.0.2"} {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", address, port))
		if err != nil {
			t.Fatal(err)
		}
		backend := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			seen[n].Add(1)
			return h(ctx, request)
		}))
		grpc_health_v1.RegisterHealthServer(backend, grpchealth.NewServer())
		go func() { _ = backend.Serve(l) }()
		t.Cleanup(backend.Stop)
		put(t, p.api()+"/v1/agent/service/register", object{"ID": address, "Name": "web", "Port": port, "Address": address})
	}
	boxes := p.boxes("grpc.md")
	imports, first, _ := strings.Cut(boxes[0], "\n\n")
	second := strings.Replace(boxes[1], fmt.Sprint(":", p.web.Listener.Addr().(*net.TCPAddr).Port), fmt.Sprint(":", port), 1)
	source := p.write("main.go", fmt.Sprintf(grpcProgram, imports, first, second))
	client := filepath.Join(p.dir, "client")
	for _, args := range [][]string{{"vet", source}, {"build", "-o", client, source}} { // here, in the module that the page imports
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", args[0], err, out)
		}
	}
	for _, form := range []string{"resolver", "dns"} {
		seen[0].Store(0)
		seen[1].Store(0)
		if out, err := exec.CommandContext(t.Context(), client, form).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", form, err, out)
		}
		if seen[0].Load() == 0 || seen[1].Load() == 0 {
			t.Errorf("%s: the calls went to one of two: %d and %d", form, seen[0].Load(), seen[1].Load())
		}
	}
}
