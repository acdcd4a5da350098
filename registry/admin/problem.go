package admin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

// Problem is what is wrong with a request, for machines (RFC 9457).
type Problem struct {
	Type      string         `json:"type"`             // about:blank: the status says what kind it is
	Title     string         `json:"title"`            // of the status
	Status    int            `json:"status"`           // of the reply
	Detail    string         `json:"detail"`           // one sentence, the same that others get as text
	Instance  string         `json:"instance"`         // the path that was asked for
	RequestID string         `json:"request_id"`       // as in the log
	Errors    []FieldProblem `json:"errors,omitempty"` // where the fault is in the body
}

// FieldProblem is what is wrong with a value in the body.
type FieldProblem struct {
	Pointer string `json:"pointer"` // a JSON pointer in a URI's fragment: #/Checks/0/HTTP (RFC 6901, section 6)
	Detail  string `json:"detail"`
}

const problemType = "application/problem+json"

// refuse answers a request with what is wrong with it: in one line of text, as
// Consul does and its clients expect, or as a Problem to who asks for JSON.
func refuse(w http.ResponseWriter, r *http.Request, status int, err error) {
	w.Header().Add("Vary", "Accept")
	if !wantsProblem(r.Header.Values("Accept")) {
		http.Error(w, err.Error(), status)
		return
	}
	p := Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: err.Error(),
		Instance: r.URL.EscapedPath(), RequestID: RequestID(r),
	}
	var at *fieldError
	if errors.As(err, &at) {
		fragment := url.URL{Fragment: pointerTo(bytes.TrimSpace(at.body), at.field)}
		p.Errors = []FieldProblem{{Pointer: cmp.Or(fragment.String(), "#"), Detail: err.Error()}}
	}
	text, err := json.Marshal(p)
	if err != nil {
		http.Error(w, p.Detail, status)
		return
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}

// wantsProblem tells whether a client would rather have a Problem than text. One that
// takes anything gets text.
func wantsProblem(accept []string) bool {
	var problem, text float64
	for _, header := range accept {
		for item := range strings.SplitSeq(header, ",") {
			kind, parameters, err := mime.ParseMediaType(item)
			if err != nil {
				continue
			}
			quality := 1.0
			if q, err := strconv.ParseFloat(parameters["q"], 64); err == nil {
				quality = q
			}
			switch kind {
			case problemType, "application/json":
				problem = max(problem, quality)
			case "text/plain":
				text = max(text, quality)
			}
		}
	}
	return problem > 0 && problem >= text
}

// fieldError is an error about a field of a body, which is looked for when somebody
// wants to know.
type fieldError struct {
	error
	body  []byte // JSON
	field string
}

func (e *fieldError) Unwrap() error { return e.error }

// locate makes an error that names a field one about a field of this body.
func locate(body []byte, err error) error {
	var invalid *registry.Error
	if !errors.As(err, &invalid) || invalid.Code != registry.Invalid || invalid.Field == "" {
		return err
	}
	return &fieldError{err, body, invalid.Field}
}

// pointerTo returns the pointer (RFC 6901) to a field such as Weights.Passing, or to
// what it is missing in. The registry does not say whether a field is of the node or of the
// service, nor of which check it is: where it could be several, the pointer is to
// what all of them are in.
func pointerTo(body []byte, field string) string {
	path := strings.FieldsFunc(field, func(c rune) bool { return c == '.' || c == '[' || c == ']' })
	if len(path) == 0 {
		return ""
	}
	places := [][]string{path, append([]string{"Service"}, path...)}
	if path[0] == "Check" {
		place := append([]string{"Checks", "0"}, path[1:]...)
		if len(descend(body, []string{"Checks", "1"})) == 2 {
			place = place[:1]
		}
		places = append(places, place)
	}
	var there []string
	near := ""
	for _, place := range places {
		at := descend(body, place)
		pointer := strings.Join(append([]string{""}, at...), "/")
		if len(at) == len(place) {
			there = append(there, pointer)
		}
		near = cmp.Or(near, pointer)
	}
	switch len(there) {
	case 0:
		return near
	case 1:
		return there[0]
	}
	return ""
}

// descend follows a path into a value, and returns the steps that are there, as they
// are written in a pointer.
func descend(value []byte, path []string) (at []string) {
	for _, step := range path {
		name, inner := child(value, step)
		if inner == nil {
			return at
		}
		at, value = append(at, strings.NewReplacer("~", "~0", "/", "~1").Replace(name)), inner
	}
	return at
}

// child returns a value in an object or a list, with the name that it has there; nil:
// there is none.
func child(value []byte, step string) (name string, inner []byte) {
	switch value[0] {
	case '{':
		for key, v := range members(value) {
			if key == step || strings.EqualFold(strings.ReplaceAll(key, "_", ""), step) {
				name, inner = key, v
			}
		}
	case '[':
		n := 0
		for v := range elements(value) {
			if strconv.Itoa(n) == step {
				name, inner = step, v
			}
			n++
		}
	}
	return name, inner
}
