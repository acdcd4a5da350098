package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWatchGoesOnWhereAnEventIsCutOff has a connection end in the midst of an event,
// once in its data and once behind them: the next one brings it whole, and it is
// printed once.
func TestWatchGoesOnWhereAnEventIsCutOff(t *testing.T) {
	event := "event: registered\ndata: {\"Index\": 2, \"Service\": {\"ID\": \"web-1\", \"Service\": \"web\"}, \"Status\": \"passing\"}\n"
	replies := []string{
		"id: 1\nevent: reset\ndata: {\"Index\": 1, \"Services\": 1}\n\nid: 2\n" + event[:40],
		"id: 2\n" + event,
		"id: 2\n" + event + "\n",
	}
	ctx, stop := context.WithCancel(t.Context())
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked = append(asked, r.Header.Get("Last-Event-ID")); len(asked) > len(replies) {
			stop()
			return
		}
		fmt.Fprint(w, replies[len(asked)-1])
	}))
	defer server.Close()
	app, out := newApp(), new(bytes.Buffer)
	app.Writer = out
	if err := app.RunContext(ctx, []string{"rollcall", "watch", "--api", server.URL}); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if got := strings.Join(asked, " "); got != " 1 1 2" {
		t.Errorf("it comes back with the ids%s, want 1, 1, 2", got)
	}
	if got := out.String(); got != "1 reset: 1 service\n2 registered web web-1 passing\n" {
		t.Errorf("it prints\n%s", got)
	}
}
