package consul

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// realConsul is a Consul as registries stand in front of it.
type realConsul struct {
	*consultest.Agent
	t testing.TB
}

func startReal(t testing.TB, hcl string) *realConsul {
	t.Helper()
	return &realConsul{consultest.Start(t, hcl), t}
}

// follow starts a Registry in front of the Consul.
func (c *realConsul) follow(config Config) *Registry {
	c.t.Helper()
	config.Address = c.Address()
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

var eventually = consultest.Eventually

// These tests hold the package to a real Consul; what it would never do by
// itself is in the tests with a fake one.

func TestRealConsul(t *testing.T) {
	c := startReal(t, "")
	r := c.follow(Config{})
	ctx := t.Context()

	t.Run("the agent says who it is", func(t *testing.T) {
		expect(t, "domain", r.Domain(), "consul.")
		expect(t, "node", r.Node(), "n1")
		expect(t, "status", *r.Freshness(), registry.Freshness{Synced: true})
		if n := r.View().Node("n1"); n == nil || !strings.HasPrefix(n.Address, "127.") || len(n.Checks) != 1 {
			t.Errorf("the node is %+v", n)
		}
	})
	t.Run("a write is shown when it returns", func(t *testing.T) {
		web := registry.Registration{
			Instance: &registry.Instance{ID: "web-1", Service: "Web", Port: 80, Tags: []string{"Blue", "v1.2"}, Meta: map[string]string{"rack": "7"},
				TaggedAddresses: map[string]registry.TaggedAddress{"lan_ipv6": {Address: "2001:db8::1", Port: 80}}, Weights: registry.Weights{Passing: 3, Warning: 1}},
			Checks: []registry.Check{{Definition: &registry.Definition{TTL: time.Hour}, Status: registry.Passing}},
		}
		must(t, r.Register(ctx, web))
		i := r.View().Instance("n1", "web-1")
		if i == nil {
			t.Fatal("the instance is not there")
		}
		expect(t, "tags", i.Tags, web.Instance.Tags)
		expect(t, "weights", i.Weights, web.Instance.Weights)
		expect(t, "tagged address", i.TaggedAddresses["lan_ipv6"], web.Instance.TaggedAddresses["lan_ipv6"])
		expect(t, "status", r.View().StatusOf(i), registry.Passing)

		must(t, r.SetStatus(ctx, registry.StatusUpdate{CheckID: "service:web-1", Status: registry.Warning, Output: "hm"}))
		expect(t, "status", r.View().StatusOf(r.View().Instance("n1", "web-1")), registry.Warning)

		must(t, r.Register(ctx, registry.Registration{Checks: []registry.Check{
			{ID: registry.ServiceMaintenancePrefix + "web-1", InstanceID: "web-1", Notes: "painting", Status: registry.Critical}}}))
		if !r.View().Instance("n1", "web-1").InMaintenance() {
			t.Error("the instance is not in maintenance")
		}
		must(t, r.Deregister(ctx, registry.Deregistration{CheckID: registry.ServiceMaintenancePrefix + "web-1"}))
		if r.View().Instance("n1", "web-1").InMaintenance() {
			t.Error("the instance is still in maintenance")
		}
		err := r.Register(ctx, registry.Registration{Checks: []registry.Check{
			{ID: registry.ServiceMaintenancePrefix + "web-1", InstanceID: "web-1", Status: registry.Critical, Until: time.Now().Add(time.Hour)}}})
		if registry.CodeOf(err) != registry.Invalid || r.View().Instance("n1", "web-1").InMaintenance() {
			t.Errorf("a maintenance with an end: %v", err)
		}
		err = r.Register(ctx, registry.Registration{Checks: []registry.Check{{ID: registry.NodeMaintenance, Status: registry.Critical}}})
		if registry.CodeOf(err) != registry.Invalid || r.View().Node("n1").InMaintenance() {
			t.Errorf("the maintenance of the agent's node: %v", err)
		}
		must(t, r.Deregister(ctx, registry.Deregistration{InstanceID: "web-1"}))
		if r.View().Service("web") != nil {
			t.Error("the service is still there")
		}
	})
	t.Run("another node goes through the catalog", func(t *testing.T) {
		must(t, r.Register(ctx, registry.Registration{
			Node:     registry.Node{Name: "outside", Address: "example.com"},
			Instance: &registry.Instance{Service: "search", Port: 443},
			Checks:   []registry.Check{{ID: "alive", Name: "alive", Status: registry.Passing}},
		}))
		endpoints, err := r.Discover(ctx, registry.Query{Service: "search", Fresh: true})
		if err != nil || len(endpoints) != 1 || endpoints[0].Address != "example.com" {
			t.Fatalf("Discover: %v, %v", endpoints, err)
		}
		must(t, r.SetStatus(ctx, registry.StatusUpdate{Node: "outside", CheckID: "alive", Status: registry.Critical}))
		expect(t, "endpoints", ports(r, "search"), []int{})
		must(t, r.Deregister(ctx, registry.Deregistration{Node: "outside"}))
		if r.View().Node("outside") != nil || r.View().Service("search") != nil {
			t.Error("the node or its service is still there")
		}
	})
	t.Run("a DNS probe is a heartbeat for Consul and a probe for rollcall", func(t *testing.T) {
		d := &registry.Definition{DNS: "dns://192.0.2.53/example.com?type=A", Interval: 10 * time.Second, Timeout: 2 * time.Second}
		must(t, r.Register(ctx, registry.Registration{
			Instance: &registry.Instance{Service: "resolver", Port: 53}, Checks: []registry.Check{{Definition: d}}}))
		check := r.View().Check("n1", "service:resolver")
		expect(t, "definition", check.Definition, d)
		must(t, r.SetStatus(ctx, registry.StatusUpdate{CheckID: check.ID, Status: registry.Passing, Lease: check.Lease}))
		err := r.SetStatus(ctx, registry.StatusUpdate{CheckID: check.ID, Status: registry.Critical, Lease: registry.NewLease(time.Now())})
		expect(t, "code", registry.CodeOf(err), registry.Conflict)
		must(t, r.Deregister(ctx, registry.Deregistration{InstanceID: "resolver"}))
	})
	t.Run("what is not there is NotFound", func(t *testing.T) {
		for name, err := range map[string]error{
			"instance": r.Deregister(ctx, registry.Deregistration{InstanceID: "nope"}),
			"check":    r.SetStatus(ctx, registry.StatusUpdate{CheckID: "nope", Status: registry.Passing}),
			"node":     r.Deregister(ctx, registry.Deregistration{Node: "nope"}),
		} {
			expect(t, name, registry.CodeOf(err), registry.NotFound)
		}
	})
	t.Run("a flip of a service that was asked for is here within 100 ms at the median", func(t *testing.T) {
		c.Service("flip", 80, "passing")
		eventually(t, 5*time.Second, "flip is registered", func() bool { return len(ports(r, "flip")) == 1 })
		r.interest("flip")
		eventually(t, 5*time.Second, "flip is watched", func() bool { return r.watching.Load() > 0 })
		var took []time.Duration
		for n := range 21 {
			status, want := "critical", 0
			if n%2 == 1 {
				status, want = "passing", 1
			}
			began := time.Now()
			c.Set("flip", status)
			eventually(t, 5*time.Second, "the flip is seen", func() bool { return len(ports(r, "flip")) == want })
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		t.Logf("median %v, slowest %v", took[len(took)/2], took[len(took)-1])
		if took[len(took)/2] > 100*time.Millisecond {
			t.Errorf("the median is %v", took[len(took)/2])
		}
	})
}

func TestRealConsulRestarts(t *testing.T) {
	c := startReal(t, "")
	c.Service("web", 80, "passing")
	r := c.follow(Config{})
	eventually(t, 5*time.Second, "web is there", func() bool { return len(ports(r, "web")) == 1 })
	r.interest("web")

	c.Kill()
	eventually(t, 5*time.Second, "the status is stale", func() bool { return r.Freshness().Stale })
	expect(t, "web", ports(r, "web"), []int{80})

	c.Start()
	back := time.Now()
	c.Set("web", "critical")
	eventually(t, 5*time.Second, "the view is fresh", func() bool { return len(ports(r, "web")) == 0 && !r.Freshness().Stale })
	t.Logf("fresh %v after Consul was back", time.Since(back))
	c.Set("web", "passing")
	eventually(t, 5*time.Second, "web is back", func() bool { return len(ports(r, "web")) == 1 })

	c.Kill()
	c.Wipe()
	c.Start()
	eventually(t, 10*time.Second, "the view is fresh", func() bool { return !r.Freshness().Stale })
	expect(t, "web after the data was wiped", ports(r, "web"), []int{80})
	c.Service("web", 81, "passing")
	eventually(t, 5*time.Second, "web is as it registered again", func() bool { return slices.Equal(ports(r, "web"), []int{81}) })
}

func TestRealConsulTakesTheTokenAway(t *testing.T) {
	c := startReal(t, `acl { enabled = true  default_policy = "deny"  tokens { initial_management = "root"  agent = "root" } }`)
	eventually(t, 10*time.Second, "the ACLs are there", func() bool {
		_, _, err := c.API.ACL().TokenReadSelf(nil)
		return err == nil
	})
	c.Service("web", 80, "passing")
	policy, _, err := c.API.ACL().PolicyCreate(&api.ACLPolicy{Name: "read",
		Rules: `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" } agent_prefix "" { policy = "read" }`}, nil)
	must(t, err)
	grant := func() *api.ACLToken {
		token, _, err := c.API.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: policy.ID}}}, nil)
		must(t, err)
		return token
	}
	token := grant()
	r := c.follow(Config{Token: token.SecretID})
	eventually(t, 5*time.Second, "web is there", func() bool { return len(ports(r, "web")) == 1 })
	r.interest("web")

	t.Run("a write needs the caller's token", func(t *testing.T) {
		shop := registry.Registration{Instance: &registry.Instance{Service: "shop", Port: 8080}}
		expect(t, "without one", registry.CodeOf(r.Register(t.Context(), shop)), registry.Forbidden)
		must(t, r.Register(WithToken(context.Background(), "root"), shop))
		expect(t, "shop", ports(r, "shop"), []int{8080})
	})
	t.Run("a policy that is lost deletes nothing", func(t *testing.T) {
		policy.Rules = `service "shop" { policy = "read" }`
		_, _, err := c.API.ACL().PolicyUpdate(policy, nil)
		must(t, err)
		c.Service("other", 90, "passing") // so that every question is answered anew
		eventually(t, 10*time.Second, "the status is stale", func() bool { return r.Freshness().Stale })
		expect(t, "web", ports(r, "web"), []int{80})
	})
	t.Run("a token that is deleted deletes nothing", func(t *testing.T) {
		_, err := c.API.ACL().TokenDelete(token.AccessorID, nil)
		must(t, err)
		eventually(t, 10*time.Second, "the loss is noticed", func() bool { return r.Freshness().Stale })
		expect(t, "web", ports(r, "web"), []int{80})
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
