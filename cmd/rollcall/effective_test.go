package main

import "testing"

func TestNoPasswordIsShown(t *testing.T) {
	for text, want := range map[string]string{
		`http://user:secret@consul:8500`:          `http://user:***@consul:8500`,
		`http://:secret@consul:8500/`:             `http://:***@consul:8500/`,
		`https://user:p:a@ss@consul`:              `https://user:***@consul`,
		`[a, "http://u:one@a", "http://v:two@b"]`: `[a, "http://u:***@a", "http://v:***@b"]`,
		`http://user@consul:8500/path:x@y`:        `http://user@consul:8500/path:x@y`,
		`127.0.0.1:8500`:                          `127.0.0.1:8500`,
	} {
		s := &settings{values: map[string]string{"consul-addr": text}}
		for _, each := range s.show() {
			if each.Name == "consul-addr" && each.Value != want {
				t.Errorf("%s is shown as %s, not %s", text, each.Value, want)
			}
		}
	}
}
