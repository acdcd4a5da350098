package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// TestAnInterruptedImportTellsHowFarItCame has the process interrupted when a third line
// is registered.
func TestAnInterruptedImportTellsHowFarItCame(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("skipped: a process there cannot interrupt itself")
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	var registered atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "nodes"):
			fmt.Fprint(w, "[]")
		case r.Method == http.MethodGet:
			fmt.Fprint(w, "{}")
		default:
			_, _ = io.Copy(io.Discard, r.Body) // or else the server does not see that the client is gone
			if n := registered.Add(1); n == 3 {
				if err := self.Signal(os.Interrupt); err != nil {
					t.Error(err)
				}
			} else if n < 3 {
				return
			}
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	var lines strings.Builder
	for n := range 50 {
		fmt.Fprintf(&lines, `{"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "web", "ID": "web-%d"}}`+"\n", n)
	}
	file := filepath.Join(t.TempDir(), "registry.jsonl")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	app := newApp()
	app.Writer, app.ErrWriter = new(bytes.Buffer), new(bytes.Buffer)
	err = app.RunContext(t.Context(), []string{"rollcall", "import", "--api", server.URL, file})
	if err == nil || !regexp.MustCompile(`^[012] of 50 lines registered, and importing again completes it: interrupted$`).MatchString(err.Error()) {
		t.Errorf("it ends with %v", err)
	}
	if code := exitCode(err); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
}
