package main

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/registry/admin"
)

// show returns the settings in the order of their flags, each with the value in force
// and where that is from. What the program goes by in terms of its own is shown as it
// has it, and not as the flag was. b is the registry that says the rest; nil: it is not
// there. What is returned may be shown to whoever may see how rollcall is set up:
// passwords and tokens are masked, and of keys only the names of files are here.
func (s *settings) show(b *backend) []admin.Setting {
	var all []admin.Setting
	inForce, said := s.inForce(), s.saidElsewhere(b)
	for _, f := range serveFlags() {
		name := f.Names()[0]
		if name == "config" {
			continue
		}
		each := admin.Setting{Name: name, Value: s.values[name], Source: s.sources[name].text}
		if value, differs := inForce[name]; differs {
			each.Value = value
		}
		if better, ok := said[name]; ok {
			each.Value, each.Source = better.value, better.source
		}
		each.Value = masked(each.Value)
		all = append(all, each)
	}
	return all
}

// inForce returns the values that the program goes by, of settings that it does not
// have as their flags do: a default leaves them open, or they were brought into a form.
func (s *settings) inForce() map[string]any {
	all := map[string]any{
		"dns-addr":          s.dnsAddrs,
		"admin-addr":        s.adminAddr,
		"zone":              undotted(s.zones),
		"rate-limit-exempt": networkTexts(s.rateLimit.Exempt),
		"forward-for":       networkTexts(s.forward.clients),
		"reverse-zone":      networkTexts(s.reverse),
		"node-address":      s.nodeAddress,
		"check-allow":       networkTexts(s.checkAllow),
	}
	if s.level != nil {
		all["log-level"] = strings.ToLower(s.level.Level().String())
	}
	return all
}

// said is a setting that something else than its flag says.
type said struct {
	value  any // nil: there is none
	source string
}

// saidElsewhere returns those settings.
func (s *settings) saidElsewhere(b *backend) map[string]said {
	all := make(map[string]said)
	if s.consul != nil {
		s.saidByConsul(b, all)
	} else {
		for _, name := range consulOnly() {
			all[name] = said{nil, "default, for registry consul"}
		}
		if s.isDefault("node-address") {
			all["node-address"] = said{s.nodeAddress, "default, this machine's"}
		}
	}
	if s.dataDir == "" {
		all["data-dir"] = said{nil, s.sources["memory"].text + ", which sets memory"}
	}
	if s.level != nil {
		if level, err := parseLevel(asText(s.values["log-level"])); err == nil && level != s.level.Level() {
			all["log-level"] = said{s.inForce()["log-level"], "PUT /v1/log-level"}
		}
	}
	return all
}

// saidByConsul adds what Consul's agent says, and the environment variables that all
// programs beside a Consul follow.
func (s *settings) saidByConsul(b *backend, all map[string]said) {
	if b == nil {
		b = new(backend)
	}
	agents := func(name string, value any) {
		if value == "" {
			value = nil
		}
		all[name] = said{value, "Consul's agent"}
	}
	agents("node", b.node)
	agents("node-address", nil)
	if s.isDefault("datacenter") {
		agents("datacenter", b.datacenter)
		all["datacenter"] = said{all["datacenter"].value, "default, Consul's"}
	}
	if s.isDefault("zone") {
		all["zone"] = said{nil, "default, Consul's"}
		if b.zones != nil {
			all["zone"] = said{undotted(b.zones), "default, Consul's"}
		}
	}
	if s.maxStale == 0 {
		all["max-stale"] = said{nil, "default, without end"}
	}
	env := api.DefaultConfig() // which is what the client begins with
	for _, each := range []struct{ name, value, inFlag, variable string }{
		{"consul-addr", env.Address, s.consul.address, api.HTTPAddrEnvName},
		{"consul-token-file", mask(env.Token), s.consul.token, api.HTTPTokenEnvName},
		{"consul-token-file", env.TokenFile, s.consul.token, api.HTTPTokenFileEnvName},
		{"consul-ca-file", env.TLSConfig.CAFile, s.consul.caFile, api.HTTPCAFile},
		{"consul-cert-file", env.TLSConfig.CertFile, s.consul.certFile, api.HTTPClientCert},
		{"consul-key-file", env.TLSConfig.KeyFile, s.consul.keyFile, api.HTTPClientKey},
		{"consul-tls-server-name", env.TLSConfig.Address, s.consul.serverName, api.HTTPTLSServerName},
	} {
		switch {
		case each.inFlag != "" || each.value == "":
		case os.Getenv(each.variable) != "":
			all[each.name] = said{each.value, each.variable}
		default:
			all[each.name] = said{each.value, "default"}
		}
	}
}

func (s *settings) isDefault(name string) bool { return s.sources[name].text == "default" }

// consulOnly returns the names of the settings that an embedded registry has no use for.
func consulOnly() (names []string) {
	for _, f := range serveFlags() {
		if name := f.Names()[0]; strings.HasPrefix(name, "consul-") || name == "max-stale" {
			names = append(names, name)
		}
	}
	return names
}

// networkTexts writes networks as the configuration file has them.
func networkTexts(networks []netip.Prefix) []string {
	all := make([]string, len(networks))
	for n, network := range networks {
		all[n] = network.String()
	}
	return all
}

// undotted writes zones as people do.
func undotted(zones []string) []string {
	all := make([]string, len(zones))
	for n, zone := range zones {
		all[n] = strings.TrimSuffix(zone, ".")
	}
	return all
}

// password is that of a URL, up to the last @ before its path.
var password = regexp.MustCompile(`(://[^\s/?#:@]*):[^\s/?#]*@`)

// masked returns a text, or several, without the passwords of the URLs in it.
func masked(value any) any {
	switch value := value.(type) {
	case string:
		return password.ReplaceAllString(value, "$1:***@")
	case []string:
		all := make([]string, len(value))
		for n, text := range value {
			all[n] = asText(masked(text))
		}
		return all
	}
	return value
}

// hidden stands for a secret.
const hidden = "***"

func mask(secret string) string {
	if secret == "" {
		return ""
	}
	return hidden
}

func asText(value any) string {
	text, _ := value.(string)
	return text
}

// configuration tells what the running server goes by, for /v1/config.
func (s *server) configuration() admin.Configuration {
	return admin.Configuration{Settings: s.current.Load().settings.show(s.registry), LastReload: s.lastReload.Load()}
}

// reloadResult is what became of a reload, just now.
func reloadResult(kept []string, err error) *admin.LastReload {
	last := &admin.LastReload{At: time.Now().UTC().Truncate(time.Millisecond), OK: err == nil, Waiting: kept}
	if err != nil {
		last.Error = asText(masked(err.Error()))
	}
	return last
}
