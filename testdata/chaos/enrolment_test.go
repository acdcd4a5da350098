package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// enrolment is an instance that one writer registers, changes and deregisters.
type enrolment struct {
	id, service, address string
	port                 int // that it was registered with last; each is used once
	history              *history
}

const (
	acknowledgedWithin = 3 * time.Second
	betweenChanges     = 3 * time.Millisecond
	mostPadding        = 510 // octets of metadata, so that the file grows
)

func newEnrolment(n int) *enrolment {
	service, instance := n/instancesOfEach, n%instancesOfEach
	return &enrolment{
		id: fmt.Sprintf("s%d-%d", service, instance), service: serviceName(service),
		address: fmt.Sprintf("10.%d.%d.1", service, instance), history: newHistory(),
	}
}

type object map[string]any

// write changes a writer's own instances, one change after the other, but for those
// with a change in doubt.
func (w *embeddedWorld) write(n int, own []*enrolment) {
	random := rand.New(rand.NewPCG(w.j.seed, uint64(100+n)))
	client := &http.Client{Timeout: acknowledgedWithin, Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	var used time.Time // the client's connections, last
	for ; !w.over(); time.Sleep(betweenChanges) {
		w.writing.RLock()
		// Behind a network that was cut they may be those of a rollcall that was killed
		// meanwhile, whose farewell comes with the first change after it.
		if w.httpWeather.ended().After(used) {
			client.CloseIdleConnections()
		}
		used = time.Now()
		// Some change all the time, and some so seldom that nothing covers up a loss.
		e := own[int(float64(len(own))*math.Pow(random.Float64(), 4))]
		if last, inDoubt := e.history.last(); !inDoubt {
			w.change(client, e, last, random)
		}
		w.writing.RUnlock()
	}
}

func (w *embeddedWorld) change(client *http.Client, e *enrolment, last change, random *rand.Rand) {
	next, path, body := e.draw(last, random)
	good := w.httpWeather.watch()
	e.history.begin(next)
	status, text, err := put(client, "http://"+w.http.addr()+path, body)
	if err != nil {
		time.Sleep(noticeWithin)
	}
	fine, _ := good()
	switch {
	case err != nil:
		w.j.add("changes in doubt", 1)
		if fine {
			w.j.wrong("refused outside of faults", "%s, %s: %v", e.id, next.what, err)
		}
	case status == http.StatusOK:
		e.history.acknowledge()
		w.j.add("changes acknowledged", 1)
	default:
		e.history.refuse()
		if fine {
			w.j.wrong("refused outside of faults", "%s, %s: %d %s", e.id, next.what, status, text)
		} else {
			w.j.add("changes refused in faults", 1)
		}
	}
}

// draw chooses what may come after the last change.
func (e *enrolment) draw(last change, random *rand.Rand) (next change, path string, body any) {
	switch n := random.IntN(10); {
	case !last.present || n < 3:
		e.port = e.port%65535 + 1
		check := func(n string) object {
			return object{"CheckID": e.id + n, "Notes": e.id, "TTL": "1h", "Status": "passing"}
		}
		return change{port: e.port, hiding: e.port, present: true, what: fmt.Sprint("registered with port ", e.port)}, "/v1/agent/service/register", object{
			"Name": e.service, "ID": e.id, "Address": e.address, "Port": e.port, "Checks": []object{check("-1"), check("-2")},
			"Meta": object{"port": strconv.Itoa(e.port), "padding": strings.Repeat("x", random.IntN(mostPadding))},
		}
	case n < 5:
		return change{what: "deregistered"}, "/v1/agent/service/deregister/" + e.id, nil
	case last.port == hidden:
		return change{port: last.hiding, hiding: last.hiding, present: true, what: "passed"}, "/v1/agent/check/pass/" + e.id + "-1", nil
	default:
		return change{port: hidden, hiding: last.hiding, present: true, what: "failed"}, "/v1/agent/check/fail/" + e.id + "-1", nil
	}
}

func put(client *http.Client, url string, body any) (status int, text []byte, err error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPut, url, bytes.NewReader(data))
	if err != nil {
		return 0, nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err = io.ReadAll(response.Body)
	return response.StatusCode, text, err
}

// found is what is there of an instance.
type found struct {
	port    int // or hidden, where it is not well
	present bool
	half    string // what is missing of it
}

// inspect asks rollcall for all that is registered.
func inspect(api string) (map[string]found, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var names map[string][]string
	if _, err := get(ctx, client, api+"/v1/catalog/services", &names); err != nil {
		return nil, err
	}
	all := make(map[string]found)
	delete(names, "rollcall") // itself
	for name := range names {
		of, _, err := entries(ctx, client, api+"/v1/health/service/"+name)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, of)
	}
	return all, nil
}

// entries asks for the instances of a service, and their index.
func entries(ctx context.Context, client *http.Client, url string) (all map[string]found, index uint64, err error) {
	var entries []struct {
		Service struct {
			ID   string
			Port int
			Meta map[string]string
		}
		Checks []struct{ CheckID, Notes, Status, ServiceID string }
	}
	header, err := get(ctx, client, url, &entries)
	if err != nil {
		return nil, 0, err
	}
	if index, err = strconv.ParseUint(header.Get("X-Consul-Index"), 10, 64); err != nil {
		return nil, 0, err
	}
	all = make(map[string]found)
	for _, e := range entries {
		f := found{port: e.Service.Port, present: true}
		checks := 0
		for _, c := range e.Checks {
			if c.ServiceID != e.Service.ID {
				continue // of the node
			}
			checks++
			if c.Status == "critical" {
				f.port = hidden
			}
			if c.Notes != e.Service.ID || !strings.HasPrefix(c.CheckID, e.Service.ID) {
				f.half = fmt.Sprintf("check %+v", c)
			}
		}
		if checks != 2 || e.Service.Meta["port"] != strconv.Itoa(e.Service.Port) {
			f.half = fmt.Sprintf("%d checks, port %d, metadata %q", checks, e.Service.Port, e.Service.Meta["port"])
		}
		all[e.Service.ID] = f
	}
	return all, index, nil
}

func get(ctx context.Context, client *http.Client, url string, into any) (http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return response.Header, json.NewDecoder(response.Body).Decode(into)
}
