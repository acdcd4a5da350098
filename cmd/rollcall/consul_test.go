package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/health"
	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// runningInFront starts a server in this process in front of a Consul, and waits
// until it knows what is there.
func runningInFront(t testing.TB, agent *consultest.Agent, edit func(*settings)) *server {
	t.Helper()
	settings := &settings{
		dnsAddrs: []string{"127.0.0.1:0"}, adminAddr: "127.0.0.1:0", dataDir: t.TempDir(),
		consul: &consulSettings{address: agent.Address()}, checkAllow: health.Private(),
		ttl: 5 * time.Second, negativeTTL: 5 * time.Second, maxAnswers: 100, logger: slog.New(slog.DiscardHandler),
	}
	if edit != nil {
		edit(settings)
	}
	s := start(t, settings)
	consultest.Eventually(t, 20*time.Second, "the first sync is done", func() bool { return s.registry.freshness().Synced })
	return s
}

func TestWritesReachConsulWithTheCallersToken(t *testing.T) {
	agent := consultest.Start(t, `acl { enabled = true  default_policy = "deny"  tokens { initial_management = "root"  agent = "root" } }`)
	reader := newToken(t, agent, `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" } agent_prefix "" { policy = "read" }`)
	writer := newToken(t, agent, `service "shop" { policy = "write" }`)
	agent.Service("web", 80, "passing")
	s := runningInFront(t, agent, func(s *settings) { s.consul.token = reader })

	if got := question(t, s, "web.service.consul.", dns.TypeA); len(got.Answer) != 1 {
		t.Errorf("rollcall's own token does not see the catalog:\n%v", got)
	}
	register := func(token, name string) error {
		return clientOf(t, s, token).Agent().ServiceRegister(&api.AgentServiceRegistration{Name: name, Port: 81})
	}
	for token, whose := range map[string]string{"": "nobody", reader: "a reader", "made-up": "a stranger"} {
		if err := register(token, "shop"); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("%s registers: %v", whose, err)
		}
	}
	if err := register(writer, "shop"); err != nil {
		t.Errorf("the owner registers: %v", err)
	}
	if err := register(writer, "web"); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("the owner of another service registers: %v", err)
	}
	if got := question(t, s, "shop.service.consul.", dns.TypeSRV); len(got.Answer) != 1 {
		t.Errorf("what was registered is not found:\n%v", got)
	}
}

// newToken returns the secret of a token with a policy of its own.
func newToken(t *testing.T, agent *consultest.Agent, rules string) string {
	t.Helper()
	consultest.Eventually(t, 10*time.Second, "the ACLs are there", func() bool {
		_, _, err := agent.API.ACL().TokenReadSelf(nil)
		return err == nil
	})
	policy, _, err := agent.API.ACL().PolicyCreate(&api.ACLPolicy{Name: fmt.Sprintf("p%d", rand.Int()), Rules: rules}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := agent.API.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: policy.ID}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return token.SecretID
}

func TestConsulOverTLS(t *testing.T) {
	agent, tls := consultest.StartTLS(t)
	agent.Service("web", 80, "passing")
	s := runningInFront(t, agent, func(s *settings) {
		s.consul.caFile, s.consul.certFile, s.consul.keyFile = tls.CAFile, tls.CertFile, tls.KeyFile
	})
	if got := question(t, s, "web.service.consul.", dns.TypeA); len(got.Answer) != 1 {
		t.Errorf("the service is not found:\n%v", got)
	}
}

// TestDNSChecksRunHere has a name server that is up and then down, which Consul
// could not check itself.
func TestDNSChecksRunHere(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		reply.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 1)}}
		_ = w.WriteMsg(reply)
	})}
	ended := make(chan error, 1)
	go func() { ended <- target.ActivateAndServe() }()

	agent := consultest.Start(t, "")
	s := runningInFront(t, agent, nil)
	put(t, "http://"+s.adminAddr().String()+"/v1/agent/service/register", object{
		"Name": "resolver", "Port": 53,
		"Check": object{"DNS": "dns://" + packets.LocalAddr().String() + "/example.com?type=A", "Interval": "1s", "Timeout": "1s"},
	})
	seen := func(status string) func() bool {
		return func() bool {
			checks, err := agent.API.Agent().Checks()
			c := checks["service:resolver"]
			return err == nil && c != nil && c.Type == "ttl" && c.Status == status
		}
	}
	consultest.Eventually(t, 30*time.Second, "Consul knows that it is well", seen("passing"))
	time.Sleep(5 * time.Second) // longer than the heartbeat's TTL at Consul
	if !seen("passing")() {
		t.Error("the heartbeats have stopped")
	}
	if err := target.Shutdown(); err != nil {
		t.Fatal(err)
	}
	<-ended
	consultest.Eventually(t, 30*time.Second, "Consul knows that it is not", seen("critical"))
}

// start starts a server in this process, which ends with the test.
func start(t testing.TB, settings *settings) *server {
	t.Helper()
	s, err := newServer(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
