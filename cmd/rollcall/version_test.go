package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestTheVersionNamesItsCommit has the linker have set what it sets in make build.
func TestTheVersionNamesItsCommit(t *testing.T) {
	version, revision, committed = "v1.2.3", "0ee3cb33", "2026-11-29T15:37:43Z"
	t.Cleanup(func() { version, revision, committed = "", "", "" })
	if got := buildVersion().String(); !strings.HasPrefix(got, "v1.2.3 (0ee3cb33, 2026-11-29T15:37:43Z, go") {
		t.Errorf("it is %s", got)
	}
	app, out := newApp(), new(bytes.Buffer)
	app.Writer = out
	if err := app.RunContext(t.Context(), []string{"rollcall", "version", "--output", "json"}); err != nil {
		t.Fatal(err)
	}
	var found build
	if err := json.Unmarshal(out.Bytes(), &found); err != nil || found != buildVersion() {
		t.Errorf("%s, %v", out, err)
	}
}
