package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// follower reads the stream of events, is cut off, and goes on from the last event
// that it has seen. Indexes never fall.
type follower struct {
	j    *journal
	url  string
	most time.Duration // that it stays connected
	told func(event)
	last uint64 // id of the last event; 0: none yet
}

// betweenStreams is for how long a client waits until it comes back.
const betweenStreams = 20 * time.Millisecond

// event is what matters of one.
type event struct {
	name string
	id   uint64
	data struct {
		Index   uint64
		Node    string
		Status  string
		Gone    bool
		Service *struct {
			ID   string
			Port int
		}
	}
}

func newFollower(j *journal, api string, most time.Duration, told func(event)) *follower {
	return &follower{j: j, url: "http://" + api + "/v1/events", most: most, told: told}
}

// follow goes on until it is over.
func (f *follower) follow(ctx context.Context, random *rand.Rand) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for ; ctx.Err() == nil; time.Sleep(betweenStreams) {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(random.Float64()*float64(f.most)))
		_ = f.read(ctx, client) // whatever ends it
		cancel()
	}
}

// read reads one stream until it ends.
func (f *follower) read(ctx context.Context, client *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return err
	}
	if f.last > 0 {
		request.Header.Set("Last-Event-ID", strconv.FormatUint(f.last, 10))
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", response.Status)
	}
	f.j.add("event streams", 1)
	var e event
	for text := bufio.NewReader(response.Body); ; {
		line, err := text.ReadString('\n')
		if err != nil {
			return err // and what it was cut off in is none
		}
		switch key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); key {
		case "id":
			e.id, err = strconv.ParseUint(value, 10, 64)
		case "event":
			e.name = value
		case "data":
			err = json.Unmarshal([]byte(value), &e.data)
		case "":
			if e.name != "" {
				f.take(e)
			}
			e = event{}
		}
		if err != nil {
			f.j.wrong("wrong", "an event does not parse: %v in %q", err, line)
			return err
		}
	}
}

func (f *follower) take(e event) {
	f.j.add("events", 1)
	if e.data.Index < f.last || e.id > 0 && e.id != e.data.Index {
		f.j.wrong("wrong", "an event of index %d with id %d comes after %d", e.data.Index, e.id, f.last)
	}
	if e.id > 0 {
		f.last = e.id
	}
	if e.name == "reset" {
		f.j.add("resets", 1)
	}
	f.told(e)
}

// turns holds events against what was done to each instance: each change has its
// event, once, and in its turn.
type turns struct {
	j *journal

	mu sync.Mutex
	of map[string]*enrolment
	at map[string][]int // the changes after which each may be; none: since a reset it was not told of
}

func newTurns(j *journal, all []*enrolment) *turns {
	t := &turns{j: j, of: make(map[string]*enrolment), at: make(map[string][]int)}
	for _, e := range all {
		t.of[e.id] = e
	}
	return t
}

func (t *turns) told(e event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.name == "reset" {
		clear(t.at)
	}
	if e.data.Service == nil || t.of[e.data.Service.ID] == nil {
		return // a node, or what fills the disk
	}
	of := t.of[e.data.Service.ID]
	at, err := of.history.next(t.at[of.id], e)
	if err != nil {
		t.j.wrong("wrong", "%s %v", of.id, err)
	}
	t.at[of.id] = at
}

// knows tells what it was not told of by now, while nobody changes anything.
func (t *turns) knows() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, at := range t.at {
		if last := t.of[id].history.end(); len(at) > 0 && !slices.Contains(at, last) {
			return fmt.Errorf("%s is at change %d, and the stream at %v", id, last, at)
		}
	}
	return nil
}

// next returns the changes after which an instance may be when an event comes, by
// those after which it may have been before: none are any.
func (h *history) next(at []int, e event) (after []int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(at) == 0 {
		for i := 1; i < len(h.changes); i++ {
			if h.tells(i, e) {
				after = append(after, i)
			}
		}
	}
	for _, i := range at {
		if i+1 < len(h.changes) && h.tells(i+1, e) {
			after = append(after, i+1)
		}
	}
	if len(after) == 0 {
		was := "unknown"
		for _, i := range at {
			was = fmt.Sprintf("%q", h.changes[i].what)
			if i+1 < len(h.changes) {
				was += fmt.Sprintf(", and then %q", h.changes[i+1].what)
			}
		}
		return nil, fmt.Errorf("was %s when this event came: %s %+v %+v", was, e.name, e.data, e.data.Service)
	}
	return after, nil
}

// tells tells whether an event is that of a change.
func (h *history) tells(i int, e event) bool {
	c := h.changes[i]
	if !c.present || e.data.Gone {
		return !c.present && e.data.Gone && h.changes[i-1].hiding == e.data.Service.Port
	}
	return c.hiding == e.data.Service.Port && (c.port == hidden) == (e.data.Status == "critical")
}

func (h *history) end() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.changes) - 1
}

// mirror is what somebody makes of the events who asks for the rest when told to
// begin anew.
type mirror struct {
	j     *journal
	names []string // services with one instance each, of the same ID
	api   string

	mu    sync.Mutex
	shown map[string]found
}

func (m *mirror) told(e event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.name == "reset" {
		m.shown = m.read()
		return
	}
	if s := e.data.Service; s != nil && m.shown != nil {
		m.shown[s.ID] = found{port: s.Port, present: true}
		if e.data.Status == "critical" {
			m.shown[s.ID] = found{port: hidden, present: true}
		}
		if e.data.Gone {
			delete(m.shown, s.ID)
		}
	}
}

// read asks until there is an answer, which waits for those who start again.
func (m *mirror) read() map[string]found {
	client := &http.Client{Timeout: answerWithin, Transport: &http.Transport{DisableKeepAlives: true}}
	all := make(map[string]found)
	for _, name := range m.names {
		of, _, err := entries(context.Background(), client, "http://"+m.api+"/v1/health/service/"+name)
		for deadline := time.Now().Add(startWithin); err != nil && time.Now().Before(deadline); time.Sleep(noticeWithin) {
			of, _, err = entries(context.Background(), client, "http://"+m.api+"/v1/health/service/"+name)
		}
		if err != nil {
			m.j.wrong("wrong", "after a reset: %v", err)
		}
		maps.Copy(all, of)
	}
	return all
}

// knows tells where it has something else than is there.
func (m *mirror) knows(there map[string]found) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range m.names {
		if m.shown != nil && !same(m.shown[name], there[name]) {
			return fmt.Errorf("%s is %+v, and by the events it is %+v", name, there[name], m.shown[name])
		}
	}
	return nil
}
