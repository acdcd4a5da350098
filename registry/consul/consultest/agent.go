// Package consultest starts real Consuls on loopback for tests, alone or as a
// cluster, and breaks them. A test is skipped where none was built.
package consultest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// Agent is a real Consul on loopback, a server that is its own agent, on ports
// and in a directory of its own. It is for one goroutine.
type Agent struct {
	API *api.Client // as the token "root"

	t       testing.TB
	name    string
	host    string // its own address of loopback
	dir     string
	program string
	ports   ports
	config  string // HCL
	scheme  string
	process *exec.Cmd
}

type ports struct{ http, dns, server, lan, wan int }

// Start starts a Consul called n1, with the given HCL besides its own. It ends
// with the test.
func Start(t testing.TB, hcl string) *Agent {
	t.Helper()
	a := newAgent(t, "n1", "bootstrap_expect = 1\n"+hcl, nil)
	a.Start()
	return a
}

// StartTLS starts a Consul that speaks HTTPS alone, and only to who shows a
// certificate of its authority. The client configuration is for such a one.
func StartTLS(t testing.TB) (*Agent, api.TLSConfig) {
	t.Helper()
	host := newHost()
	tls := makeCertificates(t, host)
	a := newAgentAt(t, host, "n1", fmt.Sprintf(`bootstrap_expect = 1
		tls { https { ca_file = %q  cert_file = %q  key_file = %q  verify_incoming = true } }`, tls.CAFile, tls.CertFile, tls.KeyFile), &tls)
	a.Start()
	return a, tls
}

// Cluster starts as many servers as that, n1, n2 and so on, that elect a leader
// among them.
func Cluster(t testing.TB, servers int, hcl string) []*Agent {
	t.Helper()
	agents := make([]*Agent, servers)
	join := ""
	for n := range agents {
		agents[n] = newAgent(t, fmt.Sprint("n", n+1), "", nil)
		join += fmt.Sprintf("\"%s:%d\",", agents[n].host, agents[n].ports.lan)
	}
	for _, a := range agents {
		a.config = fmt.Sprintf("bootstrap_expect = %d  retry_join = [%s]  retry_interval = \"1s\"\n%s", servers, join, hcl)
		a.launch()
	}
	for _, a := range agents {
		a.awaitLeader(servers)
	}
	return agents
}

func newAgent(t testing.TB, name, config string, tls *api.TLSConfig) *Agent {
	t.Helper()
	return newAgentAt(t, newHost(), name, config, tls)
}

// hosts counts the agents that this process has had.
var hosts atomic.Uint32

// newHost returns an address of loopback that nobody else uses, so that no port of
// it is taken between its choice and its use. Only Linux has more than one.
func newHost() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 128+pid>>8&63, pid&255, 1+hosts.Add(1)%254)
}

func newAgentAt(t testing.TB, host, name, config string, tls *api.TLSConfig) *Agent {
	t.Helper()
	a := &Agent{t: t, name: name, host: host, dir: t.TempDir(), program: program(t), config: config, scheme: "http"}
	choosePorts(t, host, &a.ports.http, &a.ports.dns, &a.ports.server, &a.ports.lan, &a.ports.wan)
	client := api.DefaultConfig()
	client.Token = "root"
	if tls != nil {
		a.scheme, client.TLSConfig = "https", *tls
	}
	client.Address = a.Address()
	var err error
	if a.API, err = api.NewClient(client); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Transport.CloseIdleConnections() })
	t.Cleanup(a.Kill)
	return a
}

// program finds the Consul that make consul leaves, at the top of the module.
func program(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	file := filepath.Join(dir, "bin", "consul")
	if _, err := os.Stat(file); err != nil {
		t.Skip("there is no bin/consul: make consul builds it")
	}
	return file
}

// Address returns where its HTTP API is.
func (a *Agent) Address() string { return fmt.Sprintf("%s://%s:%d", a.scheme, a.host, a.ports.http) }

// DNSAddress returns where its DNS is, host and port.
func (a *Agent) DNSAddress() string { return fmt.Sprint(a.host, ":", a.ports.dns) }

// WAN returns where servers of other datacenters join it, host and port.
func (a *Agent) WAN() string { return fmt.Sprint(a.host, ":", a.ports.wan) }

// Name returns the name of its node.
func (a *Agent) Name() string { return a.name }

// Start starts the process and waits until it has a leader.
func (a *Agent) Start() {
	a.t.Helper()
	a.launch()
	a.awaitLeader(1)
}

func (a *Agent) launch() {
	a.t.Helper()
	web := fmt.Sprintf("http = %d  https = -1", a.ports.http)
	if a.scheme == "https" {
		web = fmt.Sprintf("http = -1  https = %d", a.ports.http)
	}
	hcl := fmt.Sprintf(`node_name = %q  server = true  data_dir = %q
		bind_addr = %q  client_addr = %q  log_level = "warn"  disable_update_check = true
		ports { %s  dns = %d  server = %d  serf_lan = %d  serf_wan = %d  grpc = -1  grpc_tls = -1 }
		performance { raft_multiplier = 1 }  limits { http_max_conns_per_client = 200 }
		%s`, a.name, filepath.Join(a.dir, "data"), a.host, a.host, web, a.ports.dns, a.ports.server, a.ports.lan, a.ports.wan, a.config)
	file := filepath.Join(a.dir, "consul.hcl")
	if err := os.WriteFile(file, []byte(hcl), 0o600); err != nil {
		a.t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(a.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		a.t.Fatal(err)
	}
	defer log.Close()
	a.process = exec.Command(a.program, "agent", "-config-file", file)
	a.process.Stdout, a.process.Stderr = log, log
	if err := a.process.Start(); err != nil {
		a.t.Fatal(err)
	}
}

func (a *Agent) awaitLeader(nodes int) {
	a.t.Helper()
	Eventually(a.t, 60*time.Second, a.name+" has a leader and knows all nodes", func() bool {
		known, _, err := a.API.Catalog().Nodes(&api.QueryOptions{RequireConsistent: true})
		return err == nil && len(known) >= nodes
	})
}

// Kill ends the process as kill -9 does.
func (a *Agent) Kill() {
	if a.process != nil && a.process.ProcessState == nil {
		_ = a.process.Process.Kill()
		var killed *exec.ExitError
		if err := a.process.Wait(); err != nil && !errors.As(err, &killed) {
			a.t.Error(err)
		}
	}
	if a.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(a.dir, "log"))
		a.t.Logf("the log of Consul %s:\n%.4000s", a.name, log)
	}
}

// Wipe loses the data of a Consul that was killed.
func (a *Agent) Wipe() {
	if err := os.RemoveAll(filepath.Join(a.dir, "data")); err != nil {
		a.t.Fatal(err)
	}
}

// IsLeader tells whether it leads its cluster.
func (a *Agent) IsLeader() bool {
	leader, err := a.API.Status().Leader()
	return err == nil && leader == fmt.Sprint(a.host, ":", a.ports.server)
}

// Service registers an instance with a TTL check of a status.
func (a *Agent) Service(name string, port int, status string) {
	a.t.Helper()
	err := a.API.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: name, Port: port, Check: &api.AgentServiceCheck{TTL: "1h", Status: status},
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// Set sets the status of that check.
func (a *Agent) Set(name, status string) {
	a.t.Helper()
	if err := a.API.Agent().UpdateTTL("service:"+name, "", status); err != nil {
		a.t.Fatal(err)
	}
}

// choosePorts chooses ports of an address, another one each. One that nobody else has
// gets ports that nobody is given by chance, who may listen at all addresses; elsewhere
// all are held until the last one is chosen.
func choosePorts(t testing.TB, host string, ports ...*int) {
	t.Helper()
	for n, port := range ports {
		if runtime.GOOS == "linux" {
			*port = 21001 + n
			continue
		}
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		*port = l.Addr().(*net.TCPAddr).Port
	}
}

// Eventually polls, because another process is waited for.
func Eventually(t testing.TB, within time.Duration, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !true(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
