package consul

import (
	"encoding/json"
	"testing"

	"github.com/rollcall-dns/rollcall/registry"
)

// FuzzEntries reads any answer to /v1/health/service. What is taken of it can be put
// into a View.
func FuzzEntries(f *testing.F) {
	for _, text := range []string{
		`[{"Node":{"Node":"n1","Address":"10.0.0.1"},"Service":{"ID":"web","Service":"web","Port":80,"Weights":{"Passing":1,"Warning":1}},"Checks":[{"CheckID":"serfHealth","Status":"passing"}]}]`,
		`[{"Node":{"Node":"n1"},"Service":{"ID":"web","Service":"web","Tags":["a","b"],"Meta":{"k":"v"},"TaggedAddresses":{"lan_ipv4":{"Address":"10.0.0.1","Port":80}}}}, 7, null]`,
		`[]`, `null`, `{}`, `[{"Node":{"Node":"..","Address":"0.0.0.0"}}]`, `[{"Service":{"Port":-1}}]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var l list[entry]
		if json.Unmarshal(data, &l) != nil {
			return
		}
		txn := registry.NewView("dc1").Txn(1)
		for _, e := range l.items {
			n, i, err := e.registered()
			if err != nil {
				continue
			}
			txn.PutNode(n)
			txn.PutInstance(i)
		}
		for s := range txn.Commit().View.Services() {
			if s.Name == "" || len(s.Instances) == 0 {
				t.Errorf("a service %q of %d instances", s.Name, len(s.Instances))
			}
		}
	})
}

// FuzzSnapshot reads any file as the view that was kept.
func FuzzSnapshot(f *testing.F) {
	f.Add([]byte("{}\n"))
	f.Add([]byte("{\"Index\":1}\n{\"Node\":{\"Name\":\"n1\"}}\n" + checksum + "00000000\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if k, err := parseCache(data, 0); (err == nil) != (k != nil) {
			t.Errorf("%v, %v", k, err)
		}
	})
}
