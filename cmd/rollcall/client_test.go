package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAFaultOfRollcallsNamesItsRequest and what is the client's own does not.
func TestAFaultOfRollcallsNamesItsRequest(t *testing.T) {
	status := http.StatusInternalServerError
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "r-1")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "it is broken\n")
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{http: server.Client(), base: base}
	for _, row := range []struct {
		status int
		says   string
	}{{500, "it is broken (request r-1 in its log)"}, {400, "it is broken"}, {503, "it is broken"}} {
		status = row.status
		if _, err := c.do(t.Context(), http.MethodGet, "/", nil, nil, nil); err == nil || err.Error() != row.says {
			t.Errorf("%d: %v, want %s", row.status, err, row.says)
		}
	}
}

// TestNobodyWaitsForAServerThatSaysNothing has a listener that accepts connections,
// and that is all.
func TestNobodyWaitsForAServerThatSaysNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, command := range [][]string{{"services"}, {"watch"}, {"backup", filepath.Join(t.TempDir(), "saved")}} {
		app := newApp()
		app.Writer, app.ErrWriter = new(bytes.Buffer), new(bytes.Buffer)
		args := append([]string{"rollcall", command[0], "--timeout", "50ms", "--api", "http://" + l.Addr().String()}, command[1:]...)
		err := app.RunContext(t.Context(), args)
		if code := exitCode(err); code != exitUnreachable || !strings.HasSuffix(err.Error(), "within 50ms") {
			t.Errorf("%s: exit code %d, %v", command[0], code, err)
		}
	}
}

// TestWhatHasBegunMayTakeItsTime has a stream go on for longer than its beginning may take.
func TestWhatHasBegunMayTakeItsTime(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one ")
		w.(http.Flusher).Flush()
		time.Sleep(200 * time.Millisecond) // is the stream that takes its time
		_, _ = io.WriteString(w, "two")
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{http: server.Client(), base: base, timeout: 100 * time.Millisecond}
	var text []byte
	err = c.stream(t.Context(), "/", nil, func(body io.Reader) (err error) {
		text, err = io.ReadAll(body)
		return err
	})
	if err != nil || string(text) != "one two" {
		t.Errorf("%q, %v", text, err)
	}
}
