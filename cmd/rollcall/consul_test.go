package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// runningInFront starts a server in this process in front of a Consul, and waits
// until it knows what is there.
func runningInFront(t *testing.T, agent *consultest.Agent, edit func(*settings)) *server {
	t.Helper()
	settings := &settings{
		dnsAddrs: []string{"127.0.0.1:0"}, adminAddr: "127.0.0.1:0", dataDir: t.TempDir(),
		consul: &consulSettings{address: agent.Address()},
		ttl:    5 * time.Second, negativeTTL: 5 * time.Second, maxAnswers: 100, logger: slog.New(slog.DiscardHandler),
	}
	if edit != nil {
		edit(settings)
	}
	s := start(t, settings)
	consultest.Eventually(t, 20*time.Second, "the first sync is done", func() bool { return s.registry.freshness().Synced })
	return s
}

// start starts a server in this process, which ends with the test.
func start(t *testing.T, settings *settings) *server {
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
