package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// These tests start programs that were written for Consul, with the boxes of
// their pages and rollcall's HTTP endpoint where Consul's agent would be.

// built returns the path of a program that make builds, and skips a test where
// nobody has.
func built(t *testing.T, program string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../bin", program))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("there is no bin/%s, and .ci/run should have built it", program)
		}
		t.Skipf("there is no bin/%s: make %s builds it", program, program)
	}
	return path
}

// placeOf returns a place on either registry.
func placeOf(t *testing.T, kind string) *place {
	t.Helper()
	if kind == "consul" {
		return placeAt(t, runningInFront(t, consultest.Start(t, ""), nil))
	}
	return placeAt(t, running(t))
}

// page is an instance that says its name, and can be made ill.
type page struct {
	*httptest.Server
	ill atomic.Bool
}

func newPage(t *testing.T, name string) *page {
	t.Helper()
	b := new(page)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if b.ill.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, name)
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *page) port() string { return strconv.Itoa(b.Listener.Addr().(*net.TCPAddr).Port) }

func TestTraefik(t *testing.T) {
	for _, registry := range []string{"embedded", "consul"} {
		t.Run(registry, func(t *testing.T) {
			traefik := built(t, "traefik")
			p := placeOf(t, registry)
			boxes, port := p.boxes("traefik.md"), free(t)
			// Where Traefik has to hear of a change it does so by the watch alone.
			config := strings.Replace(boxes[0], "127.0.0.1:8000", fmt.Sprint("127.0.0.1:", port), 1) +
				"    refreshInterval: 1h\n  providersThrottleDuration: 100ms\nglobal: {checkNewVersion: false, sendAnonymousUsage: false}\n"
			p.start(traefik, "--configFile="+p.write("traefik.yaml", config))

			first, second := newPage(t, "web-1"), newPage(t, "web-2")
			register := func(id string, of *page) {
				p.Helper()
				p.shell(strings.NewReplacer("web-1", id, p.web.URL, of.URL, "8080", of.port()).Replace(boxes[1]))
			}
			register("web-1", first)
			p.answersBy(port, "web-1")
			register("web-2", second)
			p.answersBy(port, "web-1", "web-2")
			first.ill.Store(true)
			p.answersBy(port, "web-2")
			put(t, p.api()+"/v1/agent/service/maintenance/web-2?enable=true", nil)
			p.answersBy(port, "404 Not Found")
			first.ill.Store(false)
			p.answersBy(port, "web-1")
			put(t, p.api()+"/v1/agent/service/deregister/web-1", nil)
			p.answersBy(port, "404 Not Found")
		})
	}
}

// answersBy waits until those who answer requests to a proxy on a port are these
// and nobody else, or what it says itself is this.
func (p *place) answersBy(port int, wanted ...string) {
	p.Helper()
	get := func() string {
		request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), nil)
		if err != nil {
			p.Fatal(err)
		}
		request.Host = "web.example.com"
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return response.Status
		}
		body, _ := io.ReadAll(response.Body)
		return string(body)
	}
	started := time.Now()
	consultest.Eventually(p, 30*time.Second, fmt.Sprint("only ", wanted, " answer"), func() bool {
		counts := map[string]int{}
		for range 4 * len(wanted) {
			counts[get()]++
		}
		for _, name := range wanted {
			if counts[name] == 0 {
				return false
			}
		}
		return len(counts) == len(wanted)
	})
	p.Logf("%v answered after %v", wanted, time.Since(started).Round(time.Millisecond))
}

// shell runs a box that is written for a shell, and returns what it prints.
func (p *place) shell(box string) string {
	p.Helper()
	command := exec.Command("sh", "-euc", box)
	command.Dir, command.WaitDelay = p.dir, time.Second
	out, err := command.CombinedOutput()
	if err != nil {
		p.Fatalf("%v:\n%s%s", err, box, out)
	}
	return string(out)
}

func TestConsulsCommands(t *testing.T) {
	consul := built(t, "consul")
	p := placeOf(t, "embedded")
	t.Setenv("PATH", filepath.Dir(consul)+":"+os.Getenv("PATH"))
	boxes := p.boxes("consul-clients.md")
	if said := p.shell(boxes[0]); !regexp.MustCompile(`(?m)^web +v1$`).MatchString(said) {
		t.Errorf("the services are:\n%s", said)
	}
	seen := p.start("sh", "-euc", boxes[1])
	consultest.Eventually(t, 15*time.Second, "the watch tells of the instance", func() bool { return strings.Contains(seen(), `"ID":"web-1"`) })
	put(t, p.api()+"/v1/agent/service/maintenance/web-1?enable=true", nil)
	consultest.Eventually(t, 15*time.Second, "the watch tells of none", func() bool { return strings.HasSuffix(seen(), "[]\n") })

	// What there is not is not there, and stands for nothing else.
	command := exec.Command(consul, "kv", "get", "-http-addr="+p.server.adminAddr().String(), "web")
	if out, err := command.CombinedOutput(); err == nil || !strings.Contains(string(out), "No key exists at: web") {
		t.Errorf("asked for a key it said %v:\n%s", err, out)
	}
}

func TestConsulTemplate(t *testing.T) {
	for _, registry := range []string{"embedded", "consul"} {
		t.Run(registry, func(t *testing.T) {
			program := built(t, "consul-template")
			p := placeOf(t, registry)
			boxes := p.boxes("consul-clients.md")
			p.write("web.ctmpl", boxes[3])
			p.start(program, "-config="+p.write("config.hcl", boxes[2]))
			renders := func(ids ...string) {
				t.Helper()
				consultest.Eventually(t, 15*time.Second, fmt.Sprint("the file names ", ids), func() bool {
					text, _ := os.ReadFile(filepath.Join(p.dir, "web.conf"))
					var named []string
					for _, id := range regexp.MustCompile(`(?m)^server 127\.0\.0\.1:\d+; # (.*)$`).FindAllStringSubmatch(string(text), -1) {
						named = append(named, id[1])
					}
					return slices.Equal(named, ids)
				})
			}
			renders("web-1")
			p.register("web-2", 8081)
			renders("web-1", "web-2")
			put(t, p.api()+"/v1/agent/service/maintenance/web-1?enable=true", nil)
			renders("web-2")
			put(t, p.api()+"/v1/agent/service/deregister/web-2", nil)
			renders()
		})
	}
}

func TestConsulsGoClientOfThePage(t *testing.T) {
	p := placeOf(t, "embedded")
	program := p.write("main.go", p.boxes("consul-clients.md")[4])
	binary := filepath.Join(p.dir, "client")
	if out, err := exec.Command("go", "build", "-o", binary, program).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen := p.start(binary)
	consultest.Eventually(t, 15*time.Second, "the client finds the instance", func() bool { return strings.Contains(seen(), "web-1 127.0.0.1 ") })
	p.register("web-2", 8081)
	consultest.Eventually(t, 15*time.Second, "the client sees another come", func() bool { return strings.Contains(seen(), "web-2 127.0.0.1 8081\n") })
}
