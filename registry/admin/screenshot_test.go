package admin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rollcall-dns/rollcall/registry"
)

// TestScreenshots takes the pictures of the documentation, into the directory that
// ROLLCALL_SCREENSHOTS names: from this directory, ../../docs/images.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("ROLLCALL_SCREENSHOTS")
	if dir == "" {
		t.Skip("skipped: ROLLCALL_SCREENSHOTS names no directory for the pictures")
	}
	var stale atomic.Bool
	since := time.Now().Add(-3 * time.Minute)
	e := start(t, func(c *Config) {
		explains(t)(c)
		c.Node, c.Version = "n1", "0.1.0"
		c.Freshness = func() *registry.Freshness {
			f := &registry.Freshness{Synced: true, Stale: stale.Load()}
			if f.Stale {
				f.Since, f.Reason = since, "Consul has no leader"
			}
			return f
		}
		c.Traffic = func() Traffic { return Traffic{} }
		c.Asked = func() Asked { return Asked{} }
	})
	fillTown(e)
	fillTraffic(e.server.traffic)
	fillNames(e.server.names)
	for _, p := range []struct {
		name, path, theme string
		width, height     int64
	}{
		{"page-light", "/?service=checkout", "light", 1280, 800},
		{"page-dark", "/?service=checkout", "dark", 1280, 800},
		{"page-test", "/?view=test&name=checkout.service.rollcall.internal&type=SRV", "light", 1280, 800},
		{"page-traffic", "/?view=traffic", "dark", 1280, 800},
		{"page-names", "/?view=traffic", "light", 1280, 800},
		{"page-phone-names", "/?view=traffic", "dark", 390, 844},
		{"page-phone", "/", "light", 390, 844},
		{"page-phone-service", "/?service=checkout", "dark", 390, 844},
		{"page-phone-traffic", "/?view=traffic", "light", 390, 844},
		{"page-stale", "/", "light", 1280, 800},
	} {
		stale.Store(p.name == "page-stale")
		b := browse(t, e.url+p.path, theme(p.theme), screen(p.width, p.height, 1.25, p.width < 500))
		b.until(`document.getElementById("badge").dataset.state !== "connecting" && !document.body.innerText.includes("Asking")`)
		b.until(`document.querySelector("#rows li, .instance, .absent li, .plot") && (location.search !== "?view=traffic" || document.querySelector("#names li"))`)
		value[int](b, `new Promise((done) => setTimeout(() => done(1), 400))`) // what moves comes to rest
		if strings.HasSuffix(p.name, "-names") {
			value[int](b, `(document.getElementById("names").scrollIntoView(), 1)`)
		}
		picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, p.name+".png"), picture, 0o644))
	}
}

// fillTown registers what a small company might run.
func fillTown(e *endpoint) {
	for _, line := range strings.Split(strings.TrimSpace(`
checkout 3 eu,v2
payments 2 eu,pci
web 6 eu,v14
catalog 4 eu
search 3 eu,canary
sessions 2 eu
images 4 cdn
mailer 1 batch
invoices 2 batch
postgres 3 primary,replica
redis 3 cache
kafka 5 events
prometheus 1 ops
grafana 1 ops
billing 2 eu
recommendations 3 ml,canary
geo 2 eu
auth 4 eu,v3
gateway 3 edge
vault 3 ops`), "\n") {
		var name, tags string
		var n int
		_, err := fmt.Sscan(line, &name, &n, &tags)
		check(e.t, err)
		for k := range n {
			e.register(fmt.Sprintf("%s-%d", name, k+1), name, "passing", "HTTP GET http://10.0.0.1:8000/health: 200 OK Output: ok", strings.Split(tags, ",")...)
		}
	}
	set := func(id string, status registry.Status, output string) {
		check(e.t, e.registry.SetStatus(e.t.Context(), registry.StatusUpdate{CheckID: "service:" + id, Status: status, Output: output}))
	}
	set("checkout-2", registry.Critical, "HTTP GET http://10.0.0.1:8001/health: 503 Service Unavailable Output: {\"status\":\"down\",\"cause\":\"no connection to payments: dial tcp 10.0.0.1:8004: connect: connection refused\"}")
	set("payments-1", registry.Critical, "dial tcp 10.0.0.1:8003: connect: connection refused")
	set("search-3", registry.Warning, "HTTP GET http://10.0.0.1:8021/health: 429 Too Many Requests Output: index is being rebuilt, 71 % done")
	set("kafka-4", registry.Warning, "under-replicated partitions: 3")
	e.must("PUT", "/v1/agent/service/maintenance/checkout-3?enable=true&reason=moving+to+a+new+machine", "")
	e.must("PUT", "/v1/agent/service/maintenance/images-1?enable=true&reason=a+new+disk", "")
}
