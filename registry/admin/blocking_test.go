package admin

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/registry"
)

// put registers an instance with the agent.
func (e *endpoint) put(format string, args ...any) {
	e.t.Helper()
	e.must(http.MethodPut, "/v1/agent/service/register", fmt.Sprintf(format, args...))
}

// waiting makes a blocking query in the background. It is known to wait when it
// returns.
func (e *endpoint) waiting(service string, index uint64) <-chan *api.QueryMeta {
	e.t.Helper()
	answered := make(chan *api.QueryMeta, 1)
	go func() {
		_, meta, err := e.consul.Health().Service(service, "", false, &api.QueryOptions{WaitIndex: index, WaitTime: time.Minute})
		if err != nil {
			e.t.Error(err)
		}
		answered <- meta
	}()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(e.must(http.MethodGet, "/metrics", ""), "rollcall_watch_clients 1\n"); {
		if time.Now().After(deadline) {
			e.t.Fatal("the query does not wait")
		}
	}
	return answered
}

func (e *endpoint) index(service string) uint64 {
	e.t.Helper()
	_, meta, err := e.consul.Health().Service(service, "", false, nil)
	check(e.t, err)
	if meta.LastIndex == 0 || !meta.KnownLeader {
		e.t.Errorf("the headers say %+v", meta)
	}
	return meta.LastIndex
}

func TestBlockingQueryIsAnsweredByAChangeOfItsOwn(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "Port": 1}`)
	e.put(`{"Name": "db", "Port": 1}`)
	index := e.index("web")
	answered := e.waiting("web", index)
	e.put(`{"Name": "db", "Port": 2}`) // somebody else's
	select {
	case <-answered:
		t.Fatal("a change of db has answered a query for web")
	default:
	}
	changed := time.Now()
	e.put(`{"Name": "web", "Port": 2}`)
	if meta := <-answered; meta.LastIndex <= index {
		t.Errorf("the index was %d and is %d", index, meta.LastIndex)
	}
	if took := time.Since(changed); took > 5*time.Second {
		t.Errorf("the answer took %v", took)
	}
}

func TestAChosenListOfServicesMovesWithWhatItIsChosenBy(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "Port": 1, "Meta": {"ring": "1"}}`)
	node := `{"Node": "n2", "Address": "10.0.0.2", "NodeMeta": {"rack": "%d"}, "Service": {"Service": "db"}}`
	e.must(http.MethodPut, "/v1/catalog/register", fmt.Sprintf(node, 1))
	for _, options := range []*api.QueryOptions{{Filter: `ServiceMeta.ring == "2"`}, {NodeMeta: map[string]string{"rack": "2"}}} {
		before, meta, err := e.consul.Catalog().Services(options)
		check(t, err)
		if options.Filter != "" {
			e.put(`{"Name": "web", "Port": 1, "Meta": {"ring": "2"}}`)
		} else {
			e.must(http.MethodPut, "/v1/catalog/register", fmt.Sprintf(node, 2))
		}
		options.WaitIndex, options.WaitTime = meta.LastIndex, time.Minute
		began := time.Now()
		after, meta, err := e.consul.Catalog().Services(options)
		check(t, err)
		if len(before) != 0 || len(after) != 1 || meta.LastIndex <= options.WaitIndex || time.Since(began) > 30*time.Second {
			t.Errorf("%+v: %v at %d is %v at %d after %v", options, before, options.WaitIndex, after, meta.LastIndex, time.Since(began))
		}
	}
}

func TestBlockingQueryForAServiceThatIsNotThereIsAnsweredWhenItComes(t *testing.T) {
	e := start(t, nil)
	answered := e.waiting("web", e.index("web"))
	e.put(`{"Name": "web", "Port": 1}`)
	<-answered
}

func TestBlockingQueryFromAheadIsAnsweredAtOnce(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "Port": 1}`)
	index := e.index("web")
	_, meta, err := e.consul.Health().Service("web", "", false, &api.QueryOptions{WaitIndex: index + 1000})
	check(t, err)
	if meta.LastIndex != index {
		t.Errorf("the index is %d, want %d", meta.LastIndex, index)
	}
}

func TestBlockingQueryEndsAfterItsWait(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "Port": 1}`)
	index := e.index("web")
	_, meta, err := e.consul.Health().Service("web", "", false, &api.QueryOptions{WaitIndex: index, WaitTime: time.Millisecond})
	check(t, err)
	if meta.LastIndex != index {
		t.Errorf("the index is %d, want %d", meta.LastIndex, index)
	}
}

func TestBlockingParametersThatMeanNothing(t *testing.T) {
	e := start(t, nil)
	for _, query := range []string{"index=-1", "index=x", "wait=x", "wait=-1s"} {
		if status, text, _ := e.do(http.MethodGet, "/v1/catalog/services?"+query, ""); status != http.StatusBadRequest || !strings.HasPrefix(text, "Invalid ") {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}
}

func TestFilters(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "ID": "web-1", "Port": 1, "Tags": ["v1"], "Meta": {"env": "live"}}`)
	e.put(`{"Name": "web", "ID": "web-2", "Port": 2, "Tags": ["v2"], "Check": {"TTL": "1h"}}`)
	for _, row := range []struct{ path, filter, want string }{
		{"/v1/health/service/web", `Service.Port == 2`, "web-2"},
		{"/v1/health/service/web", `"v1" in Service.Tags`, "web-1"},
		{"/v1/health/service/web", `Service.Meta.env == "live"`, "web-1"},
		{"/v1/catalog/service/web", `ServiceID == "web-2"`, "web-2"},
		{"/v1/agent/services", `ID == "web-1"`, "web-1"},
		{"/v1/health/state/any", `Status == "critical"`, "web-2"},
	} {
		text := e.must(http.MethodGet, row.path+"?filter="+strings.NewReplacer(" ", "%20", `"`, "%22").Replace(row.filter), "")
		if other := map[string]string{"web-1": "web-2", "web-2": "web-1"}[row.want]; !strings.Contains(text, row.want) || strings.Contains(text, `"`+other+`"`) {
			t.Errorf("%s with %s: %s", row.path, row.filter, text)
		}
	}
	if status, text, _ := e.do(http.MethodGet, "/v1/health/service/web?filter=Nothing+==+1", ""); status != http.StatusBadRequest {
		t.Errorf("a filter that fits nothing: %d %s", status, text)
	}
}

func TestReadsThatAreNarrowed(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "ID": "web-1", "Port": 1, "Tags": ["v1", "eu"]}`)
	e.put(`{"Name": "web", "ID": "web-2", "Port": 2, "Tags": ["v1"], "Check": {"TTL": "1h", "Status": "warning"}}`)
	count := func(tags []string, passing bool) int {
		entries, _, err := e.consul.Health().ServiceMultipleTags("web", tags, passing, nil)
		check(t, err)
		return len(entries)
	}
	if all, tagged, passing := count([]string{"v1"}, false), count([]string{"v1", "eu"}, false), count(nil, true); all != 2 || tagged != 1 || passing != 1 {
		t.Errorf("%d with v1, %d with eu as well, %d passing", all, tagged, passing)
	}
	services, _, err := e.consul.Catalog().Services(nil)
	check(t, err)
	if got := strings.Join(services["web"], ","); got != "eu,v1" {
		t.Errorf("the tags of web are %s", got)
	}
	catalog, _, err := e.consul.Catalog().Service("web", "", nil)
	check(t, err)
	health, _, err := e.consul.Health().Service("web", "", false, nil)
	check(t, err)
	for i := range catalog { // clients pair them by their place
		if catalog[i].ServiceID != health[i].Service.ID {
			t.Errorf("place %d is %s in the catalog, %s in health", i, catalog[i].ServiceID, health[i].Service.ID)
		}
	}
	if status, _, _ := e.do(http.MethodGet, "/v1/catalog/services?dc=elsewhere", ""); status != http.StatusNotFound {
		t.Errorf("another datacenter: %d", status)
	}
	if text := e.must(http.MethodGet, "/v1/catalog/service/nobody", ""); text != "[]\n" {
		t.Errorf("a service that is not there: %s", text)
	}
}

// events opens the event stream and returns its lines.
func (e *endpoint) events(last string) (next func() string) {
	e.t.Helper()
	request, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, e.url+"/v1/events", nil)
	check(e.t, err)
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	response, err := e.http.Do(request)
	check(e.t, err)
	e.t.Cleanup(func() { _ = response.Body.Close() })
	lines := bufio.NewScanner(response.Body)
	return func() string {
		var event []string
		for lines.Scan() && (lines.Text() != "" || len(event) == 0) {
			if text := lines.Text(); text != "" && !strings.HasPrefix(text, "retry:") {
				event = append(event, text)
			}
		}
		return strings.Join(event, "\n")
	}
}

func TestEventsGoOnWhereTheClientLeft(t *testing.T) {
	e := start(t, nil)
	next := e.events("")
	if first := next(); !strings.Contains(first, "event: reset") {
		t.Fatalf("the first event is %s", first)
	}
	e.put(`{"Name": "web", "Port": 1}`)
	registered := next()
	if !strings.Contains(registered, "event: registered") || !strings.Contains(registered, `"Service":"web"`) {
		t.Fatalf("then comes %s", registered)
	}
	e.put(`{"Name": "web", "Port": 2}`)
	e.must(http.MethodPut, "/v1/agent/service/deregister/web", "")
	id, _, _ := strings.Cut(strings.TrimPrefix(registered, "id: "), "\n")
	for name, next := range map[string]func() string{"the same stream": next, "a new one": e.events(id)} {
		if changed, gone := next(), next(); !strings.Contains(changed, "event: changed") || !strings.Contains(gone, "event: deregistered") {
			t.Errorf("%s goes on with\n%s\n%s", name, changed, gone)
		}
	}
	if first := e.events("1")(); !strings.Contains(first, "event: reset") {
		t.Errorf("after an event that nobody remembers comes %s", first)
	}
}

// A node that is deregistered takes its instances along, all with one index: a client
// that has heard of some only hears of all of them again.
func TestNoEventIsLostWhereSeveralShareAnIndex(t *testing.T) {
	e := start(t, nil)
	for _, id := range []string{"web-1", "web-2"} {
		e.must(http.MethodPut, "/v1/catalog/register", `{"Node": "n9", "Address": "10.0.0.9", "Service": {"Service": "web", "ID": "`+id+`", "Port": 1}}`)
	}
	next := e.events("")
	reset := next()
	e.must(http.MethodPut, "/v1/catalog/deregister", `{"Node": "n9"}`)
	last := idOf(reset)
	for n := range 3 { // two instances and their node
		event := next()
		if id := idOf(event); id != "" {
			last = id
		}
		if n == 2 {
			if last == idOf(reset) {
				t.Errorf("the last event has no id: %s", event)
			}
			continue
		}
		if again := e.events(last)(); !strings.Contains(again, `"ID":"web-1"`) {
			t.Errorf("who has heard of\n%s\nand comes back hears\n%s", event, again)
		}
	}
}

func idOf(event string) string {
	for line := range strings.Lines(event) {
		if id, is := strings.CutPrefix(line, "id: "); is {
			return strings.TrimSpace(id)
		}
	}
	return ""
}

func TestTheHeadOfAnEventStreamIsNotWaitedFor(t *testing.T) {
	e := start(t, nil)
	status, _, header := e.do("HEAD", "/v1/events", "")
	diff(t, "status", status, http.StatusOK)
	diff(t, "type", header.Get("Content-Type"), "text/event-stream")
}

func TestPrometheusTargets(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "ID": "web-1", "Port": 80, "Tags": ["v1"], "Meta": {"a-b": "c"}}`)
	e.put(`{"Name": "db", "Port": 5432, "Address": "2001:db8::1", "Check": {"TTL": "1h"}}`)
	want := `[{"targets":["[2001:db8::1]:5432"],"labels":{"__meta_rollcall_dc":"dc1","__meta_rollcall_health":"critical","__meta_rollcall_node":"n1","__meta_rollcall_service":"db","__meta_rollcall_service_id":"db","__meta_rollcall_tags":",,"}},` +
		`{"targets":["10.0.0.1:80"],"labels":{"__meta_rollcall_dc":"dc1","__meta_rollcall_health":"passing","__meta_rollcall_node":"n1","__meta_rollcall_service":"web","__meta_rollcall_service_id":"web-1","__meta_rollcall_service_metadata_a_b":"c","__meta_rollcall_tags":",v1,"}}]` + "\n"
	if got := e.must(http.MethodGet, "/v1/prometheus/targets", ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := e.must(http.MethodGet, "/v1/prometheus/targets?service=web&passing", ""); !strings.HasPrefix(got, `[{"targets":["10.0.0.1:80"]`) {
		t.Errorf("narrowed to the well ones of web: %s", got)
	}
}

func TestReadsOfWhatIsElsewhereAreRefused(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "Port": 1}`)
	for query, want := range map[string]int{
		"ns=default&partition=default": 200, "passing": 200, "passing=1": 200, "passing=false": 200, "stale": 200, "consistent": 200, "cached": 200, "near=_agent": 200,
		"ns=other": 400, "partition=other": 400, "peer=x": 400, "passing=bogus": 400, "stale&consistent": 400, "dc=other": 404,
	} {
		if status, text, _ := e.do(http.MethodGet, "/v1/health/service/web?"+query, ""); status != want {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}
	for _, path := range []string{"/v1/catalog/node/n1", "/v1/catalog/node-services/n1", "/v1/health/node/n1"} {
		if status, text, _ := e.do(http.MethodGet, path+"?dc=other", ""); status != http.StatusNotFound {
			t.Errorf("%s of another datacenter: %d %s", path, status, text)
		}
	}
}

func TestConsistencyIsWhatWasAskedFor(t *testing.T) {
	e := start(t, nil)
	for query, want := range map[string]string{"": "leader", "?stale": "stale", "?stale=": "stale", "?consistent": "consistent"} {
		_, _, header := e.do(http.MethodGet, "/v1/catalog/services"+query, "")
		if got := header.Get("X-Consul-Effective-Consistency"); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// A client that bounds how old its reads may be, as consul-template does, is told.
func TestReadsSayThatTheRegistryBehindIsAway(t *testing.T) {
	e := start(t, func(cfg *Config) {
		cfg.Freshness = func() *registry.Freshness {
			return &registry.Freshness{Synced: true, Stale: true, Since: time.Now().Add(-time.Minute), Reason: "Consul is away."}
		}
	})
	_, meta, err := e.consul.Catalog().Services(nil)
	check(t, err)
	if meta.KnownLeader || meta.LastContact < time.Minute || meta.LastContact > 2*time.Minute {
		t.Errorf("leader %t, last heard %s ago", meta.KnownLeader, meta.LastContact)
	}
}

func TestHealthOfWhatIsNotThere(t *testing.T) {
	e := start(t, nil)
	for path, want := range map[string]string{"id/none": `{"AggregatedStatus":"critical","Service":null,"Checks":null}`, "name/none": `[]`} {
		status, text, header := e.do(http.MethodGet, "/v1/agent/health/service/"+path, "")
		if status != http.StatusNotFound || strings.TrimSpace(text) != want || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}
