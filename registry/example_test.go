package registry_test

import (
	"context"
	"fmt"
	"log"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
)

// open returns a registry in memory: any other one is used alike.
func open() registry.Registry {
	reg, err := embedded.Open(context.Background(), embedded.Config{Node: registry.Node{Name: "host-1", Address: "10.0.0.1"}})
	if err != nil {
		log.Fatal(err)
	}
	return reg
}

// Whoever was told that a registration is done finds it: a check that fails takes the
// instance out of what is discovered, and leaves it in the View.
func ExampleRegistry() {
	ctx, reg := context.Background(), open()
	err := reg.Register(ctx, registry.Registration{
		Instance: &registry.Instance{Service: "web", ID: "web-1", Port: 8080},
		Checks:   []registry.Check{{ID: "beat", InstanceID: "web-1", Status: registry.Passing}},
	})
	if err != nil {
		log.Fatal(err)
	}
	found := func() {
		endpoints, err := reg.Discover(ctx, registry.Query{Service: "web"})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(endpoints), "of", len(reg.View().Service("web").Instances))
	}
	found()
	if err := reg.SetStatus(ctx, registry.StatusUpdate{CheckID: "beat", Status: registry.Critical}); err != nil {
		log.Fatal(err)
	}
	found()
	// Output:
	// 1 of 1
	// 0 of 1
}

// What is made from a View is good until its Stamp is superseded, which is before
// whoever changed the service is answered.
func ExampleStamp() {
	ctx, reg := context.Background(), open()
	register := func(port int) {
		if err := reg.Register(ctx, registry.Registration{Instance: &registry.Instance{Service: "web", Port: port}}); err != nil {
			log.Fatal(err)
		}
	}
	register(8080)
	service := reg.View().Service("web")
	prepared := fmt.Sprint("web is at port ", service.Instances[0].Port)
	fmt.Println(prepared, service.Stamp.Current())
	register(8081)
	fmt.Println(prepared, service.Stamp.Current())
	// Output:
	// web is at port 8080 true
	// web is at port 8080 false
}

// An error says what it means to a program, and in its sentence to people.
func ExampleCodeOf() {
	err := open().Register(context.Background(), registry.Registration{Instance: &registry.Instance{Service: "web", Port: 70000}})
	if registry.CodeOf(err) == registry.Invalid {
		fmt.Println(err)
	}
	// Output: Port is 70000, and must be 1 to 65535
}
