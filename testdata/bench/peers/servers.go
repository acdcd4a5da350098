package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// What is served and asked for.
const (
	services  = 1000
	instances = 3 // of each
	questions = 20_000
	absentees = 1_000_000 // more than are asked for in one turn
	zone      = "rollcall.internal"
)

// server is a DNS server and how to run it.
type server struct {
	name    string
	command []string
	port    int
	zone    string // that it answers for
	install string // how to get it
	api     string // its HTTP API; empty: it has none
	// register is the request that registers an instance; nil: it serves a file.
	register func(service, instance, port int) (path, body string)
}

func address(service, instance int) string {
	return fmt.Sprintf("10.%d.%d.%d", service>>8, service&255, instance+1)
}

// servers returns all servers, with what they are configured by written to work.
func servers(work, rollcall, coredns, consul string) ([]*server, error) {
	ports, err := freePorts(12)
	if err != nil {
		return nil, err
	}
	next := func() int {
		port := ports[0]
		ports = ports[1:]
		return port
	}
	file := func(name string) string { return filepath.Join(work, name) }
	distribution := "apt-get install knot nsd bind9"

	own := &server{name: "rollcall", port: next(), zone: zone, install: "make build", register: func(s, i, port int) (string, string) {
		return "/v1/agent/service/register", fmt.Sprintf(`{"Name":"svc%d","ID":"svc%d-%d","Address":%q,"Port":%d}`, s, s, i, address(s, i), port)
	}}
	admin := next()
	own.api = fmt.Sprintf("http://127.0.0.1:%d", admin)
	own.command = []string{rollcall, "serve", "--dns-addr", fmt.Sprintf("127.0.0.1:%d", own.port), "--admin-addr", fmt.Sprintf("127.0.0.1:%d", admin), "--data-dir", file("rollcall")}

	knot := &server{name: "knot", port: next(), zone: zone, install: distribution, command: []string{"knotd", "-c", file("knot.conf")}}
	nsd := &server{name: "nsd", port: next(), zone: zone, install: distribution, command: []string{"nsd", "-d", "-c", file("nsd.conf")}}
	bind := &server{name: "bind", port: next(), zone: zone, install: distribution, command: []string{"named", "-g", "-n", "1", "-c", file("named.conf")}}
	core := &server{name: "coredns", port: next(), zone: zone, command: []string{coredns, "-conf", file("Corefile")},
		install: "go install github.com/coredns/coredns@v1.14.7, and --coredns where that is not in PATH"}

	agent := &server{name: "consul", port: next(), zone: "consul", install: "make consul", register: func(s, i, port int) (string, string) {
		return "/v1/catalog/register", fmt.Sprintf(`{"Node":"svc%d-%d","Address":%q,"Service":{"Service":"svc%d","ID":"svc%d-%d","Port":%d}}`, s, i, address(s, i), s, s, i, port)
	}}
	api := next()
	agent.api = fmt.Sprintf("http://127.0.0.1:%d", api)
	agent.command = []string{consul, "agent", "-dev", "-bind", "127.0.0.1", "-log-level", "error",
		"-dns-port", fmt.Sprint(agent.port), "-http-port", fmt.Sprint(api), "-server-port", fmt.Sprint(next()),
		"-serf-lan-port", fmt.Sprint(next()), "-serf-wan-port", "-1", "-grpc-port", "-1", "-grpc-tls-port", "-1"}

	for name, text := range map[string]string{
		"knot.conf": fmt.Sprintf("server:\n    listen: 127.0.0.1@%d\n    rundir: %s\n    udp-workers: 1\n    background-workers: 1\ndatabase:\n    storage: %s\nzone:\n  - domain: %s.\n    storage: %s\n    file: zone\n",
			knot.port, work, file("knotdb"), zone, work),
		"nsd.conf": fmt.Sprintf("server:\n  ip-address: 127.0.0.1@%d\n  username: \"\"\n  pidfile: %s\n  zonesdir: %s\n  xfrdir: %s\n  zonelistfile: %s\n  database: \"\"\n  server-count: 1\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\nzone:\n  name: %s\n  zonefile: zone\n",
			nsd.port, file("nsd.pid"), work, work, file("zone.list"), zone),
		"named.conf": fmt.Sprintf("options { directory %q; listen-on port %d {127.0.0.1;}; listen-on-v6 {none;}; recursion no; pid-file %q; session-keyfile %q; };\ncontrols {};\nzone %q { type primary; file %q; };\n",
			work, bind.port, file("named.pid"), file("session.key"), zone, file("zone")),
		"Corefile": fmt.Sprintf("%s.:%d {\n bind 127.0.0.1\n cache 5\n file %s\n}\n", zone, core.port, file("zone")),
	} {
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return []*server{own, knot, nsd, bind, core, agent}, os.MkdirAll(file("knotdb"), 0o700)
}

// freePorts returns ports that are free for TCP.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// writeInputs writes the zone file, and the questions of each load for each zone
// that is asked.
func writeInputs(work string) error {
	err := writeLines(filepath.Join(work, "zone"), func(line func(string, ...any)) {
		line("$ORIGIN %s.\n$TTL 5\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\nns A 127.0.0.1", zone)
		for s := range services {
			for i := range instances {
				line("svc%d.service A %s", s, address(s, i))
				line("svc%d.service SRV 1 1 %d svc%d-%d.node", s, 8000+i, s, i)
				line("svc%d-%d.node A %s", s, i, address(s, i))
			}
		}
	})
	for _, z := range []string{zone, "consul"} {
		if err == nil {
			err = writeLines(filepath.Join(work, "existing."+z), func(line func(string, ...any)) {
				for n := range questions {
					line("svc%d.service.%s %s", rand.IntN(services), z, []string{"A", "SRV"}[n%2])
				}
			})
		}
		if err == nil {
			err = writeLines(filepath.Join(work, "absent."+z), func(line func(string, ...any)) {
				for range absentees {
					line("x%x.service.%s A", rand.Uint32(), z)
				}
			})
		}
	}
	return err
}

func writeLines(path string, write func(line func(string, ...any))) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	write(func(format string, args ...any) { fmt.Fprintf(w, strings.TrimSuffix(format, "\n")+"\n", args...) })
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
