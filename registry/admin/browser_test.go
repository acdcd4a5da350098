package admin

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(browsing{m}) }

// browsing ends the browser with the last test.
type browsing struct{ *testing.M }

func (b browsing) Run() int {
	defer func() {
		if chromium.stop != nil {
			chromium.stop()
		}
	}()
	return b.M.Run()
}

// chromium is the one browser of all tests, started by the first that needs it.
var chromium struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

func startChromium() {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.WSURLReadTimeout(time.Minute))
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			options = append(options, chromedp.ExecPath(path))
			break
		}
	}
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which root cannot have
	}
	allocator, release := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	chromium.ctx, chromium.err = ctx, chromedp.Do(ctx)
	chromium.stop = func() {
		_ = chromedp.Cancel(ctx)
		cancel()
		release()
	}
}

// action is something that is done with a tab.
type action = chromedp.Action[chromedp.Void]

// screen is one of so many CSS pixels, each of so many of its own.
func screen(width, height int64, pixels float64, mobile bool) action {
	return func(ctx context.Context, t *chromedp.Target) (none chromedp.Void, err error) {
		_, err = cdp.Call(ctx, t, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: width, Height: height, DeviceScaleFactor: pixels, Mobile: mobile,
		})
		return none, err
	}
}

// theme is what the reader prefers, light or dark.
func theme(name string) action {
	return func(ctx context.Context, t *chromedp.Target) (none chromedp.Void, err error) {
		_, err = cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return none, err
	}
}

// tab is a page of a browser that has seen nothing before.
type tab struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	troubles []string // what the page's script, or the browser about the page, complained of
}

// browse opens the page at a path of the endpoint, in a window as of a desktop. It
// skips the test where there is no browser.
func browse(t testing.TB, url string, before ...action) *tab {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: -short starts no browser")
	}
	chromium.once.Do(startChromium)
	if chromium.err != nil && os.Getenv("CI") != "" {
		t.Fatalf("there is no Chromium, and .ci/install should have installed it: %v", chromium.err)
	}
	if chromium.err != nil {
		t.Skipf("skipped: there is no Chromium to look at the page with: %v", chromium.err)
	}
	ctx, cancel := chromedp.NewContext(chromium.ctx, chromedp.WithNewBrowserContext())
	ctx, expire := context.WithTimeout(ctx, time.Minute)
	b := &tab{t: t, ctx: ctx}
	t.Cleanup(func() {
		expire()
		cancel()
	})
	check(t, chromedp.Listen(ctx, b.listen))
	_, err := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	check(t, err)
	b.do(screen(1360, 860, 1, false))
	b.do(before...)
	b.do(chromedp.Navigate(url))
	return b
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.troubles = append(b.troubles, e.ExceptionDetails.Text+" "+describeException(e.ExceptionDetails.Exception))
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			b.troubles = append(b.troubles, e.Entry.Text)
		}
	}
}

// quiet fails if anything complained.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, trouble := range b.troubles {
		b.t.Error(trouble)
	}
}

func (b *tab) do(actions ...action) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// value returns what an expression comes to.
func value[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// until waits for an expression to hold, and returns how long that took.
func (b *tab) until(expression string) time.Duration {
	b.t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	err := chromedp.Do(ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(10*time.Millisecond)))
	if err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText"))
		b.quiet()
		b.t.Fatalf("it never was so that %s: %v\nthe page is:\n%.3000s", expression, err, text)
	}
	return time.Since(start)
}

// shows waits for a text to be seen in an element.
func (b *tab) shows(selector, text string) time.Duration {
	b.t.Helper()
	return b.until(fmt.Sprintf("document.querySelector(%q)?.innerText.includes(%q)", selector, text))
}

// live waits for the stream to be there.
func (b *tab) live() {
	b.t.Helper()
	b.until(`document.getElementById("badge").dataset.state === "live" && !document.getElementById("totals").textContent.startsWith("Asking")`)
}

// rows returns the names of the rows, from top to bottom.
func (b *tab) rows() []string {
	b.t.Helper()
	return value[[]string](b, `[...document.querySelectorAll("#rows li")].sort((a, b) => a.getAttribute("aria-posinset") - b.getAttribute("aria-posinset")).map((li) => li.querySelector("a").dataset.service)`)
}

// click and write find an element by the page's own means: those of the driver
// follow the document in another goroutine, which the race detector sees.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.querySelector(%q)?.checkVisibility()", selector))
	at := value[[]float64](b, fmt.Sprintf(`(() => {
		const e = document.querySelector(%q);
		e.scrollIntoView({block: "center", behavior: "instant"});
		const box = e.getBoundingClientRect();
		return [box.x + box.width / 2, box.y + box.height / 2];
	})()`, selector))
	for _, kind := range []input.DispatchMouseEventType{input.DispatchMouseEventTypeMousePressed, input.DispatchMouseEventTypeMouseReleased} {
		_, err := chromedp.Call(b.ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: at[0], Y: at[1], Button: input.MouseButtonLeft, ClickCount: 1})
		check(b.t, err)
	}
}

// slash presses the key as a keyboard does: in one event, which a page can take
// for itself.
func (b *tab) slash() {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "/", Code: "Slash", Text: "/"})
	check(b.t, err)
}

func (b *tab) write(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.querySelector(%q)?.checkVisibility()", selector))
	value[bool](b, fmt.Sprintf(`(document.querySelector(%q).focus(), true)`, selector))
	content, enter := strings.CutSuffix(text, kb.Enter)
	_, err := chromedp.Call(b.ctx, input.InsertText, input.InsertTextParams{Text: content})
	check(b.t, err)
	if enter {
		b.do(chromedp.KeyEvent(kb.Enter))
	}
}

// query returns the URL's query.
func (b *tab) query() string {
	b.t.Helper()
	return strings.TrimPrefix(value[string](b, "location.search"), "?")
}

func describeException(o *runtime.RemoteObject) string {
	if o == nil {
		return ""
	}
	return o.Description
}
