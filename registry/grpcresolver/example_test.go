package grpcresolver_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http/httptest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/admin"
	"github.com/rollcall-dns/rollcall/registry/embedded"
	"github.com/rollcall-dns/rollcall/registry/grpcresolver"
)

// A client finds a service by its name alone, ports included, and is told of each
// change. The rollcall of this example is one in the same program.
func Example() {
	api, stop := serveRollcallAndWeb()
	defer stop()

	conn, err := grpc.NewClient("rollcall:///web",
		grpc.WithResolvers(grpcresolver.New(grpcresolver.Config{API: api})),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	health, err := grpc_health_v1.NewHealthClient(conn).Check(context.Background(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(health.Status)
	// Output: SERVING
}

// serveRollcallAndWeb serves gRPC, registered as web, and the registry that it is in.
func serveRollcallAndWeb() (api string, stop func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	web := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(web, grpchealth.NewServer())
	go func() { _ = web.Serve(listener) }()

	ctx := context.Background()
	reg, err := embedded.Open(ctx, embedded.Config{Node: registry.Node{Name: "host-1", Address: "127.0.0.1"}})
	if err != nil {
		log.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := reg.Register(ctx, registry.Registration{Instance: &registry.Instance{Service: "web", Port: port}}); err != nil {
		log.Fatal(err)
	}
	handler, err := admin.New(admin.Config{Registry: reg, Node: "host-1", Datacenter: "dc1"})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(handler)
	return server.URL, func() { server.CloseClientConnections(); server.Close(); web.Stop(); _ = reg.Close() }
}
