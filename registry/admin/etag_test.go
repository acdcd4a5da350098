package admin

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

func TestAReadThatIsKnownAlreadyIsNotRepeated(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "Port": 1}`)
	for _, path := range []string{"/v1/health/service/web", "/v1/catalog/service/web", "/v1/catalog/services", "/v1/catalog/nodes", "/v1/agent/service/web"} {
		status, body, header := e.do("GET", path, "")
		tag := header.Get("ETag")
		if status != 200 || body == "" || tag == "" {
			t.Errorf("GET %s: %d %q", path, status, tag)
		}
		for _, known := range []string{tag, `"other", ` + tag, "*"} {
			if status, body, header := e.do("GET", path, "", "If-None-Match", known); status != http.StatusNotModified || body != "" || header.Get("ETag") != tag {
				t.Errorf("GET %s with If-None-Match: %s: %d %q %q", path, known, status, header.Get("ETag"), body)
			}
		}
		if status, _, _ := e.do("GET", path, "", "If-None-Match", `"other"`); status != 200 {
			t.Errorf("GET %s with another tag: %d", path, status)
		}
	}
}

func TestWhateverChangesWhatIsShownChangesTheTag(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "Port": 1, "Check": {"TTL": "1h"}}`)
	const path = "/v1/health/service/web"
	_, _, header := e.do("GET", path, "")
	for _, change := range []struct{ path, body string }{
		{"/v1/agent/service/register", `{"Name": "web", "Port": 2}`},
		{"/v1/agent/check/pass/service:web", ""},
		{"/v1/agent/check/pass/service:web?note=better", ""},
		{"/v1/catalog/register", `{"Node": "n1", "Address": "10.0.0.9"}`},
		{"/v1/agent/service/deregister/web", ""},
	} {
		e.must("PUT", change.path, change.body)
		before := header.Get("ETag")
		var status int
		if status, _, header = e.do("GET", path, "", "If-None-Match", before); status != 200 || header.Get("ETag") == before {
			t.Errorf("after %s %s: %d, %s is still the tag", change.path, change.body, status, before)
		}
	}
}

func TestATagIsOfOneLifeOfTheServer(t *testing.T) {
	first, second := start(t, nil), start(t, nil)
	_, _, header := first.do("GET", "/v1/catalog/service/web", "")
	if status, _, _ := second.do("GET", "/v1/catalog/service/web", "", "If-None-Match", header.Get("ETag")); status != 200 {
		t.Errorf("another server takes the tag %s for its own: %d", header.Get("ETag"), status)
	}
}

func TestAWriteCanBeMadeConditional(t *testing.T) {
	e := start(t, nil)
	const register, deregister, read = "/v1/agent/service/register", "/v1/agent/service/deregister/web", "/v1/agent/service/web"
	tag := func() string { _, _, header := e.do("GET", read, ""); return header.Get("ETag") }
	step := func(name string, want int, path, body string, header ...string) {
		t.Helper()
		if status, text, _ := e.do("PUT", path, body, header...); status != want {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	step("to change what is not there", 412, register, `{"Name":"web","Port":1}`, "If-Match", "*")
	step("to remove what is not there", 412, deregister, "", "If-Match", "*")
	step("to make what is not there", 200, register, `{"Name":"web","Port":1}`, "If-None-Match", "*")
	first := tag()
	step("to make it again", 412, register, `{"Name":"web","Port":2}`, "If-None-Match", "*")
	step("to change what was read", 200, register, `{"Name":"web","Port":2}`, "If-Match", first)
	second := tag()
	step("to change what it was before", 412, register, `{"Name":"web","Port":3}`, "If-Match", first)
	step("to remove what it was before", 412, deregister, "", "If-Match", first)
	step("with a weak tag", 412, register, `{"Name":"web","Port":3}`, "If-Match", "W/"+second)
	if port := e.instance("web").Port; port != 2 || tag() != second {
		t.Errorf("the port is %d", port)
	}
	step("a heartbeat in between", 200, "/v1/agent/check/register", `{"Name":"life","ServiceID":"web","TTL":"1h"}`)
	step("to change it after that", 200, register, `{"Name":"web","Port":4}`, "If-Match", `"x", `+second)
	step("to remove what was read", 200, deregister, "", "If-Match", tag())
	if e.instance("web") != nil {
		t.Error("it is still there")
	}
}

func TestOfManyWhoChangeWhatTheyReadOneDoes(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "Port": 1}`)
	_, _, header := e.do("GET", "/v1/agent/service/web", "")
	var done atomic.Int32
	var writers sync.WaitGroup
	for range 20 {
		writers.Go(func() {
			switch status, text, _ := e.do("PUT", "/v1/agent/service/register", `{"Name":"web","Port":2}`, "If-Match", header.Get("ETag")); status {
			case 200:
				done.Add(1)
			case 412:
			default:
				t.Errorf("%d %s", status, text)
			}
		})
	}
	writers.Wait()
	if n := done.Load(); n != 1 {
		t.Errorf("%d of 20 have changed what they read", n)
	}
}
