package main

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	consulwatch "github.com/hashicorp/consul/api/watch"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// TestConsulsClientWorksUnchanged plays a service's life with the client that
// Consul's users have, whichever registry stands behind the server.
func TestConsulsClientWorksUnchanged(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { playServiceLife(t, running(t)) })
	t.Run("consul", func(t *testing.T) { playServiceLife(t, runningInFront(t, consultest.Start(t, ""), nil)) })
}

// clientOf returns Consul's client, of a server of ours.
func clientOf(t *testing.T, s *server, token string) *api.Client {
	t.Helper()
	config := api.DefaultNonPooledConfig()
	config.Address, config.Token = s.adminAddr().String(), token
	c, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// playServiceLife registers a service with checks, has a watch see them fail,
// recover and lapse, and deregisters it.
func playServiceLife(t *testing.T, s *server) {
	c := clientOf(t, s, "")
	seen := watchStatus(t, s.adminAddr().String(), "web")
	seen.wants(t, "")

	var down atomic.Bool
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer target.Close()
	err := c.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: "web", ID: "web-1", Port: 8000, Tags: []string{"v1"},
		Checks: api.AgentServiceChecks{
			{CheckID: "beat", TTL: "1s", Status: api.HealthPassing},
			{CheckID: "page", HTTP: target.URL, Interval: "1s", Timeout: "1s"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	seen.wants(t, api.HealthCritical) // until the page is probed
	if err := c.Agent().UpdateTTL("beat", "well", api.HealthPassing); err != nil {
		t.Fatal(err)
	}
	stop := beat(c, "beat")
	seen.wants(t, api.HealthPassing)
	down.Store(true)
	seen.wants(t, api.HealthCritical)
	down.Store(false)
	seen.wants(t, api.HealthPassing)
	stop()
	seen.wants(t, api.HealthCritical) // the heartbeat has lapsed

	services, _, err := c.Health().Service("web", "v1", true, nil)
	if err != nil || len(services) != 0 {
		t.Errorf("passing instances are %v, %v", services, err)
	}
	checks, err := c.Agent().ChecksWithFilter(`CheckID == "beat"`)
	if err != nil || len(checks) != 1 || checks["beat"].Status != api.HealthCritical {
		t.Errorf("the check is %v, %v", checks, err)
	}
	if err := c.Agent().ServiceDeregister("web-1"); err != nil {
		t.Fatal(err)
	}
	seen.wants(t, "")
	if err := c.Agent().ServiceDeregister("web-1"); err == nil {
		t.Error("an instance that is not there was deregistered")
	}
}

// beat sends heartbeats until it is told to stop.
func beat(c *api.Client, check string) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_ = c.Agent().UpdateTTL(check, "well", api.HealthPassing)
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

// statuses are what a watch plan of Consul's sees of a service, one after the
// other: the worst status of its checks, or nothing.
type statuses chan string

func watchStatus(t *testing.T, addr, service string) statuses {
	t.Helper()
	plan, err := consulwatch.Parse(map[string]any{"type": "service", "service": service})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(statuses, 1000)
	plan.Handler = func(_ uint64, raw any) {
		status := ""
		for _, e := range raw.([]*api.ServiceEntry) {
			status = e.Checks.AggregatedStatus()
		}
		seen <- status
	}
	ended := make(chan error, 1)
	go func() { ended <- plan.Run(addr) }()
	t.Cleanup(func() {
		plan.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return seen
}

func (s statuses) wants(t *testing.T, want string) {
	t.Helper()
	for deadline := time.After(15 * time.Second); ; {
		select {
		case got := <-s:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("the watch never saw the status %q", want)
		}
	}
}
