package admin

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-dns/rollcall/registry"
)

// asked decodes the reply to a GET.
func asked[T any](e *endpoint, path string) (v T) {
	e.t.Helper()
	check(e.t, json.Unmarshal([]byte(e.must("GET", path, "")), &v))
	return v
}

func TestAServiceIsSummarised(t *testing.T) {
	e := start(t, nil)
	for id, status := range map[string]string{"1": "passing", "2": "warning", "3": "critical", "4": "critical", "5": ""} {
		e.register(id, "web", status, "", "v"+id, "all")
	}
	e.register("db", "db", "", "")
	e.must("PUT", "/v1/agent/service/maintenance/4?enable=true", "")
	web := ServiceSummary{Name: "web", Passing: 2, Warning: 1, Critical: 1, Maintenance: 1, Tags: []string{"all", "v1", "v2", "v3", "v4", "v5"}}
	db := ServiceSummary{Name: "db", Passing: 1, Tags: []string{}}
	diff(t, "all", asked[[]ServiceSummary](e, "/v1/overview/services"), []ServiceSummary{db, web})
	diff(t, "named", asked[[]ServiceSummary](e, "/v1/overview/services?name=WEB&name=none"), []ServiceSummary{web})
	diff(t, "none", asked[[]ServiceSummary](e, "/v1/overview/services?name=none"), []ServiceSummary{})
}

func TestADetailSaysWhyAndSinceWhen(t *testing.T) {
	e := start(t, nil)
	e.register("web-1", "web", "passing", "200 OK", "v1")
	e.register("web-2", "web", "critical", "refused")
	check(t, e.registry.Register(t.Context(), registry.Registration{Node: registry.Node{Name: "n2", Address: "10.0.0.2"},
		Instance: &registry.Instance{ID: "web-3", Service: "web"}}))
	check(t, e.registry.Register(t.Context(), registry.Registration{Node: registry.Node{Name: "n2"},
		Checks: []registry.Check{{ID: "alive", Name: "alive", Status: registry.Warning, Output: "slow"}}}))
	d := asked[ServiceDetail](e, "/v1/overview/services/Web")
	var ids []string
	for _, i := range d.Instances {
		ids = append(ids, i.ID)
		if i.Ours != (i.Node == "n1") {
			t.Errorf("%s: Ours is %v", i.ID, i.Ours)
		}
	}
	diff(t, "order", ids, []string{"web-2", "web-3", "web-1"})
	first, second := d.Instances[0], d.Instances[1]
	diff(t, "address", first.Address, "10.0.0.1:8001")
	if c := first.Checks[0]; c.Output != "refused" || c.Every != duration(time.Hour) || c.Type != "ttl" || time.Since(c.Since) > time.Minute {
		t.Errorf("the check is %+v", c)
	}
	if c := second.Checks[0]; second.Address != "10.0.0.2" || !c.OfNode || c.Output != "slow" {
		t.Errorf("the instance is %+v", second)
	}
	if status, _, _ := e.do("GET", "/v1/overview/services/none", ""); status != 404 {
		t.Errorf("a service that is not there: %d", status)
	}
}

func TestTheOverviewTellsWhatIsWrong(t *testing.T) {
	since := time.Now().Add(-time.Minute).UTC()
	stale := &registry.Freshness{Stale: true, Since: since, Reason: "no leader"}
	e := start(t, func(c *Config) { c.Freshness = func() *registry.Freshness { return stale } })
	o := asked[Overview](e, "/v1/overview")
	diff(t, "Stale", o.Stale, &Staleness{Since: since, Reason: "no leader", Empty: true})
	if !o.MayWrite || o.Explains || o.Measures || o.Node != "n1" {
		t.Errorf("the overview is %+v", o)
	}
}

func TestAnEventNamesTheFormerService(t *testing.T) {
	e := start(t, nil)
	e.register("x", "old", "", "")
	before := e.registry.View().Index()
	e.register("x", "new", "", "")
	ctx, cancel := context.WithCancel(t.Context())
	var told change
	err := e.registry.Watch(ctx, before, func(event registry.Event) error {
		told = describe(event)
		cancel()
		return ctx.Err()
	})
	if told.Former != "old" || told.Service.Service != "new" {
		t.Errorf("%v: the event says %+v", err, told)
	}
}

func TestTrafficIsKeptForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var queries uint64
		l := newTrafficLog(func() Traffic {
			queries += 50
			return Traffic{Queries: queries, Responses: map[string]uint64{"NOERROR": queries, "REFUSED": 7}}
		})
		ended := make(chan struct{})
		go func() { defer close(ended); (&Server{traffic: l}).measure(ctx) }()
		time.Sleep(90 * time.Minute)
		synctest.Wait()
		stop()
		<-ended
		if len(l.samples) != 360 {
			t.Errorf("there are %d samples", len(l.samples))
		}
		last := l.samples[len(l.samples)-1]
		if diff := cmp.Diff(Sample{At: last.At, Queries: 5, Responses: map[string]float64{"NOERROR": 5}}, last); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestQuantile(t *testing.T) {
	counts := []DurationCount{{time.Millisecond, 10}, {2 * time.Millisecond, 90}, {4 * time.Millisecond, 100}}
	for _, row := range []struct {
		counts []DurationCount
		share  float64
		want   time.Duration
	}{
		{nil, 0.5, 0},
		{[]DurationCount{{time.Millisecond, 0}}, 0.5, 0},
		{counts, 0.05, 500 * time.Microsecond},
		{counts, 0.5, 1500 * time.Microsecond},
		{counts, 0.95, 3 * time.Millisecond},
		{counts, 1, 4 * time.Millisecond},
	} {
		if got := time.Duration(quantile(row.counts, row.share)*1e9 + 0.5); got != row.want {
			t.Errorf("%v of %v: %v, want %v", row.share, row.counts, got, row.want)
		}
	}
}
