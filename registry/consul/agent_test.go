package consul

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// consul is a real Consul on loopback, a server that is its own agent.
type consul struct {
	t       testing.TB
	dir     string
	ports   map[string]int
	config  string
	process *exec.Cmd
	api     *api.Client
}

// startConsul starts a Consul with ports and a directory of its own, and with
// the given configuration besides. It ends with the test.
func startConsul(t testing.TB, config string) *consul {
	t.Helper()
	program, err := filepath.Abs("../../bin/consul")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("there is no bin/consul: testdata/consul/build builds it")
	}
	c := &consul{t: t, dir: t.TempDir(), ports: make(map[string]int), config: config}
	for _, name := range []string{"http", "server", "serf_lan", "serf_wan"} {
		c.ports[name] = freePort(t)
	}
	client := api.DefaultConfig()
	client.Address, client.Token = c.address(), "root"
	if c.api, err = api.NewClient(client); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Transport.CloseIdleConnections() })
	c.process = exec.Command(program)
	c.start()
	t.Cleanup(c.kill)
	return c
}

func (c *consul) address() string { return fmt.Sprint("127.0.0.1:", c.ports["http"]) }

// start starts the process and waits until it has a leader.
func (c *consul) start() {
	c.t.Helper()
	hcl := fmt.Sprintf(`node_name = "n1"  server = true  bootstrap_expect = 1  data_dir = %q
		bind_addr = "127.0.0.1"  client_addr = "127.0.0.1"  log_level = "warn"  disable_update_check = true
		ports { http = %d  server = %d  serf_lan = %d  serf_wan = %d  dns = -1  grpc = -1  grpc_tls = -1 }
		performance { raft_multiplier = 1 }  limits { http_max_conns_per_client = 200 }
		%s`, filepath.Join(c.dir, "data"), c.ports["http"], c.ports["server"], c.ports["serf_lan"], c.ports["serf_wan"], c.config)
	file := filepath.Join(c.dir, "consul.hcl")
	if err := os.WriteFile(file, []byte(hcl), 0o600); err != nil {
		c.t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	c.process = exec.Command(c.process.Path, "agent", "-config-file", file)
	c.process.Stdout, c.process.Stderr = log, log
	if err := c.process.Start(); err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, 30*time.Second, "Consul has a leader and knows its own node", func() bool {
		nodes, _, err := c.api.Catalog().Nodes(&api.QueryOptions{RequireConsistent: true})
		return err == nil && len(nodes) > 0
	})
}

// kill ends the process as kill -9 does.
func (c *consul) kill() {
	if c.process.Process != nil && c.process.ProcessState == nil {
		c.process.Process.Kill()
		c.process.Wait()
	}
	if c.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
		c.t.Logf("Consul's log:\n%.4000s", log)
	}
}

// wipe loses the data of a Consul that was killed.
func (c *consul) wipe() {
	if err := os.RemoveAll(filepath.Join(c.dir, "data")); err != nil {
		c.t.Fatal(err)
	}
}

// service registers an instance with a TTL check of a status.
func (c *consul) service(name string, port int, status string) {
	c.t.Helper()
	err := c.api.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: name, Port: port, Check: &api.AgentServiceCheck{TTL: "1h", Status: status},
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *consul) set(name, status string) {
	c.t.Helper()
	if err := c.api.Agent().UpdateTTL("service:"+name, "", status); err != nil {
		c.t.Fatal(err)
	}
}

// follow starts a Registry in front of the Consul.
func (c *consul) follow(config Config) *Registry {
	c.t.Helper()
	config.Address = c.address()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := Open(ctx, config)
	if err != nil {
		c.t.Fatal(err)
	}
	start(c.t, r)
	eventually(c.t, 20*time.Second, "the first sync is done", func() bool { return r.Freshness().Synced })
	return r
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually polls, because another process is waited for.
func eventually(t testing.TB, within time.Duration, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !true(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
