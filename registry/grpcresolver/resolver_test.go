package grpcresolver_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/admin"
	"github.com/rollcall-dns/rollcall/registry/embedded"
	"github.com/rollcall-dns/rollcall/registry/grpcresolver"
)

// rollcall serves a registry's admin endpoint until the test ends.
func rollcall(t *testing.T) (*embedded.Registry, string) {
	t.Helper()
	r, err := embedded.Open(t.Context(), embedded.Config{Node: registry.Node{Name: "n1", Address: "10.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	metrics := prometheus.NewRegistry()
	s, err := admin.New(admin.Config{
		Registry: r, Node: "n1", Datacenter: "dc1", Zone: "rollcall.internal.", Logger: slog.New(slog.DiscardHandler),
		Metrics: metrics, Gatherer: metrics, Ready: func() error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, r.Close()); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return r, l.Addr().String()
}

func register(t *testing.T, r *embedded.Registry, i registry.Instance) {
	t.Helper()
	if err := r.Register(t.Context(), registry.Registration{Instance: &i}); err != nil {
		t.Fatal(err)
	}
}

// conn is what gRPC gives a resolver to tell of addresses.
type conn struct {
	states chan []string
	errs   chan error
}

func (c *conn) UpdateState(s resolver.State) error {
	var addresses []string
	for _, a := range s.Addresses {
		addresses = append(addresses, a.Addr)
	}
	c.states <- addresses
	return nil
}

func (c *conn) ReportError(err error) {
	select {
	case c.errs <- err:
	default:
	}
}

func (c *conn) NewAddress([]resolver.Address) {}

func (c *conn) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }

func build(t *testing.T, target string, config grpcresolver.Config) (*conn, resolver.Resolver) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{make(chan []string, 10), make(chan error, 1)}
	r, err := grpcresolver.New(config).Build(resolver.Target{URL: *u}, c, resolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return c, r
}

// wants waits for a state.
func (c *conn) wants(t *testing.T, want ...string) {
	t.Helper()
	select {
	case got := <-c.states:
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("the addresses are %v, not %v", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("nothing is told of %v", want)
	}
}

func TestInstancesAreToldAsTheyChange(t *testing.T) {
	r, addr := rollcall(t)
	register(t, r, registry.Instance{Service: "web", ID: "1", Port: 8001})
	c, _ := build(t, "rollcall:///web", grpcresolver.Config{API: "http://" + addr})
	c.wants(t, "10.0.0.1:8001")
	register(t, r, registry.Instance{Service: "web", ID: "2", Port: 8002, Address: "fd00::2"})
	c.wants(t, "10.0.0.1:8001", "[fd00::2]:8002")
	if err := r.Deregister(t.Context(), registry.Deregistration{InstanceID: "1"}); err != nil {
		t.Fatal(err)
	}
	c.wants(t, "[fd00::2]:8002")
	for _, status := range []registry.Status{registry.Critical, registry.Warning} {
		check := registry.Check{ID: "c", InstanceID: "2", Status: status, Definition: &registry.Definition{TTL: time.Hour}}
		if err := r.Register(t.Context(), registry.Registration{Checks: []registry.Check{check}}); err != nil {
			t.Fatal(err)
		}
		if status == registry.Critical {
			c.wants(t)
		} else {
			c.wants(t, "[fd00::2]:8002")
		}
	}
}

func TestATagOrAPortNarrowsTheChoice(t *testing.T) {
	r, addr := rollcall(t)
	register(t, r, registry.Instance{Service: "web", ID: "1", Port: 8001, Tags: []string{"v1"}})
	register(t, r, registry.Instance{Service: "web", ID: "2", Ports: []registry.Port{{Name: "http", Port: 8002, Default: true}, {Name: "grpc", Port: 9002}}})
	c, _ := build(t, "rollcall://"+addr+"/web?tag=v1", grpcresolver.Config{})
	c.wants(t, "10.0.0.1:8001")
	c, _ = build(t, "rollcall://"+addr+"/web?port=grpc", grpcresolver.Config{})
	c.wants(t, "10.0.0.1:9002")
}

func TestAnErrorIsToldAndTriedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // it hangs up on everybody
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	c, r := build(t, "rollcall:///web", grpcresolver.Config{API: "http://" + l.Addr().String()})
	for range 2 {
		select {
		case err := <-c.errs:
			if !strings.HasPrefix(err.Error(), "ask rollcall: ") {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no error is told")
		}
		r.ResolveNow(resolver.ResolveNowOptions{})
	}
}

func TestANameWithoutAServiceIsRefused(t *testing.T) {
	for _, text := range []string{"rollcall:///", "rollcall://127.0.0.1:5380", "rollcall:///a/b"} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := grpcresolver.New(grpcresolver.Config{}).Build(resolver.Target{URL: *u}, &conn{}, resolver.BuildOptions{}); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}
