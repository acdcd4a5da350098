package admin

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// askedFor is a nameLog to which so many trafficEvery have passed, in each of which
// the same was asked for.
func askedFor(times int, asked Asked) *nameLog {
	l, now := newNameLog(nil), time.Now()
	for n := range times + 1 {
		l.remember(now.Add(time.Duration(n)*trafficEvery), asked)
	}
	return l
}

func TestTopNamesAreOfTheLastMinuteAndTheLastHour(t *testing.T) {
	asked := Asked{Questions: 100, Names: []NameCount{{"wbe.", "NXDOMAIN", 10}, {"web.", "NOERROR", 50}, {"web.", "NOERROR", 25}}}
	l := askedFor(2*trafficMemory, asked)
	web, wbe := NameShare{"web.", "NOERROR", 0.75, 7.5}, NameShare{"wbe.", "NXDOMAIN", 0.1, 1}
	want := func(seconds float64) NameWindow {
		return NameWindow{seconds, uint64(10 * seconds), []NameShare{web, wbe}, []NameShare{wbe}}
	}
	diff(t, "top names", l.top(), TopNames{Minute: want(60), Hour: want(3600)})

	for n := range minute {
		l.remember(l.at.Add(trafficEvery), Asked{Questions: 100, Names: []NameCount{{"new.", "NOERROR", 100}}})
		if hour := l.top().Hour; len(hour.Names) != 3 {
			t.Fatalf("%d: the hour has %v", n, hour.Names)
		}
	}
	diff(t, "the minute", l.top().Minute, NameWindow{60, 600, []NameShare{{"new.", "NOERROR", 1, 10}}, []NameShare{}})
}

func TestNothingAskedIsNoName(t *testing.T) {
	diff(t, "top names", askedFor(0, Asked{}).top(), TopNames{
		Minute: NameWindow{Names: []NameShare{}, Unknown: []NameShare{}}, Hour: NameWindow{Names: []NameShare{}, Unknown: []NameShare{}},
	})
}

// TestNamesTakeBoundedMemory has others asked for each time.
func TestNamesTakeBoundedMemory(t *testing.T) {
	l, now := newNameLog(nil), time.Now()
	for round := range trafficMemory {
		var a Asked
		for n := range 3 * keptNames {
			a.Names = append(a.Names, NameCount{fmt.Sprint(round, n), "NOERROR", 1}, NameCount{fmt.Sprint(round, n), "NXDOMAIN", 1})
		}
		l.remember(now.Add(time.Duration(round)*trafficEvery), a)
	}
	for _, s := range append(l.recent, l.minutes...) {
		if len(s.counts) > 2*keptNames {
			t.Fatalf("a slot has %d names", len(s.counts))
		}
	}
	if len(l.recent) > minute || len(l.minutes) > 60 {
		t.Errorf("there are %d slots, and %d of a minute", len(l.recent), len(l.minutes))
	}
}

func TestNamesAreTakenWhileTheEndpointServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Registry: fixed{}, Asked: func() Asked { return Asked{Questions: 5} }})
		check(t, err)
		ended := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { defer close(ended); s.measure(ctx) }()
		time.Sleep(35 * time.Second)
		synctest.Wait()
		cancel()
		<-ended
		if got := s.names.top().Minute.Questions; got != 15 {
			t.Errorf("%d questions were counted", got)
		}
	})
}

func TestTopNamesAreForWhoMayRead(t *testing.T) {
	e := start(t, func(c *Config) {
		c.Asked = func() Asked { return Asked{} }
		c.Tokens = func() []Token { return []Token{{Name: "r", Secret: "read-read-read-read-read"}} }
	})
	if status, _, _ := e.do("GET", "/v1/overview/names", ""); status != http.StatusForbidden {
		t.Errorf("without a token the answer is %d", status)
	}
	if status, text, _ := e.do("GET", "/v1/overview/names", "", "X-Consul-Token", "read-read-read-read-read"); status != http.StatusOK {
		t.Errorf("with one it is %d: %s", status, text)
	}
}
