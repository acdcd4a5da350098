package main

import (
	"reflect"
	"testing"

	"github.com/rollcall-dns/rollcall/registry/admin"
)

func TestNoPasswordIsShown(t *testing.T) {
	for text, want := range map[string]string{
		`http://user:secret@consul:8500`:          `http://user:***@consul:8500`,
		`http://:secret@consul:8500/`:             `http://:***@consul:8500/`,
		`https://user:p:a@ss@consul`:              `https://user:***@consul`,
		`[a, "http://u:one@a", "http://v:two@b"]`: `[a, "http://u:***@a", "http://v:***@b"]`,
		`http://user@consul:8500/path:x@y`:        `http://user@consul:8500/path:x@y`,
		`127.0.0.1:8500`:                          `127.0.0.1:8500`,
	} {
		s := &settings{values: map[string]any{"consul-addr": text}, consul: &consulSettings{address: text}}
		for _, each := range s.show(nil) {
			if each.Name == "consul-addr" && each.Value != want {
				t.Errorf("%s is shown as %s, not %s", text, each.Value, want)
			}
		}
	}
}

func TestWhatConsulsAgentSaysIsShown(t *testing.T) {
	byDefault := source{text: "default"}
	s := &settings{
		consul: &consulSettings{}, node: "host", nodeAddress: "10.0.0.1", dataDir: "/var/lib/rollcall",
		sources: map[string]source{"zone": byDefault, "datacenter": byDefault},
	}
	want := map[string]admin.Setting{
		"zone":         {Name: "zone", Value: []string{"consul"}, Source: "default, Consul's"},
		"datacenter":   {Name: "datacenter", Value: "dc7", Source: "default, Consul's"},
		"node":         {Name: "node", Value: "agent-1", Source: "Consul's agent"},
		"node-address": {Name: "node-address", Value: nil, Source: "Consul's agent"},
		"max-stale":    {Name: "max-stale", Value: nil, Source: "default, without end"},
	}
	for _, each := range s.show(&backend{node: "agent-1", datacenter: "dc7", zones: []string{"consul."}}) {
		if w, ok := want[each.Name]; ok && !reflect.DeepEqual(each, w) {
			t.Errorf("%+v, not %+v", each, w)
		}
	}
}
