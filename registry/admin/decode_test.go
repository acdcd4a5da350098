package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestAHostileBodyIsRefusedByTheNameOfItsField(t *testing.T) {
	rows := []struct {
		name, body string
		says       string // what the reply begins with
	}{
		{"nothing", ``, "the body is empty"},
		{"blanks", " \n\t", "the body is empty"},
		{"a list", `[]`, "the body must be an object, and not a list"},
		{"a number", `7`, "the body must be an object, and not 7"},
		{"null", `null`, "Name of the service is missing"},
		{"no JSON", `Name=web`, "the body is no JSON: invalid character 'N'"},
		{"half of it", `{"Name":"we`, "the body is no JSON: unexpected end"},
		{"two of it", `{"Name":"web"}{"Name":"web"}`, "the body is no JSON: invalid character '{' after top-level value"},
		{"a comment behind it", `{"Name":"web"} // web`, "the body is no JSON"},
		{"NaN", `{"Name":"web","Port":NaN}`, "the body is no JSON"},
		{"a NUL", "{\"Name\":\"we\x00b\"}", "the body is no JSON"},
		{"bad UTF-8", "{\"Name\":\"web\",\"Meta\":{\"k\":\"\xff\"}}", "the body is no UTF-8 text"},
		{"UTF-16", "\xff\xfe{\x00}\x00", "the body is no UTF-8 text"},
		{"half a surrogate pair", `{"Name":"web","Meta":{"k":"\ud800"}}`, "Meta.k holds half of a surrogate pair"},
		{"33 lists", `{"Name":"web","Tags":` + strings.Repeat("[", 33) + strings.Repeat("]", 33) + `}`, "the body has values more than 32 deep"},
		{"a million brackets", strings.Repeat("[", 1<<20), "the body has values more than 32 deep"},

		{"a field misspelt", `{"Name":"web","Prot":80}`, "Prot is no field that rollcall knows"},
		{"a field misspelt inside", `{"Name":"web","Check":{"HTPP":"http://a/"}}`, "Check.HTPP is no field that rollcall knows"},
		{"a field misspelt in a list", `{"Name":"web","Checks":[{"TTL":"9s"},{"TLL":"9s"}]}`, "Checks[1].TLL is no field that rollcall knows"},
		{"markup as a field", `{"<script>\n":1}`, `<script>\n is no field that rollcall knows`},
		{"a field twice", `{"Name":"web","Port":80,"Port":81}`, "Port is there twice"},
		{"a field twice in two cases", `{"Name":"web","port":80,"PORT":81}`, "Port is there twice"},
		{"a field twice in two spellings", `{"Name":"web","Check":{"TTL":"9s","TLSSkipVerify":true,"tls_skip_verify":false}}`, "Check.TLSSkipVerify is there twice"},
		{"a key twice", `{"Name":"web","Meta":{"a":"1","a":"2"}}`, "Meta.a is there twice"},

		{"a number as name", `{"Name":7}`, "Name must be a string, and not 7"},
		{"a text as port", `{"Name":"web","Port":"80"}`, `Port must be a whole number, and not "80"`},
		{"half a port", `{"Name":"web","Port":80.5}`, "Port must be a whole number, and not 80.5"},
		{"a port beyond all", `{"Name":"web","Port":1e99}`, "Port must be a whole number, and not 1e99"},
		{"a port too large", `{"Name":"web","Port":65536}`, "Port is 65536"},
		{"a text as tags", `{"Name":"web","Tags":"a"}`, `Tags must be a list, and not "a"`},
		{"a number among tags", `{"Name":"web","Tags":["a",7]}`, "Tags[1] must be a string, and not 7"},
		{"null among tags", `{"Name":"web","Tags":[null]}`, "Tags[0] must be a string, and not null"},
		{"null among checks", `{"Name":"web","Checks":[null]}`, "Checks[0] must be an object, and not null"},
		{"a list as metadata", `{"Name":"web","Meta":[]}`, "Meta must be an object, and not a list"},
		{"a number as metadata", `{"Name":"web","Meta":{"k":1}}`, "Meta.k must be a string, and not 1"},
		{"a text as flag", `{"Name":"web","EnableTagOverride":"yes"}`, `EnableTagOverride must be true or false, and not "yes"`},
		{"no duration", `{"Name":"web","Check":{"TTL":"soon"}}`, `Check.TTL must be a duration such as "10s", or a number of nanoseconds, and not "soon"`},
		{"an object as duration", `{"Name":"web","Check":{"TTL":{}}}`, "Check.TTL must be a duration"},
		{"no status", `{"Name":"web","Check":{"TTL":"9s","Status":"ill"}}`, `Check.Status must be "passing", "warning" or "critical", and not "ill"`},

		{"no name", `{"ID":"web"}`, "Name of the service is missing"},
		{"a name that is no label", `{"Name":"my web"}`, "Name "},
		{"a path as ID", `{"Name":"web","ID":"../../etc/passwd"}`, "ID "},
		{"an address nobody can reach", `{"Name":"web","Address":"0.0.0.0"}`, "Address "},
		{"a check of nothing", `{"Name":"web","Check":{"Interval":"10s"}}`, "Check needs one of HTTP, TCP, UDP, GRPC, DNS and TTL"},
		{"a check of nothing in a list", `{"Name":"web","Checks":[{"Name":"c"}]}`, "Checks[0] needs one of HTTP"},

		{"a sidecar", `{"Name":"web","Connect":{"SidecarService":{"Port":1}}}`, "Connect is nothing that rollcall acts on"},
		{"a proxy", `{"Name":"web","Proxy":{"DestinationServiceName":"db"}}`, "Proxy is nothing that rollcall acts on"},
		{"a gateway", `{"Name":"web","Kind":"mesh-gateway"}`, "Kind is nothing that rollcall acts on"},
		{"a namespace", `{"Name":"web","Namespace":"team-a"}`, "Namespace is nothing that rollcall acts on"},
		{"a partition", `{"Name":"web","Partition":"a"}`, "Partition is nothing that rollcall acts on"},
		{"a locality", `{"Name":"web","Locality":{"Region":"eu"}}`, "Locality is nothing that rollcall acts on"},
		{"several ports and no default one", `{"Name": "web", "Ports": [{"Name": "http", "Port": 80}]}`, "Ports.Default must be set for one of the ports"},
		{"a script", `{"Name":"web","Check":{"Script":"rm -rf /","Interval":"10s"}}`, "Check.Script is nothing that rollcall acts on"},
		{"a command", `{"Name":"web","Check":{"Args":["rm"],"Interval":"10s"}}`, "Check.Args is nothing that rollcall acts on"},
		{"a command in the client's words", `{"Name":"web","Check":{"ScriptArgs":["rm"],"Interval":"10s"}}`, "Check.ScriptArgs is nothing that rollcall acts on"},
		{"a container", `{"Name":"web","Check":{"DockerContainerID":"a","Shell":"sh"}}`, "Check.DockerContainerID is nothing that rollcall acts on"},
		{"an alias", `{"Name":"web","Check":{"AliasService":"db"}}`, "Check.AliasService is nothing that rollcall acts on"},
		{"HTTP/2 ping", `{"Name":"web","Check":{"H2PING":"a:1"}}`, "Check.H2PING is nothing that rollcall acts on"},
		{"HTTP/2 over TLS", `{"Name":"web","Check":{"TTL":"9s","H2PingUseTLS":true}}`, "Check.H2PingUseTLS is nothing that rollcall acts on"},
		{"less of an output", `{"Name":"web","Check":{"TTL":"9s","OutputMaxSize":100}}`, "Check.OutputMaxSize is 100, and 4096 octets of an output are kept: leave it out"},
		{"more of an output", `{"Name":"web","Checks":[{"TTL":"9s","OutputMaxSize":65536}]}`, "Checks[0].OutputMaxSize is 65536, and 4096 octets"},
		{"no output", `{"Name":"web","Check":{"TTL":"9s","OutputMaxSize":-1}}`, "Check.OutputMaxSize is -1, and 4096 octets"},
		{"a service of the system", `{"Name":"web","Check":{"OSService":"a"}}`, "Check.OSService is nothing that rollcall acts on"},
	}
	t.Logf("%d bodies", len(rows))
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			e := start(t, nil)
			before := e.registry.View()
			status, body, _ := e.do("PUT", "/v1/agent/service/register", row.body)
			if status != http.StatusBadRequest || !strings.HasPrefix(body, row.says) {
				t.Errorf("%d %s\nwant 400 %s", status, body, row.says)
			}
			if strings.Count(body, "\n") != 1 {
				t.Errorf("the reply is not one line: %q", body)
			}
			if e.registry.View() != before {
				t.Error("the registry has changed")
			}
		})
	}
}

func TestABodyMeansWhatItMeansToConsul(t *testing.T) {
	want := &registry.Definition{
		HTTP: "http://a/", TLSSkipVerify: true, Interval: 10 * time.Second, Timeout: time.Second, DeregisterCriticalServiceAfter: time.Hour,
	}
	for _, row := range []struct{ name, check string }{
		{"its names", `{"HTTP":"http://a/","TLSSkipVerify":true,"Interval":"10s","Timeout":"1000ms","DeregisterCriticalServiceAfter":"60m"}`},
		{"in lower case", `{"http":"http://a/","tlsskipverify":true,"interval":"10s","timeout":"1s","deregistercriticalserviceafter":"1h"}`},
		{"with underscores", `{"http":"http://a/","tls_skip_verify":true,"interval":"10s","timeout":"1s","deregister_critical_service_after":"1h"}`},
		{"nanoseconds", `{"HTTP":"http://a/","TLSSkipVerify":true,"Interval":10000000000,"Timeout":1000000000,"DeregisterCriticalServiceAfter":3600000000000}`},
		{"escapes", `{"\u0048TTP":"http:\/\/a\u002f","TLSSkipVerify":true,"Interval":"10s","Timeout":"1s","DeregisterCriticalServiceAfter":"1h"}`},
		{"what it sends empty", `{"HTTP":"http://a/","TLSSkipVerify":true,"Interval":"10s","Timeout":"1s","DeregisterCriticalServiceAfter":"1h",
			"Script":"","ScriptArgs":null,"Shell":"","H2PING":"","TTL":"","Header":null,"Namespace":"default","AliasNode":"","TCPUseTLS":false,"H2PingUseTLS":false,"OutputMaxSize":0}`},
		{"what is so anyway", `{"HTTP":"http://a/","TLSSkipVerify":true,"Interval":"10s","Timeout":"1s","DeregisterCriticalServiceAfter":"1h","OutputMaxSize":4096}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got checkRequest
			check(t, decodeText(row.check, &got))
			diff(t, "definition", got.definition.registry(), want)
		})
	}
}

func TestWhatClientsSendEmptyIsAccepted(t *testing.T) {
	var got serviceRequest
	check(t, decodeText(`{
		"Kind": "", "ID": "web-1", "Name": "web", "Tags": null, "Meta": null, "Check": null, "Checks": null,
		"Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {"Paths": []}, "Config": null}, "Connect": {}, "Weights": null,
		"Namespace": "default", "Partition": "default", "Locality": null, "Ports": [], "SocketPath": "", "TaggedAddresses": {}
	}`, &got))
	diff(t, "ID", got.ID, "web-1")
}

func TestAnEmptyCheckIsNone(t *testing.T) {
	e := start(t, nil)
	e.must("PUT", "/v1/agent/service/register", `{"Name":"web","Check":{}}`)
	diff(t, "number of checks", len(e.registry.View().Instance("n1", "web").Checks), 0)
}

func decodeText(text string, into any) error {
	_, err := decode(httptest.NewRequest("PUT", "/", strings.NewReader(text)), into)
	return err
}

// pointsIntoIt follows a JSON pointer with what encoding/json makes of a text.
func pointsIntoIt(t *testing.T, text, pointer string) bool {
	at := parse(t, text)
	if pointer == "" {
		return true
	}
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch value := at.(type) {
		case map[string]any:
			var ok bool
			if at, ok = value[step]; !ok {
				return false
			}
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil || n >= len(value) {
				return false
			}
			at = value[n]
		default:
			return false
		}
	}
	return true
}

// Whatever comes, it is either refused as bad, and the pointer to what is bad leads
// somewhere, or is JSON that encoding/json takes for the same.
func FuzzDecode(f *testing.F) {
	f.Add(`{"Name":"web","Port":80,"Tags":["a","b"],"Meta":{"k":"v"},"Weights":{"Passing":2,"Warning":1}}`)
	f.Add(`{"Name":"web","Check":{"HTTP":"http://a/","Interval":"10s","Header":{"a":["b"]}},"Checks":[{"TTL":1}]}`)
	f.Add(`{"Name" : "w\u0065b\\\"" , "Proxy" : { } , "Connect" : [ ] }`)
	f.Add(`{"Name":"web","Tags":[[[["`)
	f.Fuzz(func(t *testing.T, text string) {
		var got, want struct {
			ID, Name        string
			Tags            []string
			Port            int
			Meta            map[string]string
			TaggedAddresses map[string]registry.TaggedAddress
			Weights         *registry.Weights
			Checks          []*struct {
				TTL    duration
				Status registry.Status
			}
		}
		if err := decodeText(text, &got); err != nil {
			if registry.CodeOf(err) != registry.Invalid || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %v", text, err)
			}
			var at *fieldError
			if errors.As(locate([]byte(text), err), &at) && !pointsIntoIt(t, text, pointerTo([]byte(strings.TrimSpace(text)), at.field)) {
				t.Errorf("%q: %v: there is nothing at %q", text, err, pointerTo([]byte(strings.TrimSpace(text)), at.field))
			}
			return
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("%q is accepted, and is none: %v", text, err)
		}
		if !strings.Contains(text, "_") { // encoding/json knows no underscores
			diff(t, text, got, want)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	const text = `{"ID":"web-1","Name":"web","Port":8080,"Address":"10.0.0.1","Tags":["v1","primary"],"Meta":{"version":"1"},
		"Check":{"HTTP":"http://10.0.0.1:8080/","Interval":"10s","Timeout":"1s"}}`
	b.ReportAllocs()
	for b.Loop() {
		var request serviceRequest
		if err := decodeText(text, &request); err != nil {
			b.Fatal(err)
		}
	}
}
