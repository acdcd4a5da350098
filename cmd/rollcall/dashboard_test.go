package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestTheDashboardShowsWhatThereIs holds the metrics that the dashboard and the
// alerts ask for to those that /metrics has.
func TestTheDashboardShowsWhatThereIs(t *testing.T) {
	s := running(t)
	question(t, s, "rollcall.service.rollcall.internal.", dns.TypeA)
	response, err := http.Get("http://" + s.adminAddr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	types := regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(string(text), -1)
	known := make(map[string]bool)
	for _, name := range []string{
		"rollcall_watch_open", "rollcall_watch_connections", "rollcall_watch_errors_total", // in front of Consul
		"rollcall_transfer_secondary_reachable", "rollcall_transfer_secondary_behind_seconds", // with secondaries
		"rollcall_checks_total", "rollcall_http_requests_total", // once something was checked, and asked for
	} {
		known[name] = true
	}
	for _, m := range types {
		known[m[1]] = true
	}
	for _, file := range []string{"grafana/rollcall.json", "prometheus/alerts.yaml"} {
		data, err := os.ReadFile("../../deploy/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(data) {
			t.Errorf("%s is no JSON", file)
		}
		used := regexp.MustCompile(`\b(rollcall|process|go)_[a-z_]+`).FindAllString(string(data), -1)
		if len(used) == 0 {
			t.Errorf("%s asks for nothing", file)
		}
		for _, name := range used {
			if !known[name] && !known[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s asks for %s, which is not there", file, name)
			}
		}
	}
}
