package main

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"
)

// No engine runs the containers in a test. These tests hold what describes them to the
// program that is in them: its variables, commands, addresses and ports.

// readDeployed reads a file that comes with rollcall.
func readDeployed(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// isAccepted holds an environment to what serve takes.
func isAccepted(t *testing.T, environment map[string]string) {
	t.Helper()
	var known []string
	for _, f := range newApp().Command("serve").Flags {
		known = append(known, f.(cli.DocGenerationFlag).GetEnvVars()...)
	}
	for name, value := range environment {
		if !slices.Contains(known, name) {
			t.Errorf("no flag of serve is %s in the environment", name)
		}
		t.Setenv(name, value)
	}
	if code := run(context.Background(), []string{"rollcall", "check-config"}); code != 0 {
		t.Errorf("with %v check-config ends with %d", environment, code)
	}
}

// portOf is that of an address.
func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// dockerfile is the last stage of the Dockerfile, by its instructions.
func dockerfile(t *testing.T) map[string][]string {
	t.Helper()
	text := strings.ReplaceAll(readDeployed(t, "Dockerfile"), "\\\n", " ")
	instructions := make(map[string][]string)
	for line := range strings.SplitSeq(text[strings.LastIndex(text, "\nFROM "):], "\n") {
		if word, rest, ok := strings.Cut(line, " "); ok && word == strings.ToUpper(word) {
			instructions[word] = append(instructions[word], strings.Join(strings.Fields(rest), " "))
		}
	}
	return instructions
}

// only returns the one instruction of a kind.
func only(t *testing.T, all []string) string {
	t.Helper()
	if len(all) != 1 {
		t.Fatalf("there are %d of one: %q", len(all), all)
	}
	return all[0]
}

func TestTheImageRunsWhatIsInIt(t *testing.T) {
	d := dockerfile(t)
	words := func(text string) (words []string) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), &words); err != nil { // the other form takes a shell
			t.Fatalf("%s: %v", text, err)
		}
		return words
	}
	entry := words(only(t, d["ENTRYPOINT"]))
	if len(entry) != 1 || !slices.ContainsFunc(d["COPY"], func(copy string) bool { return strings.HasSuffix(copy, " "+entry[0]) }) {
		t.Errorf("nothing was copied to %v", entry)
	}
	if command := words(only(t, d["CMD"])); newApp().Command(command[0]) == nil {
		t.Errorf("there is no command %v", command)
	}
	_, check, _ := strings.Cut(only(t, d["HEALTHCHECK"]), "CMD ")
	if health := words(check); len(health) != 2 || health[0] != entry[0] || newApp().Command(health[1]) == nil {
		t.Errorf("%v is no way to ask for its health", health)
	}
	user := only(t, d["USER"])
	if !regexp.MustCompile(`^[1-9][0-9]*$`).MatchString(user) { // or Kubernetes cannot know that it is not root
		t.Errorf("it runs as %s", user)
	}
	environment := make(map[string]string)
	for each := range strings.FieldsSeq(only(t, d["ENV"])) {
		name, value, _ := strings.Cut(each, "=")
		environment[name] = value
	}
	volume := only(t, d["VOLUME"])
	if environment["ROLLCALL_DATA_DIR"] != volume {
		t.Errorf("the volume is %s, and data are kept in %s", volume, environment["ROLLCALL_DATA_DIR"])
	}
	if !slices.ContainsFunc(d["COPY"], func(copy string) bool {
		return strings.Contains(copy, "--chown="+user+":"+user+" ") && strings.HasSuffix(copy, " "+volume)
	}) {
		t.Errorf("%s is not %s's", volume, user)
	}
	dns, admin := portOf(t, environment["ROLLCALL_DNS_ADDR"]), portOf(t, flagCalled(serveFlags(), "admin-addr").(*cli.StringFlag).Value)
	if got, want := only(t, d["EXPOSE"]), dns+"/udp "+dns+"/tcp "+admin+"/tcp"; got != want {
		t.Errorf("it exposes %s, not %s", got, want)
	}
	isAccepted(t, environment)
}

func TestTheCompositionFitsTogether(t *testing.T) {
	var c struct {
		Services map[string]struct {
			Build, Image, Command string
			Environment           map[string]string
			DependsOn             yaml.Node `yaml:"depends_on"`
			Networks              yaml.Node
			Volumes, DNS          []string
		}
		Volumes  map[string]any
		Networks map[string]struct {
			IPAM struct{ Config []struct{ Subnet string } }
		}
	}
	text := readDeployed(t, "deploy/compose.yaml")
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	rollcall, network := c.Services["rollcall"], c.Networks["discovery"]
	if _, err := os.Stat(filepath.Join("..", "..", "deploy", rollcall.Build, "Dockerfile")); err != nil {
		t.Error(err)
	}
	address := rollcall.Environment["ROLLCALL_NODE_ADDRESS"]
	subnet := netip.MustParsePrefix(network.IPAM.Config[0].Subnet)
	for _, match := range regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`).FindAllString(text, -1) {
		if !subnet.Contains(netip.MustParseAddr(match)) {
			t.Errorf("%s is not in %s", match, subnet)
		}
	}
	var fixed map[string]struct {
		Address string `yaml:"ipv4_address"`
	}
	if err := rollcall.Networks.Decode(&fixed); err != nil || fixed["discovery"].Address != address {
		t.Errorf("rollcall is at %v, not at %s: %v", fixed, address, err)
	}
	for name, service := range c.Services {
		for _, server := range service.DNS {
			if server != address || portOf(t, rollcall.Environment["ROLLCALL_DNS_ADDR"]) != "53" {
				t.Errorf("%s asks %s, port 53", name, server)
			}
		}
		for _, url := range regexp.MustCompile(`http://[0-9.]+:[0-9]+`).FindAllString(service.Command, -1) {
			if want := "http://" + address + rollcall.Environment["ROLLCALL_ADMIN_ADDR"]; url != want {
				t.Errorf("%s speaks to %s, not to %s", name, url, want)
			}
		}
		for _, volume := range service.Volumes {
			from, to, _ := strings.Cut(volume, ":")
			if _, ok := c.Volumes[from]; !ok || to != only(t, dockerfile(t)["VOLUME"]) {
				t.Errorf("%s has no volume %s", name, volume)
			}
		}
		for _, key := range keysOf(service.DependsOn) {
			if _, ok := c.Services[key]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, key)
			}
		}
		for _, key := range keysOf(service.Networks) {
			if _, ok := c.Networks[key]; !ok {
				t.Errorf("%s is on %s, which is not there", name, key)
			}
		}
	}
	isAccepted(t, rollcall.Environment)
}

// keysOf returns the words of a list, or the keys of a mapping.
func keysOf(n yaml.Node) (keys []string) {
	step := 1
	if n.Kind == yaml.MappingNode {
		step = 2
	}
	for i := 0; i < len(n.Content); i += step {
		keys = append(keys, n.Content[i].Value)
	}
	return keys
}

func TestThePodIsWhatItsManifestsSay(t *testing.T) {
	var settings map[string]any
	if err := yaml.Unmarshal([]byte(readDeployed(t, "deploy/kubernetes/rollcall.yaml")), &settings); err != nil {
		t.Fatal(err)
	}
	var set struct {
		Spec struct {
			Template struct {
				Spec struct {
					SecurityContext struct {
						RunAsUser string `yaml:"runAsUser"`
					} `yaml:"securityContext"`
					Containers []struct {
						Args  []string
						Env   []struct{ Name string }
						Ports []struct {
							Name          string
							ContainerPort string `yaml:"containerPort"`
						}
					}
					Volumes []struct {
						Name   string
						Secret struct {
							DefaultMode int `yaml:"defaultMode"`
						}
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(readDeployed(t, "deploy/kubernetes/statefulset.yaml")), &set); err != nil {
		t.Fatal(err)
	}
	pod := set.Spec.Template.Spec
	if user := only(t, dockerfile(t)["USER"]); pod.SecurityContext.RunAsUser != user {
		t.Errorf("the image's user is %s, and the pod's %s", user, pod.SecurityContext.RunAsUser)
	}
	container := pod.Containers[0]
	for _, each := range container.Env {
		if !slices.ContainsFunc(serveFlags(), func(f cli.Flag) bool {
			return slices.Contains(f.(cli.DocGenerationFlag).GetEnvVars(), each.Name)
		}) {
			t.Errorf("no flag of serve is %s in the environment", each.Name)
		}
	}
	if newApp().Command(container.Args[0]) == nil || container.Args[1] != "--config" {
		t.Errorf("it is started with %v", container.Args)
	}
	ports := make(map[string]string)
	for _, each := range container.Ports {
		ports[each.Name] = each.ContainerPort
	}
	dns, http := portOf(t, settings["dns-addr"].(string)), portOf(t, settings["admin-addr"].(string))
	if want := map[string]string{"dns": dns, "dns-tcp": dns, "http": http}; !maps.Equal(ports, want) {
		t.Errorf("the ports are %v, not %v", ports, want)
	}
	for _, volume := range pod.Volumes {
		if volume.Name == "token" && volume.Secret.DefaultMode != 0o440 {
			t.Errorf("the token's mode is %o", volume.Secret.DefaultMode)
		}
	}
	var monitor struct {
		Spec struct {
			Endpoints []struct{ Port, Path string }
		}
	}
	if err := yaml.Unmarshal([]byte(readDeployed(t, "deploy/kubernetes/servicemonitor.yaml")), &monitor); err != nil {
		t.Fatal(err)
	}
	if e := monitor.Spec.Endpoints[0]; ports[e.Port] != http || e.Path != "/metrics" {
		t.Errorf("Prometheus asks %+v", e)
	}
}
