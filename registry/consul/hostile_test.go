package consul

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// endless is an answer that never ends, of which it is counted how much was read.
type endless struct {
	began bool
	read  atomic.Int64
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		p[n] = ' ' // between the elements of an array there may be as many as one likes
		n++
	}
	if !e.began && n > 0 {
		e.began, p[0] = true, '['
	}
	e.read.Add(int64(n))
	return n, nil
}

func (e *endless) Close() error { return nil }

// TestAnswersThatNoConsulGives has a healthy Consul answer as only a broken or a
// hostile one can: the view stays what it was, and it follows again afterwards.
func TestAnswersThatNoConsulGives(t *testing.T) {
	var body endless
	for _, c := range []struct {
		name, kind string
		answer     func() *http.Response
	}{
		{"an endless one is read up to 64 MiB", kindMalformed, func() *http.Response {
			response := reply(200, 1000, true, false, "")
			response.Body = &body
			return response
		}},
		{"one of a million arrays in each other", kindMalformed, func() *http.Response {
			return reply(200, 1000, true, false, strings.Repeat("[", 1_000_000)+strings.Repeat("]", 1_000_000))
		}},
		{"one cut short", kindNetwork, func() *http.Response {
			response := reply(200, 1000, true, false, "")
			response.Body = io.NopCloser(strings.NewReader(`[{"Node":{"Node":"n1"`))
			return response
		}},
		{"an empty one of a server that has not heard from its leader for 6 s", kindLeaderless, func() *http.Response {
			response := reply(200, 1000, true, false, "[]")
			response.Header.Set("X-Consul-LastContact", "6000")
			return response
		}},
	} {
		bubble(t, c.name, func(t *testing.T) {
			f := newFake()
			f.put("web", "passing", 80)
			r, _ := run(t, f, Config{})
			r.interest("web")
			settled(5 * time.Second)
			given := 0
			f.set(func() {
				f.index++
				f.fault = func(path string, _ *http.Request) *http.Response {
					if path == "/v1/agent/self" || given > 0 && c.kind != kindLeaderless {
						return nil
					}
					given++
					return c.answer()
				}
			})
			settled(10 * time.Second)
			expect(t, "ports", ports(r, "web"), []int{80})
			if given == 0 || testutil.ToFloat64(r.metrics.errors.WithLabelValues(c.kind)) == 0 {
				t.Errorf("%d such answers were given, and no error of kind %s is counted", given, c.kind)
			}
			f.set(func() { f.fault = nil })
			f.put("web", "passing", 81)
			settled(5 * time.Second)
			expect(t, "ports", ports(r, "web"), []int{81})
		})
	}
	if read := body.read.Load(); read < maxAnswer || read > maxAnswer+1<<20 {
		t.Errorf("%d octets of the endless answer were read", read)
	}
	t.Logf("%d octets of an endless answer were read", body.read.Load())
}

// TestWhoIsToldToComeBackLaterDoes has Consul refuse to answer for so long as its
// Retry-After says, and looks when it is asked again.
func TestWhoIsToldToComeBackLaterDoes(t *testing.T) {
	for _, row := range []struct {
		code       int
		text, kind string
	}{
		{http.StatusTooManyRequests, "slow down", kindLimit},
		{http.StatusServiceUnavailable, "slow down", kindServer},
		{http.StatusInternalServerError, "slow down", kindServer},
		{http.StatusInternalServerError, "rpc error making call: No cluster leader", kindLeaderless},
		{http.StatusBadGateway, "slow down", kindServer},
		{http.StatusGatewayTimeout, "slow down", kindServer},
	} {
		bubble(t, http.StatusText(row.code)+": "+row.text, func(t *testing.T) {
			f := newFake()
			f.put("web", "passing", 80)
			r, _ := run(t, f, Config{})
			r.interest("web")
			settled(5 * time.Second)
			began := len(f.asked)
			f.set(func() {
				f.fault = func(string, *http.Request) *http.Response {
					response := reply(row.code, 0, true, false, row.text)
					response.Header.Set("Retry-After", "20")
					return response
				}
			})
			settled(10 * time.Minute)
			f.mu.Lock()
			defer f.mu.Unlock()
			last := make(map[string]time.Time)
			for n := began; n < len(f.asked); n++ {
				path := f.asked[n].path
				if before, again := last[path]; again && f.times[n].Sub(before) < 20*time.Second {
					t.Errorf("%s was asked for again after %v", path, f.times[n].Sub(before))
				}
				last[path] = f.times[n]
			}
			t.Logf("%d: %d questions in 10 minutes of a refusal for 20 s each", row.code, len(f.asked)-began)
			if testutil.ToFloat64(r.metrics.errors.WithLabelValues(row.kind)) == 0 {
				t.Errorf("no error of kind %s is counted", row.kind)
			}
			expect(t, "ports", ports(r, "web"), []int{80})
		})
	}
}
