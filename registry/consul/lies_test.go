package consul

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLiesOfAHealthyConsulDeleteNothing has each of the questions answered with what no
// Consul says, as of a leader that is well: good instances are taken, and the view is
// otherwise what it was.
func TestLiesOfAHealthyConsulDeleteNothing(t *testing.T) {
	good := `{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"web-80","Service":"web","Port":80},"Checks":[]}`
	bodies := map[string]string{
		"null": "null", "object": "{}", "text": `"x"`, "number": "1e999", "nulls": "[null,null]", "empties": "[{}]", "empty list": "[]",
		"trailing": "[]trailing", "two": "[][]", "nothing": "",
		"null parts": `[{"Node":null,"Service":null,"Checks":null}]`,
		"no service": `[{"Node":{"Node":"n1","Address":"192.0.2.1"}}]`,
		"other":      `[{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"o","Service":"other","Port":9}}]`,
		"good and bad": `[` + good + `,{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"p","Service":"web","Port":-1}},
			{"Node":{"Node":"../..","Address":"192.0.2.1"},"Service":{"ID":"q","Service":"web","Port":1}},
			{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"r","Service":"web","Port":1,"Address":"not an address"}},
			{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"s","Service":"we b","Port":1}},
			{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"` + strings.Repeat("i", 100000) + `","Service":"web","Port":1}},
			{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"t","Service":"web","Port":1e30}},
			{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"u","Service":"web","Port":1.5}},
			{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"v","Service":"web","Port":1,"Tags":"x"}},
			{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"w","Service":"web","Port":1,"Weights":{"Passing":-5}}},
			{"Node":{"Node":"n1","Address":"0.0.0.0"},"Service":{"ID":"x","Service":"web","Port":1}},
			{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"y","Service":"web","Port":7},"Checks":[{"Node":"n1","CheckID":"c","Status":"splendid","ServiceID":"y","ServiceName":"web"}]},
			{"Node":{"Node":"n1","Address":"192.0.2.1"},"Service":{"ID":"z","Service":"web","Port":8,"Meta":{"k":"` + strings.Repeat("m", 100000) + `"}}}]`,
		"twice": `[` + good + `,` + good + `]`,
		"nul":   "[\x00]", "bad utf8": `[{"Node":{"Node":"\xff\xfe","Address":"192.0.2.1"},"Service":{"ID":"a","Service":"web","Port":80}}]`,
	}
	answers := 0
	defer func() { t.Logf("%d kinds of answers, %d given", len(bodies), answers) }()
	for name, body := range bodies {
		for _, path := range []string{servicePath("web"), allServices, allNodes, allChecks} {
			bubble(t, name+" "+path, func(t *testing.T) {
				f := newFake()
				f.put("web", "passing", 80)
				r, _ := run(t, f, Config{})
				r.interest("web")
				settled(5 * time.Second)
				began := len(f.asked)
				f.set(func() {
					f.index++
					f.fault = func(p string, _ *http.Request) *http.Response {
						if p != path {
							return nil
						}
						answers++
						return reply(200, f.index, true, false, body)
					}
				})
				settled(time.Minute)
				got := ports(r, "web")
				asked := len(f.asked) - began
				f.set(func() { f.fault = nil })
				f.put("web", "passing", 81)
				settled(15 * time.Second)
				if !slices.Contains(got, 80) || asked > 200 {
					t.Errorf("a minute later the ports are %v, and %d questions were asked", got, asked)
				}
				expect(t, "ports afterwards", ports(r, "web"), []int{81})
			})
		}
	}
}

func TestNobodyElseIsShownTheToken(t *testing.T) {
	bubble(t, "a redirect to another host", func(t *testing.T) {
		f := newFake()
		f.put("web", "passing", 80)
		elsewhere := 0
		r, _ := run(t, f, Config{})
		r.interest("web")
		settled(5 * time.Second)
		f.set(func() {
			f.fault = func(path string, r *http.Request) *http.Response {
				if r.URL.Host == "elsewhere.example" {
					elsewhere++
				}
				response := reply(http.StatusTemporaryRedirect, 0, true, false, "")
				response.Header.Set("Location", "http://elsewhere.example"+path)
				return response
			}
		})
		settled(time.Minute)
		expect(t, "questions to somebody else", elsewhere, 0)
		expect(t, "ports", ports(r, "web"), []int{80})
	})
}
