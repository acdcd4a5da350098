package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rollcall-dns/rollcall/registry"
)

// maxDepth is how deep the values of a body may lie in one another.
const maxDepth = 32

// decode reads the body into a struct, and returns it. It is as strict as can be, because what a
// registration does not do as meant is found out much later and elsewhere: a
// field that is not known, one that is given twice, a value of another type are
// refused by their names. A field's name is taken as Consul takes it, in any
// case and with or without underscores.
func decode(r *http.Request, into any) (body []byte, err error) {
	body, err = readBody(r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &registry.Error{Code: registry.Invalid, Message: fmt.Sprintf("the body is larger than %d octets", tooLarge.Limit), Err: err}
	case err != nil:
		return nil, badRequest("the body ends early: %w", err)
	}
	return body, decodeBody(body, into)
}

// decoded is a handler that takes a body.
func decoded[T any](h func(w http.ResponseWriter, r *http.Request, request *T) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var request T
		body, err := decode(r, &request)
		if err == nil {
			err = h(w, r, &request)
		}
		return locate(body, err)
	}
}

// readBody reads the body, into memory of its size where that is told and small:
// for a large one memory is taken as it comes. Of one that says that it is too large
// something is read, for clients that look for the reply only when they have sent it.
func readBody(r *http.Request) ([]byte, error) {
	const small = 16 << 10
	if r.ContentLength > maxBody {
		if r.Header.Get("Expect") == "" { // or it waits to be told to send
			_, _ = io.Copy(io.Discard, r.Body)
		}
		return nil, &http.MaxBytesError{Limit: maxBody}
	}
	if r.ContentLength <= 0 || r.ContentLength > small {
		return io.ReadAll(r.Body)
	}
	body := bytes.NewBuffer(make([]byte, 0, r.ContentLength+bytes.MinRead))
	_, err := body.ReadFrom(r.Body)
	return body.Bytes(), err
}

// decodeBody reads a body that is there as a whole.
func decodeBody(body []byte, into any) error {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return badRequest("the body is empty, and must be a JSON object")
	case !utf8.Valid(body):
		return badRequest("the body is no UTF-8 text")
	case depth(body) > maxDepth:
		return badRequest("the body has values more than %d deep in one another", maxDepth)
	}
	if !json.Valid(body) {
		var syntax *json.SyntaxError
		if errors.As(json.Unmarshal(body, new(json.RawMessage)), &syntax) {
			return badRequest("the body is no JSON: %w at octet %d", syntax, syntax.Offset)
		}
		return badRequest("the body is no JSON")
	}
	return fill(reflect.ValueOf(into).Elem(), bytes.TrimSpace(body), "")
}

// unsupported is a field of Consul's that rollcall does not act on. Clients send
// it empty, which is all the same; with something in it the request is refused,
// since its author counts on what would not happen.
type unsupported struct{}

// ignored is a field that clients send back as they have read it.
type ignored struct{}

// fill sets a value from JSON that is known to be well formed. The path names
// the value to whoever sent it.
func fill(v reflect.Value, raw []byte, path string) error {
	switch v.Type() {
	case reflect.TypeFor[ignored]():
		return nil
	case reflect.TypeFor[unsupported]():
		if !isEmpty(raw) {
			return badField(path, "is nothing that rollcall acts on: leave it out")
		}
		return nil
	}
	if string(raw) == "null" {
		return nil
	}
	switch kind := v.Kind(); {
	case v.Type() == reflect.TypeFor[instant]():
	case kind == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return fill(v.Elem(), raw, path)
	case kind == reflect.Struct:
		return fillStruct(v, raw, path)
	case kind == reflect.Map:
		return fillMap(v, raw, path)
	case kind == reflect.Slice:
		return fillSlice(v, raw, path)
	}
	if v.Type() == reflect.TypeFor[string]() && raw[0] == '"' {
		v.SetString(unquote(raw))
	} else if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		return mismatch(v, raw, path)
	}
	if v.Kind() == reflect.String && loneSurrogate(v.String(), raw) {
		return badField(path, "holds half of a surrogate pair, which is no character")
	}
	return nil
}

func fillStruct(v reflect.Value, raw []byte, path string) error {
	if raw[0] != '{' {
		return mismatch(v, raw, path)
	}
	seen := make(map[string]bool)
	for key, value := range members(raw) {
		field, name := fieldOf(v, key)
		if name == "" {
			return badField(join(path, key), "is no field that rollcall knows")
		}
		if seen[name] {
			return badField(join(path, name), "is there twice")
		}
		seen[name] = true
		if err := fill(field, value, join(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// fieldOf returns the field of a name, and the name as it is written here; an
// empty one where there is no such field. It looks into embedded structs.
func fieldOf(v reflect.Value, key string) (reflect.Value, string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			if field, name := fieldOf(v.Field(i), key); name != "" {
				return field, name
			}
		} else if strings.EqualFold(f.Name, strings.ReplaceAll(key, "_", "")) {
			return v.Field(i), f.Name
		}
	}
	return reflect.Value{}, ""
}

func fillMap(v reflect.Value, raw []byte, path string) error {
	if raw[0] != '{' {
		return mismatch(v, raw, path)
	}
	v.Set(reflect.MakeMap(v.Type()))
	for key, value := range members(raw) {
		at := reflect.ValueOf(key)
		if v.MapIndex(at).IsValid() {
			return badField(join(path, key), "is there twice")
		}
		element := reflect.New(v.Type().Elem()).Elem()
		if err := fill(element, value, join(path, key)); err != nil {
			return err
		}
		v.SetMapIndex(at, element)
	}
	return nil
}

func fillSlice(v reflect.Value, raw []byte, path string) error {
	if raw[0] != '[' {
		return mismatch(v, raw, path)
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for value := range elements(raw) {
		at := fmt.Sprintf("%s[%d]", path, v.Len())
		element := reflect.New(v.Type().Elem()).Elem()
		if string(value) == "null" {
			return mismatch(element, value, at)
		}
		if err := fill(element, value, at); err != nil {
			return err
		}
		v.Set(reflect.Append(v, element))
	}
	return nil
}

// mismatch says which kind of value a field takes, and what came instead.
func mismatch(v reflect.Value, raw []byte, path string) error {
	want := "an object"
	switch v.Interface().(type) {
	case duration:
		want = `a duration such as "10s", or a number of nanoseconds`
	case instant:
		want = `a time such as "2006-01-02T15:04:05Z"`
	case registry.Status:
		want = `"passing", "warning" or "critical"`
	case string:
		want = "a string"
	case bool:
		want = "true or false"
	case int:
		want = "a whole number"
	default:
		if v.Kind() == reflect.Slice {
			want = "a list"
		}
	}
	got := fmt.Sprintf("%.60s", string(raw))
	switch raw[0] {
	case '{':
		got = "an object"
	case '[':
		got = "a list"
	}
	if path == "" {
		return badRequest("the body must be %s, and not %s", want, got)
	}
	return badField(path, "must be "+want+", and not "+got)
}

// badField returns an error that begins with the field's name, on one line
// whatever that is.
func badField(path, message string) error {
	shown := strings.Trim(fmt.Sprintf("%.80q", path), `"`)
	return &registry.Error{Code: registry.Invalid, Field: path, Message: shown + " " + message}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// duration is a time.Duration as Consul takes it: a text such as 10s, or a
// number of nanoseconds.
type duration time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (d *duration) UnmarshalJSON(raw []byte) error {
	if raw[0] != '"' {
		return json.Unmarshal(raw, (*int64)(d))
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil || text == "" {
		return err
	}
	parsed, err := time.ParseDuration(text)
	*d = duration(parsed)
	return err
}

// MarshalJSON implements json.Marshaler.
func (d duration) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%q", time.Duration(d)), nil
}

// instant is a time.Time as JSON has it, which decode takes for one value.
type instant time.Time

// UnmarshalJSON implements json.Unmarshaler.
func (i *instant) UnmarshalJSON(raw []byte) error { return (*time.Time)(i).UnmarshalJSON(raw) }
