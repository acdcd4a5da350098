package admin

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rollcall-dns/rollcall/registry"
)

const (
	secretAll  = "all-all-all-all-all-all"
	secretTeam = "team-team-team-team-team"
	secretRead = "read-read-read-read-read"
)

func TestTokenFile(t *testing.T) {
	tokens, err := ReadTokens(strings.NewReader("# who may what\n\n" + secretAll + "\nteam-a " + secretTeam + " write a- shared-\nprometheus  " + secretRead + " read\n"))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "tokens", tokens, []Token{
		{Name: "admin", Secret: secretAll, Write: true, Services: nil},
		{Name: "team-a", Secret: secretTeam, Write: true, Services: []string{"a-", "shared-"}},
		{Name: "prometheus", Secret: secretRead, Services: []string{}},
	})
	t.Logf("a secret has %d characters at least, %d hexadecimal digits or %d digits", leastSecret, leastHexadecimal, leastDecimal)
	for file, want := range map[string]string{
		"":                                   "there is no token",
		"short":                              "line 1: a secret of fewer than 22 characters",
		strings.Repeat("a1", 15) + "-a":      "line 1: a secret of hexadecimal digits, of which it has fewer than 32",
		strings.Repeat("1", 38):              "line 1: a secret of digits, of which it has fewer than 39",
		secretAll + "\nx y":                  "line 2: not of the form",
		"team " + secretTeam + " everything": "line 1: not of the form",
	} {
		_, err := ReadTokens(strings.NewReader(file))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", file, err, want)
		}
		for _, secret := range []string{secretAll, secretTeam} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error repeats a secret: %v", err)
			}
		}
	}
}

func TestASecretOf128BitsIsTaken(t *testing.T) {
	for _, secret := range []string{
		"mQf0aZ93kLsVbxY7Tn2wPg",               // in base 64
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8", // as Consul makes them
		strings.Repeat("0f", 16),
		strings.Repeat("1", 39),
	} {
		if _, err := ReadTokens(strings.NewReader(secret)); err != nil {
			t.Errorf("%s: %v", secret, err)
		}
	}
}

func TestWhatATokenMayDo(t *testing.T) {
	e := start(t, func(c *Config) {
		c.Tokens = func() []Token {
			return []Token{
				{Name: "admin", Secret: secretAll, Write: true},
				{Name: "team-a", Secret: secretTeam, Write: true, Services: []string{"a-"}},
				{Name: "prometheus", Secret: secretRead},
			}
		}
	})
	do := func(secret, method, path, body string) int {
		status, _, _ := e.do(method, path, body, "X-Consul-Token", secret)
		return status
	}
	for _, name := range []string{"a-1", "b-1"} {
		diff(t, name, do(secretAll, "PUT", "/v1/agent/service/register", `{"Name":"`+name+`","Check":{"TTL":"1h"}}`), 200)
	}
	asked, refused := 0, 0
	for _, row := range []struct {
		method, path, body string
		team               int
	}{
		{"GET", "/v1/catalog/services", "", 200},
		{"PUT", "/v1/agent/service/register", `{"Name":"a-2"}`, 200},
		{"PUT", "/v1/agent/service/register", `{"Name":"A-3"}`, 200},
		{"PUT", "/v1/agent/service/register", `{"Name":"b-2"}`, 403},
		{"PUT", "/v1/agent/service/register", `{"ID":"b-1","Name":"a-4"}`, 403},
		{"PUT", "/v1/agent/check/register", `{"Name":"c","ServiceID":"a-1","TTL":"1h"}`, 200},
		{"PUT", "/v1/agent/check/register", `{"Name":"c","ServiceID":"b-1","TTL":"1h"}`, 403},
		{"PUT", "/v1/agent/check/register", `{"Name":"disk","TTL":"1h"}`, 403},
		{"PUT", "/v1/agent/check/register", `{"Name":"h","ServiceID":"a-1","HTTP":"http://10.0.0.1/","Interval":"1h","Method":"head","Header":{"host":["a.example"]}}`, 200},
		{"PUT", "/v1/agent/check/register", `{"Name":"h","ServiceID":"a-1","HTTP":"http://10.0.0.1/","Interval":"1h","Method":"POST"}`, 403},
		{"PUT", "/v1/agent/check/register", `{"Name":"h","ServiceID":"a-1","HTTP":"http://10.0.0.1/","Interval":"1h","Body":"x"}`, 403},
		{"PUT", "/v1/agent/check/register", `{"Name":"h","ServiceID":"a-1","HTTP":"http://10.0.0.1/","Interval":"1h","Header":{"Metadata-Flavor":["Google"]}}`, 403},
		{"PUT", "/v1/agent/service/register", `{"Name":"a-6","Check":{"HTTP":"http://10.0.0.1/","Interval":"1h","Method":"DELETE"}}`, 403},
		{"PUT", "/v1/agent/check/pass/service:a-1", "", 200},
		{"PUT", "/v1/agent/check/pass/service:b-1", "", 403},
		{"PUT", "/v1/agent/check/pass/nothing", "", 404},
		{"PUT", "/v1/agent/service/maintenance/a-1?enable=true", "", 200},
		{"PUT", "/v1/agent/service/maintenance/b-1?enable=true", "", 403},
		{"PUT", "/v1/catalog/register", `{"Node":"n2","Address":"10.0.0.2","Service":{"Service":"a-5"}}`, 403},
		{"PUT", "/v1/catalog/deregister", `{"Node":"n1"}`, 403},
		{"PUT", "/v1/catalog/deregister", `{"Node":"n1","ServiceID":"b-1"}`, 403},
		{"PUT", "/v1/agent/service/deregister/b-1", "", 403},
		{"PUT", "/v1/agent/service/deregister/nothing", "", 404},
		{"PUT", "/v1/agent/service/deregister/a-1", "", 200},
	} {
		if asked++; row.team == 403 {
			refused++
		}
		if row.method != "GET" {
			if status := do(secretRead, row.method, row.path, row.body); status != 403 && status != 404 {
				t.Errorf("who may read: %s %s: %d", row.method, row.path, status)
			}
		}
		if status := do(secretTeam, row.method, row.path, row.body); status != row.team {
			t.Errorf("the team: %s %s %s: %d, want %d", row.method, row.path, row.body, status, row.team)
		}
	}
	if e.registry.View().Service("b-1") == nil {
		t.Error("b-1 is gone")
	}
	diff(t, "who may read", do(secretRead, "GET", "/v1/agent/services", ""), 200)
	t.Logf("of %d requests %d are beyond the services of a token, and refused; of writes all to who may read", asked, refused)
}

func TestSecretsAreNotToBeGuessed(t *testing.T) {
	e := start(t, func(c *Config) { c.Tokens = oneToken(secretAll) })
	statuses := make(map[int]int)
	for range 30 {
		status, _, _ := e.do("GET", "/v1/agent/services", "", "X-Consul-Token", "a guess")
		statuses[status]++
	}
	// They may have fallen into two seconds.
	if statuses[403]+statuses[429] != 30 || statuses[403] < guessesPerSecond || statuses[403] > 2*guessesPerSecond {
		t.Errorf("the statuses are %v", statuses)
	}
	t.Logf("of 30 guesses at once %d are looked at", statuses[403])
}

func TestAWriteThatPanicsIsAudited(t *testing.T) {
	var log bytes.Buffer
	s, err := New(Config{Registry: fixed{feed: registry.NewFeed(registry.NewView("dc1"))}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	check(t, err)
	r := httptest.NewRequest("PUT", "http://localhost/v1/agent/service/register", strings.NewReader(`{"Name":"web"}`))
	s.ServeHTTP(httptest.NewRecorder(), r) // fixed has no Register
	if text := log.String(); !strings.Contains(text, "msg=audit method=PUT path=/v1/agent/service/register status=500") {
		t.Errorf("the log is\n%s", text)
	}
}

func TestWritesAreAudited(t *testing.T) {
	var log bytes.Buffer
	e := start(t, func(c *Config) {
		c.Tokens, c.Logger = oneToken(secretAll), slog.New(slog.NewTextHandler(&log, nil))
	})
	e.do("PUT", "/v1/agent/service/register", `{"Name":"web"}`, "X-Consul-Token", secretAll)
	e.do("GET", "/v1/agent/services", "", "X-Consul-Token", secretAll)
	e.do("PUT", "/v1/agent/service/deregister/nothing", "", "X-Consul-Token", secretAll)
	e.do("PUT", "/v1/agent/service/register", `{"Name":"x"}`, "X-Consul-Token", "a wrong token that is long")
	e.do("PUT", "/v1/agent/check/pass/no-token", "")
	e.do("PUT", "/v1/agent/check/pass/other-host", "", "X-Consul-Token", secretAll, "Host", "evil.example")
	e.do("PUT", "/v1/agent/check/pass/other-origin", "", "X-Consul-Token", secretAll, "Origin", "https://evil.example")
	e.do("GET", "/v1/agent/services", "")
	for range 2*guessesPerSecond + 1 { // they may fall into two seconds
		e.do("DELETE", "/v1/agent/guess", "", "X-Consul-Token", "a wrong token that is long")
	}
	text := log.String()
	for _, want := range []string{
		"level=INFO msg=audit method=PUT path=/v1/agent/service/register status=200",
		"level=INFO msg=audit method=PUT path=/v1/agent/service/deregister/nothing status=404",
		"level=WARN msg=audit method=PUT path=/v1/agent/service/register status=403",
		"level=WARN msg=audit method=PUT path=/v1/agent/check/pass/no-token status=403",
		"level=WARN msg=audit method=PUT path=/v1/agent/check/pass/other-host status=421",
		"level=WARN msg=audit method=PUT path=/v1/agent/check/pass/other-origin status=403",
		"level=WARN msg=audit method=DELETE path=/v1/agent/guess status=403",
		"level=WARN msg=audit method=DELETE path=/v1/agent/guess status=429",
		"token=admin",
		`msg="a wrong token was shown"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	audited := strings.Count(text, "msg=audit")
	t.Logf("%d writes, %d of which were not let in: %d lines", 7+2*guessesPerSecond, 5+2*guessesPerSecond, audited)
	if audited != 7+2*guessesPerSecond {
		t.Errorf("the log is\n%s", text)
	}
	if strings.Contains(text, secretAll) || strings.Contains(text, "a wrong token that") {
		t.Errorf("the log tells secrets:\n%s", text)
	}
}
