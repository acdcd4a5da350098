package main

import (
	"regexp"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry/admin"
)

// show returns the settings in the order of their flags, each as a line of the
// configuration file would have it and with where it is from. What it returns may be
// shown to whoever may see how rollcall is set up: passwords in URLs are masked, and
// tokens and keys are in files of their own, of which only the names are here.
func (s *settings) show() []admin.Setting {
	var all []admin.Setting
	for _, f := range serveFlags() {
		if name := f.Names()[0]; name != "config" {
			all = append(all, admin.Setting{Name: name, Value: masked(s.values[name]), Source: s.sources[name].text})
		}
	}
	return all
}

// password is that of a URL, up to the last @ before its path.
var password = regexp.MustCompile(`(://[^\s/?#:@]*):[^\s/?#]*@`)

// masked returns a text without the passwords of the URLs in it.
func masked(text string) string { return password.ReplaceAllString(text, "$1:***@") }

// configuration tells what the running server goes by, for /v1/config.
func (s *server) configuration() admin.Configuration {
	settings := s.current.Load().settings
	c := admin.Configuration{Settings: settings.show(), LastReload: s.lastReload.Load()}
	found := s.found(settings)
	for n, each := range c.Settings {
		if better, ok := found[each.Name]; ok {
			c.Settings[n] = better
		}
	}
	return c
}

// found returns settings of which the flags do not say it all: what a default leaves
// open, the addresses of sockets that were passed, and a level of the log that was
// chosen since.
func (s *server) found(settings *settings) map[string]admin.Setting {
	found := make(map[string]admin.Setting)
	put := func(name string, value any, source string) {
		text, err := flow(value)
		if err == nil {
			found[name] = admin.Setting{Name: name, Value: text, Source: source}
		}
	}
	byDefault := func(name string) bool { return settings.sources[name].text == "default" }
	switch {
	case settings.consul == nil && byDefault("node-address"):
		put("node-address", settings.nodeAddress, "default, this machine's")
	case settings.consul != nil && byDefault("zone"):
		zones := make([]string, len(s.registry.zones))
		for n, zone := range s.registry.zones {
			zones[n] = strings.TrimSuffix(zone, ".")
		}
		put("zone", zones, "default, Consul's")
	}
	if settings.consul != nil && byDefault("datacenter") {
		put("datacenter", s.registry.datacenter, "default, Consul's")
	}
	for _, name := range settings.sockets.settings() {
		value := any(settings.dnsAddrs)
		if name == "admin-addr" {
			value = settings.adminAddr
		}
		put(name, value, settings.sources[name].text)
	}
	if text := strings.ToLower(settings.values["log-level"]); settings.level != nil {
		if now := strings.ToLower(settings.level.Level().String()); now != text {
			put("log-level", now, "PUT /v1/log-level")
		}
	}
	return found
}

// reloadResult is what became of a reload, just now.
func reloadResult(kept []string, err error) *admin.LastReload {
	last := &admin.LastReload{At: time.Now().UTC().Truncate(time.Millisecond), OK: err == nil, Waiting: kept}
	if err != nil {
		last.Error = masked(err.Error())
	}
	return last
}
