package admin

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rollcall-dns/rollcall/registry"
)

// FuzzRegistration sends any body to what takes one. None may make the endpoint
// fail, and what it accepts can be read again.
func FuzzRegistration(f *testing.F) {
	e := start(f, nil)
	paths := []string{"/v1/agent/service/register", "/v1/agent/check/register", "/v1/catalog/register", "/v1/catalog/deregister", "/v1/agent/check/update/service:web"}
	for _, body := range []string{
		`{"Name":"web","Port":80,"Tags":["v1"],"Meta":{"k":"v"},"Check":{"TTL":"10s"}}`, `{"Name":"web","Ports":[{"Name":"http","Port":80,"Default":true}]}`,
		`{"Node":"n2","Address":"10.0.0.2","Service":{"Service":"db","Port":5432},"Checks":[{"CheckID":"c","Status":"passing"}]}`, `{"Node":"n2","ServiceID":"db"}`,
		`{"Name":"c","HTTP":"http://127.0.0.1/","Interval":"1s"}`, `{"Status":"passing","Output":"fine"}`, `{`, `[]`, `null`, `{"Name":"a","Name":"b"}`, `{"Weights":{"Passing":1e9}}`,
		`{"Name":"` + strings.Repeat("a.", 100) + `"}`, strings.Repeat("[", 100), "{\"Name\":\"\xff\"}",
	} {
		for n := range paths {
			f.Add(uint(n), []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, path uint, body []byte) {
		recorder := httptest.NewRecorder()
		request := httptest.NewRequest(http.MethodPut, paths[path%uint(len(paths))], bytes.NewReader(body))
		request.Host = "127.0.0.1"
		e.server.ServeHTTP(recorder, request)
		if recorder.Code >= 500 {
			t.Errorf("%d %s to %q", recorder.Code, recorder.Body, body)
		}
		if text := strings.TrimSpace(recorder.Body.String()); recorder.Code >= 400 && (text == "" || strings.Contains(text, "\n")) {
			t.Errorf("%d is told as %q", recorder.Code, text)
		}
		for i := range e.registry.View().Instances() {
			r := registry.Registration{Instance: new(*i)}
			if err := r.Validate(); err != nil {
				t.Errorf("%q was registered: %v", body, err)
			}
		}
	})
}

// FuzzTokens reads any token file.
func FuzzTokens(f *testing.F) {
	f.Add("0123456789012345678901")
	f.Add("# a\nteam 0123456789012345678901 write a- b-\nreader 0123456789012345678902 read\n")
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := ReadTokens(strings.NewReader(text))
		if (err == nil) != (len(tokens) > 0) {
			t.Errorf("%d tokens, and %v", len(tokens), err)
		}
		for _, token := range tokens {
			if len(token.Secret) < leastSecret {
				t.Errorf("the secret has %d characters", len(token.Secret))
			}
			if err != nil && strings.Contains(err.Error(), token.Secret) {
				t.Error("the error has a secret in it")
			}
		}
	})
}
