// Command envoy reads a configuration of Envoy's from standard input, holds it
// against Envoy's own definitions, and prints what its DNS clusters ask, and
// whom. It is not Envoy: it says whether Envoy would take the configuration, as
// far as the definitions say so, and nothing of what Envoy would do with it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dns "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	cares "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"
)

// lookup is what a cluster asks of DNS for one of its endpoints.
type lookup struct {
	Name      string
	Port      uint32
	Family    string
	Resolvers []string
}

func main() {
	lookups, err := read(os.Stdin)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(lookups)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// read returns what the DNS clusters of a configuration in YAML ask.
func read(r io.Reader) ([]lookup, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	text, err = yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	config := new(bootstrap.Bootstrap)
	if err := protojson.Unmarshal(text, config); err != nil { // takes neither unknown fields nor unknown types
		return nil, err
	}
	if err := check(config); err != nil {
		return nil, err
	}
	var lookups []lookup
	for _, c := range config.GetStaticResources().GetClusters() {
		of, err := lookupsOf(c)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.GetName(), err)
		}
		lookups = append(lookups, of...)
	}
	return lookups, nil
}

// check returns what is wrong with a message and those within it, by the rules of
// its definition. What is deprecated is wrong, too.
func check(m proto.Message) error {
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			return err
		}
	}
	if packed, ok := m.(*anypb.Any); ok { // whose content the rules above do not reach
		inner, err := packed.UnmarshalNew()
		if err != nil {
			return err
		}
		return check(inner)
	}
	var errs []error
	m.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if options, ok := field.Options().(*descriptorpb.FieldOptions); ok && options.GetDeprecated() {
			errs = append(errs, fmt.Errorf("%s is deprecated", field.FullName()))
		}
		switch {
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for i := range value.List().Len() {
				errs = append(errs, check(value.List().Get(i).Message().Interface()))
			}
		default:
			errs = append(errs, check(value.Message().Interface()))
		}
		return true
	})
	return errors.Join(errs...)
}

// lookupsOf returns what a DNS cluster asks.
func lookupsOf(c *cluster.Cluster) ([]lookup, error) {
	config, resolver := new(dns.DnsCluster), new(cares.CaresDnsResolverConfig)
	if err := c.GetClusterType().GetTypedConfig().UnmarshalTo(config); err != nil {
		return nil, err
	}
	if err := config.GetTypedDnsResolverConfig().GetTypedConfig().UnmarshalTo(resolver); err != nil {
		return nil, err
	}
	var servers []string
	for _, r := range resolver.GetResolvers() {
		servers = append(servers, hostPort(r.GetSocketAddress()))
	}
	var lookups []lookup
	for _, locality := range c.GetLoadAssignment().GetEndpoints() {
		for _, e := range locality.GetLbEndpoints() {
			address := e.GetEndpoint().GetAddress().GetSocketAddress()
			lookups = append(lookups, lookup{address.GetAddress(), address.GetPortValue(), config.GetDnsLookupFamily().String(), servers})
		}
	}
	return lookups, nil
}

func hostPort(a *core.SocketAddress) string {
	return net.JoinHostPort(a.GetAddress(), strconv.Itoa(int(a.GetPortValue())))
}
