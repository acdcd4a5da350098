package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// fake is a Consul without sockets, for a bubble of synctest and for faults that
// a real one will not make. It has one node, and answers blocking queries.
type fake struct {
	mu       sync.Mutex
	index    uint64
	services map[string]*fakeService
	changed  chan struct{}
	fault    func(path string, r *http.Request) *http.Response // nil, or nil from it: answer as usual
	away     bool
	frozen   bool // it says nothing to anybody, and its connections stay open
	history  int  // how often it was wiped, which breaks all connections
	asked    []question
	times    []time.Time
	filtered bool
	lead     bool
	open     int // questions that are being held
	most     int
}

type fakeService struct {
	instances []entry
	index     uint64
}

func newFake() *fake {
	f := &fake{index: 10, services: make(map[string]*fakeService), changed: make(chan struct{}), lead: true}
	f.put("consul", "passing", 8300)
	return f
}

// put registers an instance for each port, and replaces what was there.
func (f *fake) put(name, status string, ports ...int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index++
	s := &fakeService{index: f.index}
	for _, port := range ports {
		id := fmt.Sprint(name, "-", port)
		s.instances = append(s.instances, entry{
			Node:    f.node(),
			Service: service{ID: id, Service: name, Port: port, CreateIndex: f.index, ModifyIndex: f.index},
			Checks: []check{f.serf(), {Node: "n1", CheckID: "service:" + id, Status: status, Type: "ttl",
				ServiceID: id, ServiceName: name, CreateIndex: f.index, ModifyIndex: f.index}},
		})
	}
	f.services[name] = s
	f.wake()
}

func (f *fake) remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index++
	delete(f.services, name)
	f.wake()
}

// wipe makes Consul forget everything but itself, and its index.
func (f *fake) wipe() {
	f.set(func() { f.history++; f.index, f.services = 2, make(map[string]*fakeService) })
	f.put("consul", "passing", 8300)
}

// set changes how the fake behaves, and ends all questions that are held.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.wake()
}

func (f *fake) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) node() node {
	return node{Node: "n1", ID: "1b2c", Address: "192.0.2.1", CreateIndex: 5, ModifyIndex: 5}
}

func (f *fake) serf() check {
	return check{Node: "n1", CheckID: "serfHealth", Status: "passing", CreateIndex: 5, ModifyIndex: 5}
}

// count returns how often a path was asked for.
func (f *fake) count(path string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range f.asked {
		if q.path == path {
			n++
		}
	}
	return n
}

var errAway = errors.New("connection refused")

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	query := r.URL.Query()
	index, _ := strconv.ParseUint(query.Get("index"), 10, 64)
	held, _ := time.ParseDuration(query.Get("wait"))
	f.mu.Lock()
	f.asked = append(f.asked, question{path: r.URL.Path, index: index, held: held, consistent: query.Has("consistent")})
	f.times = append(f.times, time.Now())
	f.open++
	f.most = max(f.most, f.open)
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.open--; f.mu.Unlock() }()
	return f.answer(r.Context(), r, index, held)
}

func (f *fake) answer(ctx context.Context, r *http.Request, index uint64, held time.Duration) (*http.Response, error) {
	timer := time.NewTimer(held)
	defer timer.Stop()
	f.mu.Lock()
	history := f.history
	f.mu.Unlock()
	for {
		f.mu.Lock()
		if f.frozen {
			changed := f.changed
			f.mu.Unlock()
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if f.away || f.history != history {
			f.mu.Unlock()
			return nil, errAway
		}
		if f.fault != nil {
			if response := f.fault(r.URL.Path, r); response != nil {
				f.mu.Unlock()
				return response, nil
			}
		}
		body, at := f.look(r.URL.Path)
		changed, lead, filtered := f.changed, f.lead, f.filtered
		f.mu.Unlock()
		if index == 0 || at > index || held == 0 {
			return reply(200, at, lead, filtered, body), nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return reply(200, at, lead, filtered, body), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *fake) look(path string) (body any, index uint64) {
	switch path {
	case "/v1/agent/self":
		return map[string]any{"Config": map[string]string{"Datacenter": "dc1", "NodeName": "n1"}, "DebugConfig": map[string]string{"DNSDomain": "consul."}}, f.index
	case allServices:
		names := make(map[string][]string)
		for name := range f.services {
			names[name] = []string{}
		}
		return names, f.index
	case allNodes:
		return []node{f.node()}, 5
	case allChecks:
		checks := []check{f.serf()}
		for _, s := range f.services {
			for _, e := range s.instances {
				checks = append(checks, e.Checks[1:]...)
			}
		}
		return checks, f.index
	}
	if s := f.services[strings.TrimPrefix(path, "/v1/health/service/")]; s != nil {
		return s.instances, s.index
	}
	return []entry{}, f.index
}

func reply(code int, index uint64, lead, filtered bool, body any) *http.Response {
	text, _ := json.Marshal(body)
	if s, ok := body.(string); ok {
		text = []byte(s)
	}
	header := make(http.Header)
	header.Set("X-Consul-Index", strconv.FormatUint(index, 10))
	header.Set("X-Consul-KnownLeader", strconv.FormatBool(lead))
	header.Set("X-Consul-LastContact", "0")
	if filtered {
		header.Set("X-Consul-Results-Filtered-By-ACLs", "true")
	}
	return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(bytes.NewReader(text))}
}

// silentOnce never answers the first request, as a network does that was cut when
// it was sent.
type silentOnce struct {
	http.RoundTripper
	asked atomic.Bool
}

func (s *silentOnce) RoundTrip(r *http.Request) (*http.Response, error) {
	if !s.asked.Swap(true) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return s.RoundTripper.RoundTrip(r)
}
