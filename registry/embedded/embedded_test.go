package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/rollcall-dns/rollcall/registry"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("ROLLCALL_TEST_REGISTER_IN"); dir != "" {
		registerForEver(dir)
	}
	goleak.VerifyTestMain(m)
}

// open opens a registry that the test closes, if it did not do so itself.
func open(t testing.TB, dir string) *Registry {
	t.Helper()
	r, err := Open(context.Background(), Config{Dir: dir, Node: registry.Node{Name: "n1", Address: "10.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func closed(t testing.TB, r *Registry) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// web is a registration of an instance with a heartbeat.
func web(id string) registry.Registration {
	return registry.Registration{
		Instance: &registry.Instance{Service: "web", ID: id, Port: 80},
		Checks:   []registry.Check{{Definition: &registry.Definition{TTL: time.Minute}, Status: registry.Passing}},
	}
}

func enrol(t testing.TB, r *Registry, registration registry.Registration) {
	t.Helper()
	if err := r.Register(t.Context(), registration); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasAnsweredSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	enrol(t, r, web("a"))
	enrol(t, r, web("b"))
	if err := r.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "service:a", Status: registry.Critical, Output: "broken"}); err != nil {
		t.Fatal(err)
	}
	if err := r.Deregister(t.Context(), registry.Deregistration{InstanceID: "b"}); err != nil {
		t.Fatal(err)
	}
	index, since := r.View().Index(), r.View().Check("n1", "service:a").Since
	closed(t, r)

	r = open(t, dir)
	c := r.View().Check("n1", "service:a")
	if c == nil || c.Status != registry.Critical || c.Output != "broken" || !c.Since.Equal(since) {
		t.Errorf("the check came back as %+v", c)
	}
	if r.View().Instance("n1", "b") != nil {
		t.Error("an instance that was deregistered is back")
	}
	if got := r.View().Index(); got < index {
		t.Errorf("the index went back from %d to %d", index, got)
	}
}

func TestWhatWasRegisteredOfTheOwnNodeSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	own := registry.Node{
		Name: r.Node(), ID: "5ca1ab1e", Address: "127.0.0.1",
		Meta: map[string]string{"rack": "3"}, TaggedAddresses: map[string]string{"lan_ipv6": "::1"},
	}
	enrol(t, r, registry.Registration{Node: own})
	closed(t, r)
	n := open(t, dir).View().Node(own.Name)
	if n.ID != own.ID || !maps.Equal(n.Meta, own.Meta) || !maps.Equal(n.TaggedAddresses, own.TaggedAddresses) {
		t.Errorf("after a restart the node is %+v", n)
	}
}

func TestLeasesCountFromTheStart(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	enrol(t, r, web("a"))
	closed(t, r)
	before := time.Now()
	r = open(t, dir)
	if got := r.View().Check("n1", "service:a").Lease.Renewed(); got.Before(before) {
		t.Errorf("the lease counts from %v, before the start at %v", got, before)
	}
}

func TestRegistrationThatSaysNothingNewMovesNothing(t *testing.T) {
	r := open(t, "")
	enrol(t, r, web("a"))
	before := r.View()
	enrol(t, r, web("a"))
	if r.View() != before {
		t.Error("there is a new View")
	}
}

func TestHeartbeatRenewsAndWritesNothing(t *testing.T) {
	r := open(t, t.TempDir())
	enrol(t, r, web("a"))
	c, view, written := r.View().Check("n1", "service:a"), r.View(), r.store.summary
	renewed := c.Lease.Renewed()
	if err := r.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "service:a", Status: registry.Passing}); err != nil {
		t.Fatal(err)
	}
	if !c.Lease.Renewed().After(renewed) {
		t.Error("the lease was not renewed")
	}
	if r.View() != view || r.store.summary != written {
		t.Error("something was written")
	}
}

func TestReregistrationKeepsTheState(t *testing.T) {
	r := open(t, "")
	again := web("a")
	again.Checks[0].Status = 0
	enrol(t, r, web("a"))
	lease := r.View().Check("n1", "service:a").Lease
	again.Instance.Port = 81
	enrol(t, r, again)
	c := r.View().Check("n1", "service:a")
	if c.Status != registry.Passing || c.Lease != lease {
		t.Errorf("the check is %+v", c)
	}
	again.Checks[0].Definition.TTL = time.Hour
	enrol(t, r, again)
	if r.View().Check("n1", "service:a").Lease == lease {
		t.Error("a check of another definition kept its lease")
	}
}

func TestStatusThatIsRegisteredReplacesTheOld(t *testing.T) {
	r := open(t, "")
	enrol(t, r, web("a"))
	since := r.View().Check("n1", "service:a").Since
	again := web("a")
	again.Checks[0].Status, again.Checks[0].Output = registry.Critical, "down"
	enrol(t, r, again)
	if c := r.View().Check("n1", "service:a"); c.Status != registry.Critical || c.Output != "down" || !c.Since.After(since) {
		t.Errorf("the check is %+v", c)
	}
}

func TestInstanceMovesToAnotherService(t *testing.T) {
	r := open(t, "")
	enrol(t, r, web("a"))
	moved := web("a")
	moved.Instance.Service = "api"
	enrol(t, r, moved)
	v := r.View()
	if v.Service("web") != nil || v.Service("api") == nil || v.Check("n1", "service:a").Service != "api" {
		t.Errorf("web is %v, api is %v, the check is of %s", v.Service("web"), v.Service("api"), v.Check("n1", "service:a").Service)
	}
}

func TestIndexesTellWhatChanged(t *testing.T) {
	r := open(t, "")
	two := web("a")
	two.Checks = append(two.Checks, two.Checks[0])
	enrol(t, r, two)
	created := r.View().Index()
	if err := r.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "service:a:2", Status: registry.Warning}); err != nil {
		t.Fatal(err)
	}
	changed := r.View().Index()
	type indexes struct{ Create, Modify uint64 }
	want := map[string]indexes{"instance": {created, changed}, "service:a:1": {created, created}, "service:a:2": {created, changed}}
	i := r.View().Instance("n1", "a")
	got := map[string]indexes{"instance": {i.CreateIndex, i.ModifyIndex}}
	for _, c := range i.Checks {
		got[c.ID] = indexes{c.CreateIndex, c.ModifyIndex}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("indexes (-want +got)\n" + diff)
	}
}

func TestNodeGoesWithAllThatIsOnIt(t *testing.T) {
	r := open(t, "")
	for _, id := range []string{"a", "b"} {
		w := web(id)
		w.Node = registry.Node{Name: "n2", Address: "10.0.0.2"}
		enrol(t, r, w)
	}
	if err := r.Deregister(t.Context(), registry.Deregistration{Node: "N2"}); err != nil {
		t.Fatal(err)
	}
	if v := r.View(); v.Node("n2") != nil || v.InstancesLen() != 0 || v.Check("n2", "service:a") != nil {
		t.Error("something is left")
	}
}

func TestHeartbeatLapsesWhenNoneCame(t *testing.T) {
	r := open(t, "")
	enrol(t, r, web("a"))
	c := r.View().Check("n1", "service:a")
	lapsed := registry.StatusUpdate{CheckID: c.ID, Status: registry.Critical, Output: "TTL expired", Lease: c.Lease, ExpiredBy: c.Lease.Renewed()}
	if err := r.SetStatus(t.Context(), lapsed); err != nil {
		t.Fatal(err)
	}
	c = r.View().Check("n1", "service:a")
	if c.Status != registry.Critical || c.Lease != lapsed.Lease || c.Lease.Renewed() != lapsed.ExpiredBy {
		t.Errorf("the check is %+v, renewed %v", c, c.Lease.Renewed())
	}
	critical := registry.Deregistration{InstanceID: "a", CheckID: c.ID, CriticalSince: c.Since}
	if err := r.Deregister(t.Context(), critical); err != nil {
		t.Fatal(err)
	}
	if r.View().Instance("n1", "a") != nil {
		t.Error("the instance is still there")
	}
}

// The caller may change what it registered, and register it again.
func TestRegistrationSharesNoMemoryWithTheCaller(t *testing.T) {
	r := open(t, "")
	w := web("a")
	w.Instance.Tags, w.Instance.Meta = []string{"blue"}, map[string]string{"version": "1"}
	w.Checks[0].Definition = &registry.Definition{HTTP: "http://10.0.0.1/", Interval: time.Minute, Header: map[string][]string{"K": {"old"}}}
	enrol(t, r, w)
	before := r.View().Instance("n1", "a")
	w.Instance.Tags[0], w.Instance.Meta["version"], w.Checks[0].Definition.Header["K"][0] = "green", "2", "new"
	enrol(t, r, w)
	after := r.View().Instance("n1", "a")
	if before.Tags[0] != "blue" || before.Meta["version"] != "1" || before.Checks[0].Definition.Header["K"][0] != "old" {
		t.Errorf("a View has changed: %+v", before)
	}
	if after.Tags[0] != "green" || after.Meta["version"] != "2" || after.Checks[0].Definition.Header["K"][0] != "new" {
		t.Errorf("the change was not seen: %+v", after)
	}
}

func TestChecksThatAreNotNamedStayUnlessReplaced(t *testing.T) {
	r := open(t, "")
	enrol(t, r, web("a"))
	enrol(t, r, registry.Registration{Checks: []registry.Check{{ID: "more", InstanceID: "a", Definition: &registry.Definition{TTL: time.Minute}}}})
	enrol(t, r, web("a"))
	if got := len(r.View().Instance("n1", "a").Checks); got != 2 {
		t.Errorf("%d checks, want both", got)
	}
	only := web("a")
	only.ReplaceChecks = true
	enrol(t, r, only)
	if got := len(r.View().Instance("n1", "a").Checks); got != 1 {
		t.Errorf("%d checks, want only the named one", got)
	}
}

func TestCheckIDsAreConsuls(t *testing.T) {
	r := open(t, "")
	two := web("a")
	two.Checks = append(two.Checks, two.Checks[0])
	enrol(t, r, two)
	for _, id := range []string{"service:a:1", "service:a:2"} {
		if r.View().Check("n1", id) == nil {
			t.Errorf("there is no check %s", id)
		}
	}
}

func TestErrorsHaveTheirCodes(t *testing.T) {
	r := open(t, "")
	enrol(t, r, web("a"))
	c := r.View().Check("n1", "service:a")
	for _, row := range []struct {
		name string
		want registry.Code
		do   func() error
	}{
		{"a check that is not there", registry.NotFound, func() error {
			return r.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "x", Status: registry.Passing})
		}},
		{"an instance that is not there", registry.NotFound, func() error {
			return r.Deregister(t.Context(), registry.Deregistration{InstanceID: "x"})
		}},
		{"a check of an instance that is not there", registry.NotFound, func() error {
			return r.Register(t.Context(), registry.Registration{Checks: []registry.Check{{ID: "c", InstanceID: "x"}}})
		}},
		{"a check of another instance's ID", registry.Conflict, func() error {
			other := web("b")
			other.Checks[0].ID = c.ID
			return r.Register(t.Context(), other)
		}},
		{"two checks of one ID for two instances", registry.Conflict, func() error {
			return r.Register(t.Context(), registry.Registration{
				Instance: &registry.Instance{Service: "web", ID: "b"},
				Checks:   []registry.Check{{ID: "c"}, {ID: "c", InstanceID: "a"}},
			})
		}},
		{"the own node", registry.Invalid, func() error { return r.Deregister(t.Context(), registry.Deregistration{Node: "N1"}) }},
		{"a new node without an address", registry.Invalid, func() error {
			return r.Register(t.Context(), registry.Registration{Node: registry.Node{Name: "n2"}})
		}},
		{"the result of a check that was replaced", registry.Conflict, func() error {
			return r.SetStatus(t.Context(), registry.StatusUpdate{CheckID: c.ID, Status: registry.Critical, Lease: registry.NewLease(time.Now())})
		}},
		{"an expiry that a heartbeat forestalled", registry.Conflict, func() error {
			return r.SetStatus(t.Context(), registry.StatusUpdate{CheckID: c.ID, Status: registry.Critical, Lease: c.Lease, ExpiredBy: c.Lease.Renewed().Add(-1)})
		}},
		{"a reaping that came too late", registry.Conflict, func() error {
			return r.Deregister(t.Context(), registry.Deregistration{InstanceID: "a", CheckID: c.ID, CriticalSince: time.Unix(1, 0)})
		}},
	} {
		before := r.View()
		if err := row.do(); err == nil || registry.CodeOf(err) != row.want {
			t.Errorf("%s: code %d, want %d: %v", row.name, registry.CodeOf(err), row.want, err)
		}
		if r.View() != before {
			t.Errorf("%s: something changed", row.name)
		}
	}
}

func TestManyClientsShareASync(t *testing.T) {
	r := open(t, t.TempDir())
	commits := 0
	commit := r.store.commit
	r.store.commit = func(tx *bbolt.Tx) error { commits++; return commit(tx) }
	var clients sync.WaitGroup
	for n := range 64 {
		clients.Go(func() {
			for k := range 8 {
				enrol(t, r, web(fmt.Sprintf("w%d-%d", n, k)))
			}
		})
	}
	clients.Wait()
	if commits >= 64*8/2 {
		t.Errorf("%d registrations took %d syncs", 64*8, commits)
	}
}

func TestSameIDTwiceAtOnceLeavesOneWhole(t *testing.T) {
	r := open(t, "")
	for range 200 {
		var both sync.WaitGroup
		for _, side := range []string{"left", "right"} {
			both.Go(func() {
				w := web("a")
				w.ReplaceChecks = true
				w.Instance.Meta, w.Checks[0].Notes = map[string]string{"side": side}, side
				enrol(t, r, w)
			})
		}
		both.Wait()
		i := r.View().Instance("n1", "a")
		if len(i.Checks) != 1 || i.Checks[0].Notes != i.Meta["side"] {
			t.Fatalf("half of one: meta %v, checks %+v", i.Meta, i.Checks[0])
		}
	}
}

func TestDeregistrationAndLateHeartbeatLeaveNothing(t *testing.T) {
	r := open(t, "")
	for range 200 {
		enrol(t, r, web("a"))
		var both sync.WaitGroup
		both.Go(func() {
			if err := r.Deregister(t.Context(), registry.Deregistration{InstanceID: "a"}); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			err := r.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "service:a", Status: registry.Warning})
			if err != nil && registry.CodeOf(err) != registry.NotFound {
				t.Error(err)
			}
		})
		both.Wait()
		if v := r.View(); v.Instance("n1", "a") != nil || v.Check("n1", "service:a") != nil || v.Service("web") != nil {
			t.Fatal("something is left")
		}
	}
}

func TestLockedFileIsSaidSo(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	start := time.Now()
	_, err := Open(t.Context(), Config{Dir: dir})
	took := time.Since(start)
	t.Logf("the second waits %v, and says: %v", took.Round(10*time.Millisecond), err)
	if err == nil || !strings.Contains(err.Error(), "locked by another process") || took < lockTimeout/2 {
		t.Errorf("after %v the error is %v", took, err)
	}
}

// TestWhatIsKeptIsForTheOwnerAlone looks at the modes of all that is written.
func TestWhatIsKeptIsForTheOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	closed(t, open(t, dir))
	closed(t, open(t, dir))
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		t.Logf("%s has the mode %04o", entry.Name(), info.Mode().Perm())
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDirectoryThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: filepath.Join(file, "dir")}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("the error is %v", err)
	}
}

func BenchmarkLoad(b *testing.B) {
	dir := fleet(b)
	for b.Loop() {
		closed(b, open(b, dir))
	}
}

// fleet returns a directory in which 100,000 instances are registered.
func fleet(b *testing.B) (dir string) {
	b.Helper()
	const instances = 100_000
	dir = b.TempDir()
	r := open(b, dir)
	var clients sync.WaitGroup
	for c := range 256 {
		clients.Go(func() {
			for n := c; n < instances; n += 256 {
				w := web(fmt.Sprintf("w%d", n))
				w.Instance.Service = fmt.Sprintf("svc%d", n/10)
				enrol(b, r, w)
			}
		})
	}
	clients.Wait()
	closed(b, r)
	return dir
}

// Records are decoded in batches, side by side.
func TestManyRecordsAreReadInTheirOrder(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	var clients sync.WaitGroup
	for c := range 100 {
		clients.Go(func() {
			for n := c; n < 3*batchSize+1; n += 100 {
				enrol(t, r, web(fmt.Sprintf("w%04d", n)))
			}
		})
	}
	clients.Wait()
	index := r.View().Index()
	closed(t, r)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	v := open(t, dir).View()
	runtime.ReadMemStats(&after)
	// Most of a start is decoding, whose time is the machine's, and whose allocations are ours.
	each := float64(after.Mallocs-before.Mallocs) / (3*batchSize + 1)
	t.Logf("%.1f allocations for each of %d instances that are read", each, 3*batchSize+1)
	if each > 25 {
		t.Errorf("%.1f allocations for each instance", each)
	}
	n := 0
	for i := range v.Instances() {
		if want := fmt.Sprintf("w%04d", n); i.ID != want || v.Check("n1", "service:"+want) == nil {
			t.Fatalf("instance %d is %+v", n, i)
		}
		n++
	}
	if n != 3*batchSize+1 || v.Index() != index || v.Service("web").Index != index {
		t.Errorf("there are %d instances at index %d, and the service at %d; it was at %d", n, v.Index(), v.Service("web").Index, index)
	}
}
