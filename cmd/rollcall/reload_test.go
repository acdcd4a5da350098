package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestAHundredReloadsLoseNoQuery sends the program SIGHUP a hundred times, with
// another TTL each time, while clients ask over UDP and TCP as fast as they can:
// one question at a time, so that a lost one is seen. With ROLLCALL_LONG it waits for
// 10,000 queries after each.
func TestAHundredReloadsLoseNoQuery(t *testing.T) {
	var queriesEach uint64
	if os.Getenv("ROLLCALL_LONG") != "" {
		queriesEach = 10_000
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "rollcall.yaml")
	write := func(ttl uint32) {
		t.Helper()
		if err := os.WriteFile(config+".new", fmt.Appendf(nil, "ttl: %ds\n", ttl), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(config+".new", config); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	child, api, addr := startProcess(t, dir, "--config", config)
	defer kill(child)
	put(t, api+"/v1/agent/service/register", object{"Name": "web", "Port": 80})

	var asked, lost atomic.Uint64
	var seen atomic.Uint32 // the highest TTL
	var clients sync.WaitGroup
	done := make(chan struct{})
	for _, network := range []string{"udp", "udp", "udp", "tcp"} {
		c, err := dns.Dial(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				err := c.WriteMsg(new(dns.Msg).SetQuestion("web.service.rollcall.internal.", dns.TypeSRV))
				var answer *dns.Msg
				if err == nil {
					answer, err = c.ReadMsg()
				}
				asked.Add(1)
				if err != nil || answer.Rcode != dns.RcodeSuccess || len(answer.Answer) != 1 {
					lost.Add(1)
					t.Errorf("%s: %v %v", network, err, answer)
					return
				}
				seen.Store(max(seen.Load(), answer.Answer[0].Header().Ttl))
			}
		})
	}
	for ttl := uint32(2); ttl < 102; ttl++ {
		write(ttl)
		if err := child.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); seen.Load() < ttl || asked.Load() < uint64(ttl-1)*queriesEach; {
			if t.Failed() || time.Now().After(deadline) {
				close(done)
				clients.Wait()
				t.Fatalf("the TTL is %d, never %d, after %d queries", seen.Load(), ttl, asked.Load())
			}
			time.Sleep(time.Millisecond) // waits for another process
		}
	}
	close(done)
	clients.Wait()
	t.Logf("%d queries, %d lost", asked.Load(), lost.Load())
}

// TestWhatMayBeReloadedIsASetting holds the list to the flags that there are.
func TestWhatMayBeReloadedIsASetting(t *testing.T) {
	there := make(map[string]bool)
	for _, f := range serveFlags() {
		there[f.Names()[0]] = true
	}
	for _, name := range reloadable {
		if !there[name] {
			t.Errorf("there is no setting %s to reload", name)
		}
	}
}

// TestAServerThatAsksForTokensGoesOnTo reloads settings without a token file.
func TestAServerThatAsksForTokensGoesOnTo(t *testing.T) {
	old := &settings{adminTokens: (&tokenFile{}).tokens, adminTokenFile: "tokens", values: map[string]any{"admin-token-file": "tokens"}}
	merged, changed, kept := old.reloaded(&settings{values: map[string]any{"admin-token-file": `""`}})
	if merged.adminTokens == nil || len(changed) > 0 || strings.Join(kept, " ") != "admin-token-file" {
		t.Errorf("tokens %v, changed %v, kept %v", merged.adminTokens != nil, changed, kept)
	}
}

// TestConsulsTokenIsReadAnew from the same file, but not where there was none.
func TestConsulsTokenIsReadAnew(t *testing.T) {
	with := func(file, token string) *settings {
		return &settings{consul: &consulSettings{token: token}, values: map[string]any{"consul-token-file": file}}
	}
	merged, _, kept := with("f", "old").reloaded(with("f", "new"))
	if merged.consul.token != "new" || kept != nil {
		t.Errorf("the token is %q, and %v are kept", merged.consul.token, kept)
	}
	if merged, _, kept = with("f", "old").reloaded(with("", "")); merged.consul.token != "old" || len(kept) != 1 {
		t.Errorf("without a file the token is %q, and %v are kept", merged.consul.token, kept)
	}
}

// TestWhatConcernsConsulIsReadAnew but not which Consul it is, nor without one.
func TestWhatConcernsConsulIsReadAnew(t *testing.T) {
	with := func(consul *consulSettings, values map[string]any) *settings {
		return &settings{consul: consul, values: values}
	}
	old := with(&consulSettings{address: "a", watches: 150}, map[string]any{"consul-addr": "a", "consul-pin": "[]", "consul-ca-file": "", "consul-watches": "150"})
	next := with(&consulSettings{address: "b", watches: 100, pinned: []string{"web"}, caFile: "ca.pem", serverName: "consul.example"},
		map[string]any{"consul-addr": "b", "consul-pin": "[web]", "consul-ca-file": "ca.pem", "consul-watches": "100"})
	merged, changed, kept := old.reloaded(next)
	want := consulSettings{address: "a", watches: 150, pinned: []string{"web"}, caFile: "ca.pem", serverName: "consul.example"}
	if got := *merged.consul; !reflect.DeepEqual(got, want) {
		t.Errorf("in force is %+v, want %+v", got, want)
	}
	if strings.Join(changed, " ") != "consul-ca-file consul-pin" || strings.Join(kept, " ") != "consul-addr consul-watches" {
		t.Errorf("changed %v, kept %v", changed, kept)
	}
	if _, changed, kept = with(nil, map[string]any{"consul-pin": "[]"}).reloaded(next); changed != nil || len(kept) != 4 {
		t.Errorf("without a Consul: changed %v, kept %v", changed, kept)
	}
}

func kill(child *exec.Cmd) {
	_ = child.Process.Kill()
	_ = child.Wait()
}
