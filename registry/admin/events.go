package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// keepAlive is how often a stream without news shows that it is alive.
const keepAlive = 15 * time.Second

// events streams the changes as server-sent events. An event's id is the index
// of the change; a client that comes back with the last one it has seen, in
// Last-Event-ID, goes on from there, or gets a reset where that is too long ago.
// Where several events share an index only the last one has an id: who has seen
// some of them hears of them once more.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	after := uint64(0)
	if text := r.Header.Get("Last-Event-ID"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return badRequest("Last-Event-ID must be the index of an event")
		}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return nil // nothing would ever come of the wait
	}
	s.metrics.watchers.Inc()
	defer s.metrics.watchers.Dec()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()

	stream := &eventStream{w: w, control: http.NewResponseController(w)}
	if err := stream.send("retry: 1000\n\n"); err != nil {
		return nil
	}
	// The watch only hands over: one goroutine writes, or keep-alives would get
	// in between.
	told := make(chan registry.Event)
	ended := make(chan error, 1)
	go func() {
		ended <- s.cfg.Registry.Watch(ctx, after, func(e registry.Event) error {
			select {
			case told <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	err := s.stream(ctx, stream, told)
	cancel()
	if watchErr := <-ended; watchErr != nil && !errors.Is(watchErr, context.Canceled) {
		s.cfg.Logger.Error("an event stream ended", "err", watchErr)
	}
	return err
}

// stream writes events until the client goes or the server does.
func (s *Server) stream(ctx context.Context, stream *eventStream, told <-chan registry.Event) error {
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		var text string
		select {
		case e := <-told:
			c := describe(e)
			if !c.inSight(callerOf(ctx)) {
				continue
			}
			data, err := json.Marshal(c)
			if err != nil {
				return err
			}
			s.metrics.events.Inc()
			if text = fmt.Sprintf("event: %s\ndata: %s\n\n", eventName(e), data); !e.More {
				text = fmt.Sprintf("id: %d\n%s", e.Index, text)
			}
		case <-alive.C:
			text = ": keep-alive\n\n"
		case <-s.closing:
			return nil
		case <-ctx.Done():
			return nil
		}
		if stream.send(text) != nil {
			return nil // the client went away
		}
	}
}

// eventStream writes to a client and waits no longer for it than for others.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *eventStream) send(text string) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}

func eventName(e registry.Event) string {
	switch {
	case e.Kind == registry.Resync:
		return "reset"
	case e.Kind == registry.InstanceDeleted:
		return "deregistered"
	case e.Kind == registry.InstancePut && e.Before == nil:
		return "registered"
	case e.Kind == registry.InstancePut:
		return "changed"
	}
	return "node"
}

// change is the data of an event.
type change struct {
	Index    uint64
	Node     string
	Service  *AgentService `json:",omitempty"`
	Status   string        `json:",omitempty"`
	Former   string        `json:",omitempty"` // the service it was an instance of, if that was another
	Gone     bool          `json:",omitempty"`
	Services int           `json:",omitempty"` // how many there are, in a reset
}

func describe(e registry.Event) change {
	c := change{Index: e.Index}
	switch e.Kind {
	case registry.Resync:
		c.Services = e.View.ServicesLen()
	case registry.InstancePut, registry.InstanceDeleted:
		c.Node, c.Service = e.Instance.Node, newAgentService(e.View, e.Instance)
		if c.Gone = e.Kind == registry.InstanceDeleted; !c.Gone {
			c.Status = e.View.StatusOf(e.Instance).String()
		}
		if b := e.Before; b != nil && !strings.EqualFold(b.Service, e.Instance.Service) {
			c.Former = b.Service
		}
	default:
		c.Node, c.Gone = e.Node.Name, e.Kind == registry.NodeDeleted
	}
	return c
}
