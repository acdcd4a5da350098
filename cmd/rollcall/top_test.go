package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rollcall-dns/rollcall/registry/admin"
)

// TestTheNamesThatAreAskedForMostAreListed has a server that tells of a minute, and of
// an hour.
func TestTheNamesThatAreAskedForMostAreListed(t *testing.T) {
	web := admin.NameShare{Name: "web.service.rollcall.internal.", Kind: "NOERROR", Share: 0.75, PerSecond: 15}
	wbe := admin.NameShare{Name: "wbe.service.rollcall.internal.", Kind: "NXDOMAIN", Share: 0.25, PerSecond: 5}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(admin.TopNames{
			Minute: admin.NameWindow{Seconds: 60, Questions: 1200, Names: []admin.NameShare{web, wbe}, Unknown: []admin.NameShare{wbe}},
			Hour:   admin.NameWindow{Seconds: 3600, Questions: 3600, Names: []admin.NameShare{web}},
		})
	}))
	defer server.Close()
	for flag, want := range map[string]string{
		"--once": "1200 questions in 1m0s, 20.0 a second\n\n" +
			"NAME                            ANSWER    SHARE   PER SECOND\n" +
			"web.service.rollcall.internal.  NOERROR   75.0 %  15.0\n" +
			"wbe.service.rollcall.internal.  NXDOMAIN  25.0 %  5.0\n",
		"--unknown": "1200 questions in 1m0s, 20.0 a second\n\n" +
			"NAME                            ANSWER    SHARE   PER SECOND\n" +
			"wbe.service.rollcall.internal.  NXDOMAIN  25.0 %  5.0\n",
		"--hour": "3600 questions in 1h0m0s, 1.0 a second\n\n" +
			"NAME                            ANSWER   SHARE   PER SECOND\n" +
			"web.service.rollcall.internal.  NOERROR  75.0 %  15.0\n",
	} {
		var out bytes.Buffer
		app := newApp()
		app.Writer = &out
		if err := app.RunContext(t.Context(), []string{"rollcall", "top", "--api", server.URL, flag}); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("%s:\n%s\nwant\n%s", flag, &out, want)
		}
	}
}
