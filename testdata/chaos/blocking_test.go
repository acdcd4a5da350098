package chaos

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"
)

// watcher asks for a service's instances whenever they change, with the index that
// it has seen: which never goes back, and with which no change is missed.
type watcher struct {
	j       *journal
	api     string
	service string
	of      []*enrolment
	weather *weather

	mu    sync.Mutex
	index uint64
	shown map[string]found
}

const (
	waits        = 20 * time.Second // for news: so long that whatever it misses is noticed before
	givesUpAfter = waits + 10*time.Second
	betweenWaits = 20 * time.Millisecond
)

func (w *watcher) watch(ctx context.Context) {
	client := &http.Client{Timeout: givesUpAfter, Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	for ; ctx.Err() == nil; time.Sleep(betweenWaits) {
		path := "/v1/health/service/" + w.service
		if w.index > 0 {
			path = fmt.Sprintf("%s?index=%d&wait=%v", path, w.index, waits)
		}
		good := w.weather.watch()
		sent := time.Now()
		shown, index, err := entries(ctx, client, "http://"+w.api+path)
		came := time.Now()
		if err == nil {
			w.judge(shown, index, sent, came)
			continue
		}
		time.Sleep(noticeWithin)
		if fine, _ := good(); fine && ctx.Err() == nil {
			w.j.wrong("refused outside of faults", "%s: %v after %v", path, err, came.Sub(sent))
		}
	}
}

func (w *watcher) judge(shown map[string]found, index uint64, sent, came time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.j.add("blocking queries", 1)
	if index < w.index {
		w.j.wrong("wrong", "the index of %s went from %d to %d", w.service, w.index, index)
	}
	if index == w.index && !maps.Equal(shown, w.shown) {
		w.j.wrong("wrong", "%s has changed, and its index %d has not: %v, %v", w.service, index, w.shown, shown)
	}
	w.index, w.shown = index, shown
	for _, e := range w.of {
		at := shown[e.id]
		if at.half != "" {
			w.j.wrong("by halves", "%s in a blocking query: %s", e.id, at.half)
		}
		if err := e.history.read(sent, came, showing(at.port), func(p int) bool { return p == at.port }); err != nil {
			w.j.wrong("wrong", "%s in a blocking query of %v: %v", e.id, came.Sub(sent), err)
		}
	}
}

// knows tells what it has missed by now of its service, while nobody changes anything.
func (w *watcher) knows(there map[string]found) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !maps.EqualFunc(w.shown, there, same) {
		return fmt.Errorf("%s is %+v, and with index %d it is %+v", w.service, there, w.index, w.shown)
	}
	return nil
}

// same tells whether two show the same, whatever is missing of them.
func same(a, b found) bool { return a.port == b.port && a.present == b.present }
