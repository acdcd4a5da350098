package registry

import (
	"reflect"
	"testing"
	"unsafe"
)

// alike is an instance as a client would send it: with memory of its own.
func alike(node, id string) *Instance {
	own := func(s string) string { return string([]byte(s)) }
	return &Instance{
		Node: own(node), ID: own(id), Service: own("web"), Tags: []string{own("v1")}, Meta: map[string]string{"rack": own("a")},
		Checks: []*Check{{Node: own(node), ID: own("service:" + id), Name: own("a check"), InstanceID: own(id), Service: own("web")}},
	}
}

func TestInstancesShareTheMemoryOfWhatTheyHaveInCommon(t *testing.T) {
	txn := NewView("dc1").Txn(1)
	txn.PutNode(&Node{Name: "n1", Address: "10.0.0.1"})
	txn.PutInstance(alike("n1", "a"))
	txn.PutInstance(alike("n1", "b"))
	v := txn.Commit().View
	a, b := v.Instance("n1", "a"), v.Instance("n1", "b")
	for what, pair := range map[string][2]string{
		"service": {a.Service, b.Service}, "node": {a.Node, v.Node("n1").Name}, "tag": {a.Tags[0], b.Tags[0]},
		"the check's name": {a.Checks[0].Name, b.Checks[0].Name}, "the check's instance": {a.ID, a.Checks[0].InstanceID},
	} {
		if pair[0] != pair[1] || unsafe.StringData(pair[0]) != unsafe.StringData(pair[1]) {
			t.Errorf("%s: %q and %q are kept twice", what, pair[0], pair[1])
		}
	}
	if reflect.ValueOf(a.Meta).Pointer() != reflect.ValueOf(b.Meta).Pointer() {
		t.Error("equal metadata is kept twice")
	}
	if a.ID != "a" || b.ID != "b" || b.Checks[0].ID != "service:b" || b.Checks[0].InstanceID != "b" {
		t.Errorf("they have become %+v and %+v", a, b)
	}
}

func TestNodeInAnotherCaseKeepsItsCase(t *testing.T) {
	txn := NewView("dc1").Txn(1)
	txn.PutNode(&Node{Name: "Host-1", Address: "10.0.0.1"})
	txn.PutInstance(alike("HOST-1", "Web-A"))
	i := txn.Commit().View.Instance("host-1", "Web-A")
	if i == nil || i.Node != "HOST-1" || i.ID != "Web-A" || i.Checks[0].Node != "HOST-1" {
		t.Errorf("the instance is %+v", i)
	}
}

// A check that is in a published View is being read; a change to its instance
// takes it over as it is.
func TestCheckThatIsKeptIsNotWrittenTo(t *testing.T) {
	txn := NewView("dc1").Txn(1)
	txn.PutInstance(alike("n1", "a"))
	before := txn.Commit().View
	kept := before.Instance("n1", "a").Checks[0]
	data := unsafe.StringData(kept.Node)
	next := *before.Instance("n1", "a")
	next.Node, next.Port = string([]byte("n1")), 81
	txn = before.Txn(2)
	txn.PutInstance(&next)
	if after := txn.Commit().View.Check("n1", "service:a"); after != kept || unsafe.StringData(kept.Node) != data {
		t.Error("it was written to")
	}
}

func TestSettledViewHasChangedAtItsIndex(t *testing.T) {
	txn := NewView("dc1").Txn(1)
	txn.PutNode(&Node{Name: "n1", Address: "10.0.0.1"})
	for _, id := range []string{"a", "b", "c"} {
		txn.PutInstance(alike("n1", id))
	}
	v := txn.Commit().View.Settle(7)
	s := v.Service("web")
	if v.Index() != 7 || v.ContentIndex() != 7 || v.ServicesIndex() != 7 || v.NodesIndex() != 7 || s.Index != 7 {
		t.Errorf("it has the indexes %d, %d, %d, %d and %d", v.Index(), v.ContentIndex(), v.ServicesIndex(), v.NodesIndex(), s.Index)
	}
	if v.InstancesLen() != 3 || len(s.Instances) != 3 || v.Instance("n1", "b") == nil || v.Check("n1", "service:c") == nil || !v.HasTag("v1") {
		t.Error("its content is another one")
	}
}

func TestDefinitionsThatDifferInAnyFieldAreNotEqual(t *testing.T) {
	for n := range reflect.TypeFor[Definition]().NumField() {
		var a, b Definition
		field := reflect.ValueOf(&b).Elem().Field(n)
		switch field.Kind() {
		case reflect.String:
			field.SetString("x")
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Map:
			field.Set(reflect.ValueOf(map[string][]string{"Accept": {"x"}}))
		default:
			field.SetInt(1)
		}
		if name := reflect.TypeFor[Definition]().Field(n).Name; a.Equal(&b) || !b.Equal(b.Clone()) || !a.Equal(nil) || b.Equal(nil) {
			t.Errorf("%s is not compared", name)
		}
	}
}
