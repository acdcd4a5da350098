package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// TestAHeartbeatIsNotLateBecauseTheProcessStoodStill stops the program for longer than
// a TTL, in which nobody can reach it, and has it go on.
func TestAHeartbeatIsNotLateBecauseTheProcessStoodStill(t *testing.T) {
	child, at, _ := startProcess(t, t.TempDir())
	defer kill(child)
	agent := agentAt(t, at)
	if err := agent.ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80, Check: &api.AgentServiceCheck{TTL: "3s", Status: "passing"}}); err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(4 * time.Second)
	if err := child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	status := func() string {
		t.Helper()
		checks, err := agent.Checks()
		if err != nil {
			t.Fatal(err)
		}
		return checks["service:web"].Status
	}
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if got := status(); got != "passing" {
			t.Fatalf("it is %s %v after the program goes on", got, 2*time.Second-time.Until(until))
		}
	}
	t.Log("stopped for 4 s with a TTL of 3 s: it is passing 2 s later")
	for until := time.Now().Add(20 * time.Second); status() != "critical"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("without a heartbeat it stays passing")
		}
	}
}

func agentAt(t *testing.T, at string) *api.Agent {
	t.Helper()
	client, err := api.NewClient(&api.Config{Address: strings.TrimPrefix(at, "http://"), HttpClient: &http.Client{Timeout: 10 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	return client.Agent()
}
