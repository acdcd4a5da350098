package main

import (
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestClientsHaveTheTimeOfDrainToGoElsewhere tells the program to end: /readyz says no
// at once, questions are answered as long as --drain says, and then the registry is
// closed in order.
func TestClientsHaveTheTimeOfDrainToGoElsewhere(t *testing.T) {
	const drain = 2 * time.Second
	dir := t.TempDir()
	child, api, addr := startProcess(t, dir, "--drain", drain.String())
	put(t, api+"/v1/agent/service/register", object{"Name": "web", "Port": 80})
	ready := func() int {
		response, err := http.Get(api + "/readyz")
		if err != nil {
			return 0
		}
		defer response.Body.Close()
		return response.StatusCode
	}
	if status := ready(); status != http.StatusOK {
		t.Fatalf("/readyz says %d before the end", status)
	}
	told := time.Now()
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for ready() != http.StatusServiceUnavailable {
		if time.Since(told) > drain/2 {
			t.Fatalf("/readyz says %d still", ready())
		}
	}
	said := time.Since(told)
	var mu sync.Mutex
	asked := 0
	var clients sync.WaitGroup
	for _, network := range []string{"udp", "tcp"} {
		clients.Go(func() {
			client := dns.Client{Net: network, Timeout: time.Second}
			for time.Since(told) < drain*9/10 {
				reply, _, err := client.Exchange(new(dns.Msg).SetQuestion("web.service.rollcall.internal.", dns.TypeSRV), addr)
				mu.Lock()
				asked++
				mu.Unlock()
				if err != nil || len(reply.Answer) != 1 {
					t.Errorf("%v after SIGTERM, over %s: %v, %v", time.Since(told), network, reply, err)
					return
				}
			}
		})
	}
	clients.Wait()
	put(t, api+"/v1/agent/service/register", object{"Name": "late", "Port": 80})
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
	ended := time.Since(told)
	t.Logf("/readyz said no after %v, %d questions were answered, and the end came after %v", said.Round(time.Millisecond), asked, ended.Round(time.Millisecond))
	if ended < drain {
		t.Errorf("it ended after %v", ended)
	}
	r := openCrowd(t, filepath.Join(dir, "state"))
	defer r.Close()
	if r.View().Service("late") == nil {
		t.Error("what was registered at the end is gone")
	}
}
