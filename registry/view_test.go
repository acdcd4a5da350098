package registry

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// commit applies changes to a View and returns the Update, published or not.
func commit(v *View, index uint64, change func(*Txn)) *Update {
	t := v.Txn(index)
	change(t)
	return t.Commit()
}

func web(node, id string) *Instance {
	return &Instance{Node: node, ID: id, Service: "web", Port: 80, Weights: Weights{1, 1}}
}

func ids(instances []*Instance) (ids []string) {
	for _, i := range instances {
		ids = append(ids, i.Node+"/"+i.ID)
	}
	return ids
}

func TestViewStaysAsItWas(t *testing.T) {
	before := commit(NewView("dc1"), 1, func(tx *Txn) { tx.PutInstance(web("n1", "a")) }).View
	after := commit(before, 2, func(tx *Txn) {
		tx.PutInstance(web("n1", "b"))
		tx.DeleteInstance("n1", "a")
	}).View
	if got := ids(before.Service("web").Instances); !slices.Equal(got, []string{"n1/a"}) {
		t.Errorf("the old View shows %v", got)
	}
	if got := ids(after.Service("web").Instances); !slices.Equal(got, []string{"n1/b"}) {
		t.Errorf("the new View shows %v", got)
	}
	if before.Index() != 1 || after.Index() != 2 {
		t.Errorf("indexes are %d and %d", before.Index(), after.Index())
	}
}

func TestInstancesAreInOrderOfNodeAndID(t *testing.T) {
	v := commit(NewView("dc1"), 1, func(tx *Txn) {
		for _, i := range []*Instance{web("n2", "a"), web("N1", "b"), web("n1", "a"), web("n1", "c")} {
			tx.PutInstance(i)
		}
	}).View
	want := []string{"n1/a", "N1/b", "n1/c", "n2/a"}
	if diff := cmp.Diff(want, ids(v.Service("WEB").Instances)); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[:3], ids(slices.Collect(v.InstancesOn("n1")))); diff != "" {
		t.Errorf("instances on n1 (-want +got):\n%s", diff)
	}
}

func TestInstanceThatMovesLeavesItsOldService(t *testing.T) {
	v := commit(NewView("dc1"), 1, func(tx *Txn) { tx.PutInstance(web("n1", "a")) }).View
	old := v.Service("web").Stamp
	feed := NewFeed(v)
	moved := web("n1", "a")
	moved.Service = "api"
	feed.Publish(commit(v, 2, func(tx *Txn) { tx.PutInstance(moved) }))
	if feed.View().Service("web") != nil {
		t.Error("web is still there")
	}
	if got := ids(feed.View().Service("api").Instances); !slices.Equal(got, []string{"n1/a"}) {
		t.Errorf("api has %v", got)
	}
	if old.Current() {
		t.Error("the Stamp of web is still current")
	}
}

func TestNodeCountsForWhatRunsOnIt(t *testing.T) {
	v := commit(NewView("dc1"), 1, func(tx *Txn) {
		tx.PutNode(&Node{Name: "n1", Address: "10.0.0.1"})
		tx.PutInstance(web("n1", "a"))
		own := web("n1", "b")
		own.Address = "10.0.0.9"
		tx.PutInstance(own)
	}).View
	endpoints := v.Endpoints(v.Service("web"), false)
	if len(endpoints) != 2 || endpoints[0].Address != "10.0.0.1" || endpoints[1].Address != "10.0.0.9" {
		t.Fatalf("endpoints are %+v", endpoints)
	}
	sick := &Node{Name: "n1", Address: "10.0.0.1", Checks: []*Check{{Node: "n1", ID: "disk", Status: Critical}}}
	u := commit(v, 2, func(tx *Txn) { tx.PutNode(sick) })
	if got := u.View.Endpoints(u.View.Service("web"), false); len(got) != 0 {
		t.Errorf("on a critical node, endpoints are %+v", got)
	}
	if u.View.Service("web").Stamp == v.Service("web").Stamp {
		t.Error("the service was not stamped anew")
	}
	if u.View.Check("N1", "disk") == nil {
		t.Error("the node's check is not found")
	}
}

func TestStampsFollowWhatTheyAreAbout(t *testing.T) {
	db := web("n1", "db")
	db.Service = "db"
	feed := NewFeed(commit(NewView("dc1"), 1, func(tx *Txn) {
		tx.PutInstance(web("n1", "a"))
		tx.PutInstance(db)
	}).View)
	v := feed.View()
	webStamp, dbStamp, all, services, nodes := v.Service("web").Stamp, v.Service("db").Stamp, v.Stamp(), v.ServicesStamp(), v.NodesStamp()
	ported := web("n1", "a")
	ported.Port = 81
	feed.Publish(commit(v, 2, func(tx *Txn) { tx.PutInstance(ported) }))
	for _, row := range []struct {
		name  string
		stamp *Stamp
		want  bool
	}{
		{"the service that changed", webStamp, false},
		{"another service", dbStamp, true},
		{"the whole View", all, false},
		{"the list of services", services, true},
		{"the list of nodes", nodes, true},
		{"a nil Stamp", nil, true},
	} {
		if row.stamp.Current() != row.want {
			t.Errorf("the Stamp of %s: current = %v, want %v", row.name, !row.want, row.want)
		}
	}
	select {
	case <-webStamp.Done():
	default:
		t.Error("Done of a superseded Stamp is not closed")
	}
	feed.Publish(commit(feed.View(), 3, func(tx *Txn) { tx.DeleteInstance("n1", "db") }))
	if services.Current() || dbStamp.Current() {
		t.Error("a service that is gone left Stamps current")
	}
}

func TestContentIndexMovesOnlyWithWhatIsDiscovered(t *testing.T) {
	check := func(status Status, output string) *Instance {
		i := web("n1", "a")
		i.Checks = []*Check{{Node: "n1", ID: "c", InstanceID: "a", Status: status, Output: output}}
		return i
	}
	v := commit(NewView("dc1"), 1, func(tx *Txn) { tx.PutInstance(check(Passing, "fine")) }).View
	v = commit(v, 2, func(tx *Txn) { tx.PutInstance(check(Passing, "still fine")) }).View
	if v.Index() != 2 || v.ContentIndex() != 1 {
		t.Errorf("after an output: index %d, content index %d", v.Index(), v.ContentIndex())
	}
	v = commit(v, 3, func(tx *Txn) { tx.PutInstance(check(Critical, "broken")) }).View
	if v.ContentIndex() != 3 {
		t.Errorf("after a status: content index %d", v.ContentIndex())
	}
}

func TestNamesAndTagsAreFoundWhileSomebodyBearsThem(t *testing.T) {
	tagged := func(id, tag string) *Instance {
		i := web("host.example", id)
		i.Tags, i.Address, i.Service = []string{tag}, "10.0.0.7", "web.eu"
		return i
	}
	v := commit(NewView("dc1"), 1, func(tx *Txn) {
		tx.PutNode(&Node{Name: "host.example", Address: "10.0.0.1"})
		tx.PutInstance(tagged("a", "V1"))
		tx.PutInstance(tagged("b", "v1"))
	}).View
	for range 2 {
		if !v.HasTag("v1") || !v.HasServiceBelow("EU") || !v.HasNodeBelow("example") {
			t.Fatal("a tag, a service's or a node's suffix is not found")
		}
		v = commit(v, v.Index()+1, func(tx *Txn) { tx.DeleteInstance("host.example", "a") }).View
	}
	nodes, services := v.NamesAt(netip.MustParseAddr("10.0.0.7"))
	if len(nodes) != 0 || !slices.Equal(services, []string{"web.eu"}) {
		t.Errorf("at 10.0.0.7: nodes %v, services %v", nodes, services)
	}
	if nodes, _ := v.NamesAt(netip.MustParseAddr("10.0.0.1")); !slices.Equal(nodes, []string{"host.example"}) {
		t.Errorf("at 10.0.0.1: nodes %v", nodes)
	}
	v = commit(v, 9, func(tx *Txn) { tx.DeleteNode("HOST.example") }).View
	if v.HasTag("v1") || v.HasServiceBelow("eu") || v.HasNodeBelow("example") || v.InstancesLen() != 0 || v.ServicesLen() != 0 {
		t.Error("something is left of a node that is gone")
	}
}

func TestLookupInLowerCaseAllocatesNothing(t *testing.T) {
	v := commit(NewView("dc1"), 1, func(tx *Txn) { tx.PutInstance(web("n1", "a")) }).View
	if n := testing.AllocsPerRun(100, func() { v.Service("web"); v.Node("n1") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
