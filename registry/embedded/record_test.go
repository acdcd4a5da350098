package embedded

import (
	"encoding/binary"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rollcall-dns/rollcall/registry"
)

// Every field of a noun is filled, so that one which the record forgets is missed.
func TestRecordsKeepEveryField(t *testing.T) {
	var i registry.Instance
	var n registry.Node
	fill(t, reflect.ValueOf(&i).Elem())
	fill(t, reflect.ValueOf(&n).Elem())
	for _, c := range i.Checks { // what a check is about is not in its record
		c.Node, c.InstanceID, c.Service = i.Node, i.ID, i.Service
	}
	for _, c := range n.Checks {
		c.Node, c.InstanceID, c.Service = n.Name, "", ""
	}
	key := []byte("key")
	record, err := encode(key, recordOfInstance(&i))
	if err != nil {
		t.Fatal(err)
	}
	var ir instanceRecord
	if err := decode(key, record, &ir); err != nil {
		t.Fatal(err)
	}
	lease := cmp.Options{cmpopts.IgnoreFields(registry.Check{}, "Lease"), cmpopts.IgnoreUnexported(registry.Instance{})}
	if diff := cmp.Diff(&i, ir.instance(time.Now()), lease); diff != "" {
		t.Error("instance (-want +got)\n" + diff)
	}
	record, err = encode(key, recordOfNode(&n))
	if err != nil {
		t.Fatal(err)
	}
	var nr nodeRecord
	if err := decode(key, record, &nr); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&n, nr.node(time.Now()), lease); diff != "" {
		t.Error("node (-want +got)\n" + diff)
	}
}

// fill sets a value, and all within it, to something that is not zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1700000000, 123).UTC()))
		return
	case registry.Status:
		v.Set(reflect.ValueOf(registry.Warning))
		return
	case *registry.Lease:
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for n := range v.NumField() {
			if v.Type().Field(n).IsExported() {
				fill(t, v.Field(n))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for n := range v.Len() {
			fill(t, v.Index(n))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key)
		fill(t, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	default:
		t.Fatalf("fill does not know %s", v.Type())
	}
}

func TestRecordOfAPlainInstanceIsSmall(t *testing.T) {
	record, err := encode([]byte("key"), recordOfInstance(&registry.Instance{Node: "n1", ID: "web-1", Service: "web", Port: 80}))
	want := `{"Node":"n1","ID":"web-1","Service":"web","Port":80,"Weights":{"Passing":0,"Warning":0},"CreateIndex":0,"ModifyIndex":0}`
	if err != nil || string(record[4:]) != want {
		t.Errorf("the text is %s, %v\nwant %s", record[4:], err, want)
	}
}

// The first files were written by encoding/json, which writes some characters in
// another way.
func TestRecordsThatEncodingJSONWroteAreRead(t *testing.T) {
	key := []byte("key")
	want := instanceRecord{
		Node: "n1", ID: "web-1", Service: "web", Tags: []string{"<a>&\u2028", "\x00\"\\ü"}, Meta: map[string]string{"b": "\t", "a": "🦆"},
		Weights: registry.Weights{Passing: 1},
		Checks: []checkRecord{{
			ID: "c", Status: registry.Critical, Since: time.Unix(1700000000, 123).UTC(), Output: "no: \ufffd",
			Definition: definitionRecord{TTL: 90*time.Minute + time.Nanosecond, Header: map[string][]string{"Host": {"a"}}},
		}},
		ModifyIndex: 1<<64 - 1,
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got instanceRecord
	if err := decode(key, append(binary.BigEndian.AppendUint32(nil, checksum(key, text)), text...), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got)\n" + diff)
	}
}

func TestTextThatIsNoUTF8IsKeptAsFarAsItIs(t *testing.T) {
	record, err := encode([]byte("key"), recordOfInstance(&registry.Instance{ID: "web\xff"}))
	var got instanceRecord
	if err == nil {
		err = decode([]byte("key"), record, &got)
	}
	if err != nil || got.ID != "web\ufffd" {
		t.Errorf("it is %q, %v", got.ID, err)
	}
}

func FuzzRecord(f *testing.F) {
	key := []byte("n1\x00web")
	i := registry.Instance{Node: "n1", ID: "web", Service: "web", Checks: []*registry.Check{{ID: "c", Definition: new(registry.Definition)}}}
	record, err := encode(key, recordOfInstance(&i))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key, record)
	f.Add(key, record[4:])
	f.Add([]byte{}, []byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, key, record []byte) {
		var r instanceRecord
		if decode(key, record, &r) == nil {
			r.instance(time.Now())
		}
		// The same text under a checksum that fits it: damage is not the only way
		// to a strange record.
		if sealed, err := encode(key, json.RawMessage(record)); err == nil && decode(key, sealed, &r) == nil {
			r.instance(time.Now())
		}
	})
}
