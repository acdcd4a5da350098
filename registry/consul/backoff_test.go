package consul

import (
	"net/http"
	"os"
	"testing"
	"time"
)

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBackoffIsJitteredBelowADoublingCeiling(t *testing.T) {
	b := backoff{most: 10 * time.Second}
	for _, ceiling := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000} {
		if d := b.failed(0); d < 0 || d >= ceiling*time.Millisecond {
			t.Errorf("after %d failures the wait is %v, want less than %v", b.failures, d, ceiling*time.Millisecond)
		}
	}
	b.failures = 1000
	if d := b.failed(0); d > 10*time.Second {
		t.Errorf("after a thousand failures the wait is %v", d)
	}
	told := make(map[time.Duration]bool)
	for range 10 {
		d := b.failed(42 * time.Second)
		if d < 42*time.Second || d >= 52*time.Second {
			t.Errorf("the server wants 42 s, the wait is %v", d)
		}
		told[d] = true
	}
	if len(told) == 1 {
		t.Errorf("ten who were told to wait 42 s all wait %v", b.failed(42*time.Second))
	}
	b.succeeded()
	if d := b.failed(0); d >= 100*time.Millisecond {
		t.Errorf("after a success the wait is %v", d)
	}
}

func TestTheClientOutwaitsTheServer(t *testing.T) {
	shortest, longest, spare := time.Hour, time.Duration(0), time.Hour
	for range 1000 {
		held := hold()
		shortest, longest, spare = min(shortest, held), max(longest, held), min(spare, timeout(held)-held-held/16)
		if held > 5*time.Minute || held < 4*time.Minute {
			t.Fatalf("hold() = %v", held)
		}
		if got, least := timeout(held), held+held/16+10*time.Second; got < least {
			t.Fatalf("timeout(%v) = %v, want at least %v", held, got, least)
		}
	}
	t.Logf("Consul may hold a question for %v to %v, and a sixteenth more; the client gives up %v later",
		shortest.Round(time.Second), longest.Round(time.Second), spare)
}

func TestCursor(t *testing.T) {
	for _, row := range []struct {
		name    string
		indexes []uint64
		want    cursor
	}{
		{"rises", []uint64{3, 7}, 7},
		{"stays", []uint64{7, 7}, 7},
		{"falls: begins again", []uint64{100, 90}, 0},
		{"zero counts as one", []uint64{0}, 1},
		{"falls to zero: begins again", []uint64{100, 0}, 0},
		{"begins again and goes on", []uint64{100, 90, 90}, 90},
	} {
		var c cursor
		for _, index := range row.indexes {
			c.advance(index)
		}
		if c != row.want {
			t.Errorf("%s: cursor is %d, want %d", row.name, c, row.want)
		}
	}
}

func TestPaceAllowsABurstOfTwoAndThenOneEach(t *testing.T) {
	p := pace{every: time.Second}
	now := time.Now()
	for n, want := range []time.Duration{0, 0, time.Second, time.Second, time.Second} {
		got := p.spend(now, paceIdle)
		if got != want {
			t.Errorf("answer %d: wait %v, want %v", n, got, want)
		}
		now = now.Add(got)
	}
	if got := p.spend(now.Add(time.Minute), paceIdle); got != 0 {
		t.Errorf("after a minute: wait %v, want none", got)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-3": 0, "soon": 0, "999999": time.Minute,
		now.Add(5 * time.Second).Format(http.TimeFormat):  5 * time.Second,
		now.Add(-5 * time.Second).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("Retry-After %q: %v, want %v", header, got, want)
		}
	}
}
