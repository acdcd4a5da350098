package admin

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
	"github.com/rollcall-dns/rollcall/zones"
)

// register registers an instance, with a heartbeat check of a status unless that
// is empty.
func (e *endpoint) register(id, service, status, output string, tags ...string) {
	e.t.Helper()
	r := registry.Registration{Instance: &registry.Instance{ID: id, Service: service, Port: 8000 + e.registry.View().InstancesLen(), Tags: tags}}
	if status != "" {
		s, err := registry.ParseStatus(status)
		check(e.t, err)
		r.Checks = []registry.Check{{
			ID: "service:" + id, Name: service + " answers", InstanceID: id, Type: "ttl", Status: s, Output: output,
			Definition: &registry.Definition{TTL: time.Hour},
		}}
	}
	check(e.t, e.registry.Register(e.t.Context(), r))
}

// explains answers DNS questions from the registry.
func explains(t testing.TB) func(*Config) {
	z, err := zones.New(zones.Config{Zones: []string{"rollcall.internal"}, Node: "n1", TTL: 5 * time.Second})
	check(t, err)
	return func(c *Config) {
		c.Zone = "rollcall.internal."
		c.Configuration = func() Configuration {
			return Configuration{Settings: []Setting{{"ttl", "5s", "default"}, {"data-dir", "/var/lib/" + strings.Repeat("deep", 40), "rollcall.yaml:3:1"}}}
		}
		c.Explain = func(name, qtype string) (any, error) {
			return z.Explain(c.Registry.View(), dns.Fqdn(name), dns.StringToType[qtype]), nil
		}
	}
}

func TestThePageShowsTheWorstServiceFirst(t *testing.T) {
	e := start(t, nil)
	e.register("a", "a-well", "passing", "")
	e.register("b", "b-so-so", "warning", "")
	e.register("c", "c-ill", "critical", "")
	b := browse(t, e.url)
	b.shows("#totals", "3 services · 3 instances: ✕")
	diff(t, "rows", b.rows(), []string{"c-ill", "b-so-so", "a-well"})
	b.shows("#where", "node n1")
	if title := value[string](b, "document.title"); title != "✕ 1 critical · rollcall on n1" {
		t.Errorf("the title is %q", title)
	}
	b.quiet()
}

func TestThePageOfNothingSaysHowToBegin(t *testing.T) {
	e := start(t, nil)
	b := browse(t, e.url)
	b.shows("#nothing", "Nothing is registered yet.")
	b.shows("#nothing", "curl -X PUT "+e.url+"/v1/agent/service/register")
	b.quiet()
}

func TestASearchIsInTheURL(t *testing.T) {
	e := start(t, nil)
	e.register("w", "web-shop", "passing", "", "blue")
	e.register("x", "web-api", "critical", "", "green")
	e.register("d", "db", "passing", "", "blue")
	b := browse(t, e.url)
	b.live()
	b.slash()
	b.do(chromedp.KeyEvent("WEB tag:blue"))
	b.shows("#found", "1 service of 3")
	diff(t, "rows", b.rows(), []string{"web-shop"})
	diff(t, "query", b.query(), "q=WEB+tag%3Ablue")

	b.do(chromedp.Navigate(e.url + "/?q=web&status=critical"))
	b.shows("#found", "1 service of 3")
	diff(t, "rows of a link", b.rows(), []string{"web-api"})
	b.click(`.chip[href="/?q=web"]`)
	b.shows("#found", "2 services of 3")
	b.do(chromedp.NavigateBack())
	b.shows("#found", "1 service of 3")
	b.quiet()
}

func TestTheKeyboardLeadsThroughTheList(t *testing.T) {
	e := start(t, nil)
	for n := range 300 {
		e.register(fmt.Sprint(n), fmt.Sprintf("s%03d", n), "", "")
	}
	b := browse(t, e.url)
	b.live()
	b.slash()
	b.do(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.End))
	b.until(`document.activeElement.dataset.service === "s299"`)
	b.do(chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.Enter))
	b.shows("#detail h2", "s298")
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`document.getElementById("detail").hidden && document.activeElement.dataset.service === "s298"`)
	b.quiet()
}

func TestAnOpenServiceShowsWhatItsChecksSay(t *testing.T) {
	e := start(t, explains(t))
	e.register("web-1", "web", "passing", "200 OK", "blue")
	e.register("web-2", "web", "critical", "connection refused")
	b := browse(t, e.url)
	b.live()
	b.click(`#rows a[data-service="web"]`)
	b.shows("#detail", "dig web.service.rollcall.internal SRV")
	b.shows("#detail .instance.critical .output", "connection refused")
	b.shows("#detail .instance.critical time", "for ")
	b.shows("#detail .instance.passing", "10.0.0.1:8000")
	diff(t, "query", b.query(), "service=web")
	diff(t, "instances", value[[]string](b, `[...document.querySelectorAll(".instance h3")].map((h) => h.textContent)`), []string{"web-2", "web-1"})
	b.quiet()
}

func TestAChangeIsSeenWithinASecond(t *testing.T) {
	e := start(t, nil)
	e.register("web-1", "web", "passing", "200 OK")
	b := browse(t, e.url+"/?service=web")
	b.live()
	b.shows("#detail", "web-1")
	e.register("db-1", "db", "passing", "")
	if took := b.until(`document.querySelector("#rows a[data-service=db]")`); took > time.Second {
		t.Errorf("a registration was seen after %v", took)
	}
	check(t, e.registry.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "service:web-1", Status: registry.Critical, Output: "it is gone"}))
	if took := b.shows("#detail .output", "it is gone"); took > time.Second {
		t.Errorf("a status was seen after %v", took)
	}
	b.shows("#totals", "1 critical")
	check(t, e.registry.Deregister(t.Context(), registry.Deregistration{InstanceID: "web-1"}))
	if took := b.until(`!document.querySelector("#rows a[data-service=web]")`); took > time.Second {
		t.Errorf("a deregistration was seen after %v", took)
	}
	b.shows("#detail", "It is not registered (any more).")
	b.quiet()
}

func TestAnInstanceThatMovesLeavesItsFormerService(t *testing.T) {
	e := start(t, nil)
	e.register("x", "old", "", "")
	b := browse(t, e.url)
	b.until(`document.querySelector("#rows a[data-service=old]")`)
	e.register("x", "new", "", "")
	b.until(`document.querySelector("#rows a[data-service=new]") && !document.querySelector("#rows a[data-service=old]")`)
}

func TestThePageSaysThatTheServerIsGone(t *testing.T) {
	r, err := embedded.Open(t.Context(), embedded.Config{Node: registry.Node{Name: "n1", Address: "10.0.0.1"}})
	check(t, err)
	defer r.Close()
	s, err := New(Config{Registry: r, Node: "n1", Datacenter: "dc1"})
	check(t, err)
	server := &http.Server{Handler: s}
	listener := listen(t, "127.0.0.1:0")
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	check(t, r.Register(t.Context(), registry.Registration{Instance: &registry.Instance{Service: "web"}}))
	b := browse(t, "http://"+listener.Addr().String())
	b.live()
	server.Close()
	<-served
	if took := b.shows("#badge", "Reconnecting"); took > time.Second {
		t.Errorf("the badge told after %v", took)
	}
	b.shows("#banners", "rollcall does not answer this page.")
	b.shows("#badge", "Stale since")
	diff(t, "rows", b.rows(), []string{"web"})

	check(t, r.Register(t.Context(), registry.Registration{Instance: &registry.Instance{Service: "meanwhile"}}))
	server, listener = &http.Server{Handler: s}, listen(t, listener.Addr().String())
	go func() { served <- server.Serve(listener) }()
	b.live()
	b.until(`document.querySelector("#rows a[data-service=meanwhile]") && !document.getElementById("banners").innerText`)
	server.Close()
	<-served
	b.quiet()
}

func TestThePageSaysThatTheBackendIsAway(t *testing.T) {
	since := time.Now().Add(-3 * time.Minute)
	e := start(t, func(c *Config) {
		c.Freshness = func() *registry.Freshness {
			return &registry.Freshness{Synced: true, Stale: true, Since: since, Reason: "Consul has no leader"}
		}
	})
	b := browse(t, e.url)
	b.shows("#badge", "Stale since "+since.Format("15:04:05"))
	b.shows("#banners", "rollcall answers from what it remembers, for 3 min now. Consul has no leader")
	b.quiet()
}

func TestTenThousandServicesScrollSmoothly(t *testing.T) {
	e := start(t, nil)
	for n := range 10_000 {
		e.register(fmt.Sprint(n), fmt.Sprintf("service-%05d", n), "", "", "blue")
	}
	b := browse(t, e.url)
	b.shows("#totals", "10,000 services")
	if n := len(b.rows()); n > 100 {
		t.Errorf("%d rows are drawn", n)
	}
	const scroll = `(async () => {
		const took = [];
		const step = document.body.scrollHeight / 60 * %d;
		for (let last = performance.now(); took.length < 60; ) {
			scrollBy(0, step);
			await new Promise(requestAnimationFrame);
			const now = performance.now();
			took.push(now - last);
			last = now;
		}
		return took.sort((a, b) => a - b);
	})()`
	still, frames := value[[]float64](b, fmt.Sprintf(scroll, 0)), value[[]float64](b, fmt.Sprintf(scroll, 1))
	t.Logf("half of 60 frames took less than %.0f ms, the longest %.0f ms; without scrolling %.0f and %.0f ms", frames[30], frames[59], still[30], still[59])
	if frames[30] > max(100, 4*still[30]) { // alone it is the screen's own 17 ms
		t.Errorf("half of the frames took more than %.0f ms, and of those without scrolling %.0f ms", frames[30], still[30])
	}
	b.until(`document.querySelector("#rows a[data-service=service-09999]")`)
	typed := value[float64](b, `(async () => {
		const q = document.getElementById("q"), start = performance.now();
		q.value = "09998";
		q.dispatchEvent(new Event("input"));
		await new Promise(requestAnimationFrame);
		return performance.now() - start;
	})()`)
	t.Logf("a search took %.0f ms", typed)
	diff(t, "rows", b.rows(), []string{"service-09998"})
	b.quiet()
}

func TestWhatWasRegisteredIsTextWhateverItSays(t *testing.T) {
	const hostile = `<img src=x onerror="hit()"><script>hit()</script>"'&javascript:hit()`
	e := start(t, explains(t))
	check(t, e.registry.Register(t.Context(), registry.Registration{
		Instance: &registry.Instance{
			ID: "evil-1", Service: "evil", Tags: []string{hostile}, Meta: map[string]string{"k": hostile}, Port: 1,
			TaggedAddresses: map[string]registry.TaggedAddress{hostile: {Address: "10.9.9.9"}},
		},
		Checks: []registry.Check{{
			ID: "javascript:hit()'&", Name: hostile, Notes: hostile, Output: hostile, InstanceID: "evil-1", Type: "ttl", Status: registry.Critical,
			Definition: &registry.Definition{TTL: time.Hour},
		}},
	}))
	check(t, e.registry.Register(t.Context(), registry.Registration{Checks: []registry.Check{{
		ID: registry.ServiceMaintenancePrefix + "evil-1", Name: hostile, Notes: hostile, InstanceID: "evil-1", Type: "maintenance", Status: registry.Critical,
	}}}))
	b := browse(t, e.url+"/?service=evil&q="+`%3Cscript%3Ehit()%3C/script%3E`)
	b.live()
	for _, selector := range []string{".instance .tag", ".instance dd", ".checks .name", ".checks .output"} {
		b.shows(selector, hostile)
	}
	b.shows("#nothing", "No service is like that.")
	b.do(chromedp.Navigate(e.url + "/?view=test&name=evil.service.rollcall.internal&type=%3Cscript%3E"))
	b.shows(".absent", hostile)
	if value[bool](b, `"hit" in window || document.querySelectorAll("script").length !== 1 || document.querySelectorAll("img[src=x]").length > 0`) {
		t.Error("a text became markup")
	}
	b.quiet()
}

func TestTheSwitchTakesAnInstanceOutAndPutsItBack(t *testing.T) {
	e := start(t, nil)
	e.register("web-1", "web", "passing", "")
	b := browse(t, e.url+"/?service=web")
	b.live()
	b.click("#detail .switch")
	b.write("#maintenance-reason", "a new disk")
	b.do(chromedp.SetValue("#maintenance-for", "4h"))
	b.click("#maintenance .main")
	b.shows("#detail .output", "a new disk")
	b.shows("#detail .output", "until 2")
	b.shows("#totals", "1 maintenance")
	if c := e.registry.View().Check("n1", registry.ServiceMaintenancePrefix+"web-1"); c == nil || time.Until(c.Until) < 3*time.Hour {
		t.Errorf("it ends in no 4 hours: %+v", c)
	}
	if i := e.registry.View().Instance("n1", "web-1"); !i.InMaintenance() {
		t.Error("the instance is not in maintenance")
	}
	b.click("#detail .switch[aria-checked=true]")
	b.shows("#totals", "1 passing")
	if i := e.registry.View().Instance("n1", "web-1"); i.InMaintenance() {
		t.Error("the instance is in maintenance")
	}
	b.quiet()
}

func TestTheSettingsAreShownAndAReloadThatFailed(t *testing.T) {
	var failed atomic.Bool
	e := start(t, func(c *Config) {
		c.Configuration = func() Configuration {
			now := Configuration{Settings: []Setting{{"ttl", "5s", "default"}, {"zone", []string{"corp.example", "also.example"}, "rollcall.yaml:3:1"}}}
			if failed.Load() {
				now.LastReload = &LastReload{At: time.Now(), Error: "rollcall.yaml:3:1: zone: it is <b>wrong"}
			}
			return now
		}
	})
	b := browse(t, e.url+"/")
	b.live()
	b.click("nav a[data-view=settings]")
	b.shows("#settings-reload", "As read at the start.")
	b.shows(".settings", "5s")
	b.write("#settings-filter", "YAML corp")
	b.until(`document.querySelectorAll(".settings > div").length === 1`)
	b.shows(".settings", "rollcall.yaml:3:1")
	b.shows(".settings", "corp.example, also.example")
	failed.Store(true)
	b.shows("#banners", "zone: it is <b>wrong")
	b.shows("#settings-reload", "As it was: a reload failed at")
	b.quiet()
}

func TestANameIsTested(t *testing.T) {
	e := start(t, explains(t))
	e.register("web-1", "web", "passing", "")
	e.register("web-2", "web", "critical", "connection refused")
	b := browse(t, e.url+"/?view=test")
	b.write("#test input", "web.service.rollcall.internal")
	b.click("#test .main")
	b.shows(".answer", "status: NOERROR")
	b.shows(".answer", "ANSWER SECTION:\nweb.service.rollcall.internal.")
	b.shows(".absent", "connection refused")
	diff(t, "query", b.query(), "view=test&name=web.service.rollcall.internal&type=SRV")
	check(t, e.registry.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "service:web-2", Status: registry.Passing}))
	if took := b.shows("#test", "All of web: 2 instances."); took > time.Second {
		t.Errorf("the answer followed after %v", took)
	}
	b.do(chromedp.Navigate(e.url + "/?view=test&name=wbe.service.rollcall.internal&type=A"))
	b.shows(".answer", "EDE: (no service wbe is registered)")
	b.quiet()
}

func TestThePageAsksForTheToken(t *testing.T) {
	const reads, writes = "a-token-that-only-reads", "a-token-that-also-writes"
	e := start(t, func(c *Config) {
		c.Tokens = func() []Token {
			return []Token{{Name: "r", Secret: reads}, {Name: "w", Secret: writes, Write: true}}
		}
	})
	e.register("web-1", "web", "passing", "")
	b := browse(t, e.url+"/?service=web")
	b.until(`document.getElementById("token").open`)
	if text := value[string](b, "document.documentElement.outerHTML"); strings.Contains(text, "web-1") || strings.Contains(text, "n1") {
		t.Error("the page tells something without a token")
	}
	b.write("#token-field", "not-one-of-the-tokens"+kb.Enter)
	b.shows("#token-error", "That token is not one of this server's.")
	b.write("#token-field", reads+kb.Enter)
	b.live()
	b.shows("#detail", "your token only reads")
	diff(t, "kept", value[string](b, `sessionStorage.getItem("rollcall-token")`), reads)
	b.do(chromedp.Reload())
	b.live()
	b.quiet()
}

func TestBothThemesCanBeRead(t *testing.T) {
	e := start(t, nil)
	for _, status := range []string{"passing", "warning", "critical"} {
		e.register(status, "web", status, "it says so", "blue")
	}
	e.must("PUT", "/v1/agent/service/maintenance/passing?enable=true", "")
	grounds := map[string]bool{}
	for _, name := range []string{"light", "dark"} {
		b := browse(t, e.url+"/?service=web", theme(name))
		b.live()
		b.shows("#detail", "it says so")
		for _, text := range value[[]string](b, faintTexts) {
			t.Errorf("%s: %s", name, text)
		}
		grounds[value[string](b, "getComputedStyle(document.body).backgroundColor")] = true
		b.quiet()
	}
	if len(grounds) != 2 {
		t.Errorf("the grounds are %v", grounds)
	}
}

// faintTexts lists the texts whose contrast to what is behind them is below 4.5,
// which WCAG's level AA asks for.
const faintTexts = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const rgba = (colour) => {
		canvas.clearRect(0, 0, 1, 1);
		canvas.fillStyle = colour;
		canvas.fillRect(0, 0, 1, 1);
		return [...canvas.getImageData(0, 0, 1, 1).data];
	};
	const light = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const c = rgba(getComputedStyle(e).backgroundColor);
			if (c[3] === 255) return c;
		}
		return [255, 255, 255, 255];
	};
	const found = [];
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		const text = walker.currentNode.data.trim(), e = walker.currentNode.parentElement;
		if (!text || !e.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || e.closest(".unseen, .skip, script, option, kbd, .toast")) continue;
		const [a, b] = [light(rgba(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
		const contrast = (a + 0.05) / (b + 0.05);
		if (contrast < 4.5) found.push(text + ": " + contrast.toFixed(2));
	}
	return found;
})()`

func TestThePageFitsAPhone(t *testing.T) {
	e := start(t, explains(t))
	e.register("web-1", "web-with-a-name-that-is-rather-long-for-a-small-screen", "critical", strings.Repeat("refused", 40), "blue")
	for _, path := range []string{"/", "/?service=web-with-a-name-that-is-rather-long-for-a-small-screen", "/?view=test&name=web.service.rollcall.internal", "/?view=traffic", "/?view=settings"} {
		b := browse(t, e.url+path, screen(360, 740, 2, true))
		b.live()
		b.until(`document.querySelector("main section:not([hidden])").innerText.length > 20`)
		if wide := value[int](b, "document.documentElement.scrollWidth"); wide > 360 {
			t.Errorf("%s is %d wide", path, wide)
		}
		b.quiet()
	}
}

func TestThePageNamesWhatCanBeUsed(t *testing.T) {
	e := start(t, explains(t))
	e.register("web-1", "web", "critical", "refused", "blue")
	for _, path := range []string{"/?service=web", "/?view=test&name=web.service.rollcall.internal", "/?view=traffic", "/?view=settings"} {
		b := browse(t, e.url+path)
		b.live()
		unnamed := value[[]string](b, `[...document.querySelectorAll("a, button, input, select, [role=switch]")].filter((e) =>
			e.checkVisibility() && !(e.getAttribute("aria-label") || e.innerText?.trim() || e.labels?.length)).map((e) => e.outerHTML)`)
		diff(t, "unnamed at "+path, unnamed, []string{})
	}
}

func TestThePageSaysWhenItsServerMeasuresNothing(t *testing.T) {
	e := start(t, nil)
	b := browse(t, e.url+"/?view=traffic")
	b.shows("#traffic", "This endpoint counts no DNS questions.")
	b.quiet()
}

func TestThePageDrawsTheTraffic(t *testing.T) {
	e := start(t, func(c *Config) { c.Traffic = func() Traffic { return Traffic{} } })
	fillTraffic(e.server.traffic)
	b := browse(t, e.url+"/?view=traffic")
	b.until(`document.querySelectorAll("#traffic svg .line").length === 5`)
	b.shows("#traffic figure", "all")
	b.quiet()
}

// fillTraffic invents an hour of it.
func fillTraffic(l *trafficLog) {
	var t Traffic
	t.Responses = map[string]uint64{}
	from := time.Now().Add(-time.Hour)
	l.mu.Lock()
	l.at, l.samples = time.Time{}, nil
	l.mu.Unlock()
	for n := range trafficMemory {
		wave := uint64(30*((n*7919)%23) + 40*min(n%120, 120-n%120))
		t.Queries += 21000 + 10*wave
		t.Responses = maps.Clone(t.Responses)
		t.Responses["NOERROR"] += 20000 + 9*wave
		t.Responses["NXDOMAIN"] += 900 + wave
		t.Responses["REFUSED"] += 100
		t.Durations = slices.Clone(t.Durations)
		for k, share := range []uint64{400 - wave/20, 800 - wave/20, 960 - wave/40, 985 + wave/150, 999, 1000} {
			if n == 0 {
				t.Durations = append(t.Durations, DurationCount{UpTo: time.Microsecond << (2 * k)})
			}
			t.Durations[k].Count += share
		}
		l.take(from.Add(time.Duration(n)*trafficEvery), t)
	}
}

func TestThePagesFilesHoldAndLoadNothingElse(t *testing.T) {
	e := start(t, func(c *Config) { c.Tokens = func() []Token { return []Token{{Secret: "secret"}} } })
	files, err := pageFiles.ReadDir("page")
	check(t, err)
	paths := []string{"/"}
	for _, f := range files {
		paths = append(paths, "/page/"+f.Name())
	}
	for _, path := range paths {
		status, text, header := e.do("GET", path, "")
		if status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
		if policy := header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: Content-Security-Policy: %s", path, policy)
		}
		elsewhere := regexp.MustCompile(`https?://[^"]*|@import|url\(|innerHTML|eval\(| style="| on\w+="`)
		for _, found := range elsewhere.FindAllString(text, -1) {
			if found != "http://www.w3.org/2000/svg" {
				t.Errorf("%s has %s", path, found)
			}
		}
		if status, _, _ := e.do("GET", path, "", "If-None-Match", header.Get("ETag")); status != http.StatusNotModified {
			t.Errorf("%s again: %d", path, status)
		}
	}
	if status, _, _ := e.do("GET", "/page/..%2fpage.go", ""); status != http.StatusNotFound {
		t.Errorf("a path that leads out: %d", status)
	}
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	check(t, err)
	return l
}

// fillNames invents an hour of names.
func fillNames(l *nameLog) {
	names := map[nameKind]uint64{
		{"checkout.service.rollcall.internal.", "NOERROR"}: 9100, {"payments.service.rollcall.internal.", "NOERROR"}: 6400,
		{"_http._tcp.gateway.service.rollcall.internal.", "NOERROR"}: 3800, {"sessions.service.rollcall.internal.", "NOERROR"}: 2900,
		{"redis.service.rollcall.internal.", "NOERROR"}: 2100, {"primary.postgres.service.rollcall.internal.", "NOERROR"}: 1600,
		{"auth.service.rollcall.internal.", "NODATA"}: 900, {"www.example.org.", "FORWARDED"}: 610,
		{"paymnets.service.rollcall.internal.", "NXDOMAIN"}: 420, {"legacy-crm.service.rollcall.internal.", "NXDOMAIN"}: 160,
		{"checkout.service.rollcall.internal.corp.example.", "REFUSED"}: 90, {"wpad.rollcall.internal.", "NXDOMAIN"}: 35,
	}
	l.mu.Lock()
	l.at, l.recent, l.minutes, l.minute, l.parts = time.Time{}, nil, nil, newNameSlot(), 0
	l.mu.Unlock()
	var asked Asked
	for n, count := range names {
		asked.Questions += count
		asked.Names = append(asked.Names, NameCount{n.name, n.kind, count})
	}
	for n := range trafficMemory + 1 {
		l.remember(time.Now().Add(time.Duration(n-trafficMemory)*trafficEvery), asked)
	}
}

func TestThePageNamesWhatIsAskedForMost(t *testing.T) {
	e := start(t, func(c *Config) {
		explains(t)(c)
		c.Asked = func() Asked { return Asked{} }
	})
	fillNames(e.server.names)
	b := browse(t, e.url+"/?view=traffic")
	b.until(`document.querySelectorAll("#top li").length === 10`)
	b.shows("#top li:first-child", "checkout.service.rollcall.internal")
	b.shows("#top li:first-child", "32 %")
	names := value[[]string](b, `[...document.querySelectorAll("#unknown .name")].map((e) => e.textContent)`)
	diff(t, "unknown", names, []string{"paymnets.service.rollcall.internal", "legacy-crm.service.rollcall.internal", "wpad.rollcall.internal"})
	b.click(`#names a[href="/?view=traffic&span=hour"]`)
	b.until(`document.querySelector("#names .chip[aria-current]").textContent === "Last hour"`)
	b.click("#unknown .name")
	b.shows("#test", "NXDOMAIN")
	b.quiet()
}

// TestANameIsTextWhateverItHolds has a client ask for markup.
func TestANameIsTextWhateverItHolds(t *testing.T) {
	const name = `<img\032src=x\032onerror=alert\(1\)>.service.rollcall.internal.`
	e := start(t, func(c *Config) { c.Asked = func() Asked { return Asked{} } })
	for n := range 2 {
		e.server.names.remember(time.Now().Add(time.Duration(n)*time.Second), Asked{Questions: 1, Names: []NameCount{{name, "NXDOMAIN", 1}}})
	}
	b := browse(t, e.url+"/?view=traffic")
	b.shows("#unknown", strings.TrimSuffix(name, "."))
	if n := value[int](b, `document.querySelectorAll("#names img, #names script").length`); n != 0 {
		t.Errorf("there are %d elements made of the name", n)
	}
	b.quiet()
}
