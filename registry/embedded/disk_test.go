package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/rollcall-dns/rollcall/registry"
)

// noRoom is the error of a write to a full disk.
var noRoom = &fs.PathError{Op: "write", Path: fileName, Err: syscall.ENOSPC}

func TestFullDiskRefusesWritesAndRecovers(t *testing.T) {
	r := open(t, t.TempDir())
	enrol(t, r, web("a"))
	before, commit := r.View(), r.store.commit
	r.store.commit = func(tx *bbolt.Tx) error { return errors.Join(noRoom, tx.Rollback()) }
	err := r.Register(t.Context(), web("b"))
	t.Logf("the disk is full: %v", err)
	if registry.CodeOf(err) != registry.Full {
		t.Errorf("the error is %v", err)
	}
	if r.View() != before {
		t.Error("the View changed")
	}
	r.store.commit = commit
	enrol(t, r, web("b"))
	t.Logf("and has room again: %d of 2 instances", r.View().InstancesLen())
}

func TestFailedSyncEndsAllWrites(t *testing.T) {
	for _, failure := range []error{
		syscall.EIO,
		syscall.ENOSPC, // of the sync, where the file system looks for room late
		syscall.EDQUOT,
		&fs.PathError{Op: "sync", Path: fileName, Err: syscall.ENOSPC},
	} {
		dir := t.TempDir()
		r := open(t, dir)
		enrol(t, r, web("a"))
		commit := r.store.commit
		r.store.commit = func(tx *bbolt.Tx) error { return errors.Join(failure, tx.Rollback()) }
		for range 2 {
			if err := r.Register(t.Context(), web("b")); registry.CodeOf(err) != registry.Unavailable {
				t.Errorf("the error is %v", err)
			}
			r.store.commit = commit
		}
		if !errors.Is(r.Err(), failure) {
			t.Errorf("Err is %v", r.Err())
		}
		if err := r.SetStatus(t.Context(), registry.StatusUpdate{CheckID: "service:a", Status: registry.Passing}); err != nil {
			t.Errorf("a heartbeat that says nothing new: %v", err)
		}
		closed(t, r)
		r = open(t, dir)
		enrol(t, r, web("b"))
		t.Logf("%v: 2 of 2 registrations refused, and taken after a restart", failure)
		if r.View().InstancesLen() != 2 || r.Err() != nil {
			t.Errorf("after a restart: %d instances, %v", r.View().InstancesLen(), r.Err())
		}
		closed(t, r)
	}
}

// A write can fail when the file has taken it already.
func TestNothingIsBuiltOnARefusedWrite(t *testing.T) {
	r := open(t, t.TempDir())
	commit := r.store.commit
	r.store.commit = func(tx *bbolt.Tx) error { return errors.Join(commit(tx), noRoom) }
	if err := r.Register(t.Context(), web("a")); registry.CodeOf(err) != registry.Full {
		t.Errorf("the error is %v", err)
	}
	r.store.commit = commit
	if err := r.Register(t.Context(), web("b")); registry.CodeOf(err) != registry.Unavailable {
		t.Errorf("the error is %v", err)
	}
}

// What is written to a file that has no name any more, nobody finds after a restart.
func TestNothingIsWrittenToAFileThatIsNotInItsPlace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := open(t, dir)
	enrol(t, r, web("a"))
	before := r.View()
	refused := func(what string) {
		t.Helper()
		err := r.Register(t.Context(), web("b"))
		if registry.CodeOf(err) != registry.Unavailable || !strings.Contains(err.Error(), "not in its place") {
			t.Errorf("%s: the error is %v", what, err)
		}
		if r.View() != before {
			t.Errorf("%s: the View changed", what)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Rename(dir, dir+".away"))
	refused("the directory is gone")
	must(os.Mkdir(dir, 0o700))
	refused("another directory is there")
	must(os.WriteFile(filepath.Join(dir, fileName), nil, 0o600))
	refused("another file is there")
	must(os.RemoveAll(dir))
	must(os.Rename(dir+".away", dir))
	enrol(t, r, web("b"))
	closed(t, r)
	if r = open(t, dir); r.View().InstancesLen() != 2 {
		t.Errorf("after a restart there are %d instances, want 2", r.View().InstancesLen())
	}
}

func TestPanicOfTheStoreEndsWritesAndNotTheProcess(t *testing.T) {
	r := open(t, t.TempDir())
	enrol(t, r, web("a"))
	r.store.commit = func(tx *bbolt.Tx) error { panic("page 7 already freed") }
	for range 2 {
		if err := r.Register(t.Context(), web("b")); registry.CodeOf(err) != registry.Unavailable {
			t.Errorf("the error is %v", err)
		}
	}
	if r.View().InstancesLen() != 1 {
		t.Errorf("%d instances, want the one that was answered", r.View().InstancesLen())
	}
	closed(t, r)
}

// TestSmallDisk fills a real file system, where it may mount one.
func TestSmallDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("no file system to fill: mount: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	r := open(t, dir)
	big := func(n int) registry.Registration {
		w := web(fmt.Sprintf("w%d", n))
		w.Instance.Meta = map[string]string{"k": strings.Repeat("v", 4000)}
		return w
	}
	n, err := 0, error(nil)
	for ; err == nil; n++ {
		err = r.Register(t.Context(), big(n))
	}
	t.Logf("the disk of 512 KiB is full after %d registrations: %v", n-1, err)
	if registry.CodeOf(err) != registry.Full {
		t.Fatalf("after %d registrations: %v", n, err)
	}
	if got := r.View().InstancesLen(); got != n-1 {
		t.Errorf("%d instances, want the %d that were answered", got, n-1)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	if err := r.Deregister(t.Context(), registry.Deregistration{InstanceID: "w0"}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	closed(t, r)
	r = open(t, dir)
	t.Logf("and with room again, without one and after a restart: %d", r.View().InstancesLen())
	if got := r.View().InstancesLen(); got != n-2 {
		t.Errorf("%d instances after a restart, want %d", got, n-2)
	}
	closed(t, r)
}
