package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
)

func Example() {
	ctx := context.Background()
	reg, err := embedded.Open(ctx, embedded.Config{Node: registry.Node{Name: "host-1", Address: "10.0.0.1"}})
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close()

	err = reg.Register(ctx, registry.Registration{Instance: &registry.Instance{Service: "web", ID: "web-1", Port: 8080}})
	if err != nil {
		log.Fatal(err)
	}
	endpoints, err := reg.Discover(ctx, registry.Query{Service: "web"})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range endpoints {
		fmt.Println(e.Instance.ID, e.Address, e.Port, e.Status)
	}
	// Output: web-1 10.0.0.1 8080 passing
}

// A query with Fresh asks what stands behind the View; for this registry that
// is the View itself, for one in front of a cluster it is the cluster.
func ExampleRegistry_Discover() {
	ctx := context.Background()
	reg, err := embedded.Open(ctx, embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close()

	_, err = reg.Discover(ctx, registry.Query{Service: "web", Fresh: true})
	fmt.Println(err)
	fmt.Println(registry.CodeOf(err) == registry.NotFound)
	// Output:
	// no service "web" is registered
	// true
}

func ExampleRegistry_Watch() {
	ctx := context.Background()
	reg, err := embedded.Open(ctx, embedded.Config{Node: registry.Node{Name: "host-1"}})
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close()

	start := reg.View().Index()
	for port := 8080; port < 8082; port++ {
		instance := &registry.Instance{Service: "web", ID: "web-1", Port: port}
		if err := reg.Register(ctx, registry.Registration{Instance: instance}); err != nil {
			log.Fatal(err)
		}
	}
	if err := reg.Deregister(ctx, registry.Deregistration{InstanceID: "web-1"}); err != nil {
		log.Fatal(err)
	}

	gone := errors.New("web-1 is gone")
	err = reg.Watch(ctx, start, func(e registry.Event) error {
		if e.Kind == registry.InstanceDeleted {
			return gone
		}
		fmt.Println(e.Instance.ID, e.Instance.Port)
		return nil
	})
	fmt.Println(err)
	// Output:
	// web-1 8080
	// web-1 8081
	// web-1 is gone
}
