package admin

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// held is the transport of the tests' client. It holds what passes to the OpenAPI
// document: the body of a request that is granted, and the status, kind and body of
// every reply. Whichever test asks, and be it through Consul's client, the document is
// tried by it.
type held struct {
	http.RoundTripper
	t testing.TB

	mu   sync.Mutex
	seen map[string]bool // "PUT /v1/agent/service/register 2xx" and the like, that were found to be as described
}

func (h *held) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent bytes.Buffer
	if r.ContentLength > 0 && r.ContentLength <= maxBody { // another is refused, and may have no end
		original := r.Body
		defer original.Close()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(io.TeeReader(original, &sent))
	}
	response, err := h.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	o := described().operation(r.Method, r.URL.EscapedPath())
	if o == nil || response.StatusCode == http.StatusMethodNotAllowed {
		return response, nil
	}
	var body []byte
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") { // which lasts
		body, err = io.ReadAll(response.Body)
		if err != nil { // the test is to find that out
			response.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(bytes.NewReader(body), response.Body), response.Body}
			return response, nil
		}
		_ = response.Body.Close()
		response.Body = io.NopCloser(bytes.NewReader(body))
	}
	if err := o.hold(r.Method, sent.Bytes(), response, body); err != nil {
		h.t.Errorf("%s %s is not as /openapi.json says: %v", r.Method, r.URL, err)
		return response, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen[fmt.Sprintf("%s %dxx", o.name, response.StatusCode/100)] = true
	return response, nil
}

// operation is one of the document.
type operation struct {
	name      string // such as GET /v1/config
	path      *regexp.Regexp
	method    string
	request   *jsonschema.Schema                       // nil: takes no body
	responses map[string]map[string]*jsonschema.Schema // by status or "default", then by kind; nil: any
}

type operations []operation

// described returns the document's operations.
var described = sync.OnceValue(func() operations {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPIDocument))
	if err != nil {
		panic(err)
	}
	closed, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPIDocument))
	if err != nil {
		panic(err)
	}
	shut(closed)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for name, text := range map[string]any{"requests.json": document, "replies.json": closed} {
		if err := compiler.AddResource(name, text); err != nil {
			panic(err)
		}
	}
	// schema compiles the one below a place in the document; nil where there is none.
	schema := func(file string, content any, place ...string) *jsonschema.Schema {
		if _, ok := content.(map[string]any)["schema"]; !ok {
			return nil
		}
		pointer := ""
		for _, step := range append(place, "schema") {
			pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step)
		}
		return compiler.MustCompile(file + "#" + pointer)
	}
	var all operations
	for path, methods := range document.(map[string]any)["paths"].(map[string]any) {
		for method, o := range methods.(map[string]any) {
			o := o.(map[string]any)
			pattern := regexp.MustCompile(`\\{(id|state|name|file)\\}`).ReplaceAllString(regexp.QuoteMeta(path), `[^/]+`)
			if strings.HasPrefix(path, "/v1/agent/check/") {
				pattern = strings.Replace(pattern, `[^/]+`, `.+`, 1) // as the route has it
			}
			found := operation{
				name: strings.ToUpper(method) + " " + path, method: strings.ToUpper(method),
				path: regexp.MustCompile("^" + pattern + "$"), responses: map[string]map[string]*jsonschema.Schema{},
			}
			if body, ok := o["requestBody"].(map[string]any); ok {
				content := body["content"].(map[string]any)["application/json"]
				found.request = schema("requests.json", content, "paths", path, method, "requestBody", "content", "application/json")
			}
			for status, response := range o["responses"].(map[string]any) {
				response, place := response.(map[string]any), []string{"paths", path, method, "responses", status}
				if reference, ok := response["$ref"].(string); ok {
					name := strings.TrimPrefix(reference, "#/components/responses/")
					place = []string{"components", "responses", name}
					response = document.(map[string]any)["components"].(map[string]any)["responses"].(map[string]any)[name].(map[string]any)
				}
				found.responses[status] = map[string]*jsonschema.Schema{}
				content, _ := response["content"].(map[string]any)
				for kind, of := range content {
					found.responses[status][kind] = schema("replies.json", of, append(place[:len(place):len(place)], "content", kind)...)
				}
			}
			all = append(all, found)
		}
	}
	return all
})

// shut closes every object of a schema that names its fields: a client may meet more of
// them in a later version, and a test may not.
func shut(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		for _, inner := range s {
			shut(inner)
		}
		if _, named := s["properties"].(map[string]any); named && s["additionalProperties"] == nil {
			s["additionalProperties"] = false
		}
	case []any:
		for _, inner := range s {
			shut(inner)
		}
	}
}

// operation returns the one that a request is for; nil: the document has none.
func (all operations) operation(method, path string) *operation {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var best *operation
	for n := range all {
		o := &all[n]
		exact := !strings.Contains(o.name, "{")
		if o.method == method && o.path.MatchString(path) && (best == nil || exact) {
			best = o
		}
	}
	return best
}

// hold says in what a request and its reply are not as the document says.
func (o *operation) hold(method string, sent []byte, response *http.Response, body []byte) error {
	status := response.StatusCode
	if status/100 == 2 && o.request != nil {
		if err := valid(o.request, sent); err != nil {
			return fmt.Errorf("the request was granted, and is not one: %w\n%s", err, sent)
		}
	}
	kinds, ok := o.responses[fmt.Sprint(status)]
	if !ok {
		if kinds, ok = o.responses["default"]; !ok || status < 400 {
			return fmt.Errorf("a status of %d is not there", status)
		}
	}
	if len(body) == 0 || method == http.MethodHead {
		return nil
	}
	header := response.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(header)
	if err != nil {
		return fmt.Errorf("its Content-Type is %q: %w", header, err)
	}
	schema, ok := kinds[kind]
	switch {
	case !ok:
		return fmt.Errorf("%d has no body of the kind %s", status, kind)
	case schema == nil || !strings.HasSuffix(kind, "json"):
		return nil
	}
	if err := valid(schema, body); err != nil {
		return fmt.Errorf("the reply %d: %w\n%s", status, err, body)
	}
	return nil
}

func valid(schema *jsonschema.Schema, text []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}
