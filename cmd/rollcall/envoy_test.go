package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// These tests do what can be done about Envoy without it: its definitions take
// the configuration of the page, and the library that it asks DNS with finds
// what the configuration names where it says.

// envoyLookup is what a cluster of a configuration of Envoy's asks.
type envoyLookup struct {
	Name, Family string
	Port         int
	Resolvers    []string
}

// envoyReads has Envoy's definitions read a configuration.
func envoyReads(t *testing.T, config string) ([]envoyLookup, error) {
	t.Helper()
	var said bytes.Buffer
	command := exec.Command(built(t, "envoy-config"))
	command.Stdin, command.Stderr = strings.NewReader(config), &said
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, said.String())
	}
	var lookups []envoyLookup
	if err := json.Unmarshal(out, &lookups); err != nil {
		t.Fatal(err)
	}
	return lookups, nil
}

// asksAsEnvoy asks as a strict DNS cluster does, by the same library, but more
// often, and prints what it has found when it is something else.
const asksAsEnvoy = `
const resolver = new (require("dns").promises.Resolver)()
resolver.setServers([process.argv[1]])
const ask = async () => {
	try { return (await resolver.resolve4(process.argv[2])).sort().join(" ") } catch (e) { return e.code }
}
(async () => {
	for (let last; ; await new Promise(done => setTimeout(done, 100))) {
		const found = await ask()
		if (found !== last) console.log(last = found)
	}
})()`

func TestEnvoysConfiguration(t *testing.T) {
	config := placeAt(t, running(t)).boxes("envoy.md")[0]
	if lookups, err := envoyReads(t, config); err != nil || len(lookups) != 1 {
		t.Errorf("Envoy's definitions say of the page's configuration %v, %v", lookups, err)
	}
	for what, wrong := range map[string]*strings.Replacer{
		"a field that is not there":   strings.NewReplacer("dns_lookup_family", "dns_family"),
		"a type that is not there":    strings.NewReplacer("v3.DnsCluster", "v3.Cluster"),
		"a value that is not allowed": strings.NewReplacer("stat_prefix: web", "stat_prefix: ''"),
		"a field that is to go":       strings.NewReplacer("    load_assignment:", "    respect_dns_ttl: true\n    load_assignment:"),
	} {
		if _, err := envoyReads(t, wrong.Replace(config)); err == nil {
			t.Errorf("%s goes through", what)
		}
	}
}

func TestEnvoysResolver(t *testing.T) {
	p := newPlace(t, "node")
	dnsPort, webPort := p.server.dns.Addrs()[0].Port(), p.web.URL[strings.LastIndex(p.web.URL, ":")+1:]
	config := strings.NewReplacer("port_value: 5300", fmt.Sprint("port_value: ", dnsPort), "port_value: 8080", "port_value: "+webPort).Replace(p.boxes("envoy.md")[0])
	lookups, err := envoyReads(t, config)
	if err != nil {
		t.Fatal(err)
	}
	asked := lookups[0]
	if asked.Family != "V4_ONLY" {
		t.Fatalf("the configuration asks for %s", asked.Family)
	}
	found := p.start("node", "-e", asksAsEnvoy, asked.Resolvers[0], asked.Name)
	finds := func(addresses string) {
		t.Helper()
		consultest.Eventually(t, 15*time.Second, "it finds "+addresses, func() bool {
			return strings.HasSuffix("\n"+found(), "\n"+addresses+"\n")
		})
	}
	finds("127.0.0.1")
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", asked.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != "web_answers 1\n" {
		t.Errorf("where the configuration leads there is %q", body)
	}

	put(t, p.api()+"/v1/agent/service/maintenance/web-1?enable=true", nil)
	finds("ENODATA") // which empties the cluster
	put(t, p.api()+"/v1/agent/service/maintenance/web-1?enable=false", nil)
	finds("127.0.0.1")
	var all []string
	for n := range 60 { // more than a datagram has room for
		address := fmt.Sprintf("10.0.0.%d", 100+n)
		put(t, p.api()+"/v1/agent/service/register", object{"ID": address, "Name": "web", "Port": asked.Port, "Address": address})
		all = append(all, address)
	}
	finds(strings.Join(append(all, "127.0.0.1"), " "))
}
