package embedded

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rollcall-dns/rollcall/registry"
)

// TestABackupHasAllThatWasAnsweredBeforeIt takes backups one after the other while
// 8 clients register, restores each of them, and looks for what had been answered.
func TestABackupHasAllThatWasAnsweredBeforeIt(t *testing.T) {
	const backups, clients = 10, 8
	r := open(t, t.TempDir())
	var (
		mu       sync.Mutex
		answered []string
		group    sync.WaitGroup
	)
	writing, stop := context.WithCancel(t.Context())
	defer stop()
	for c := range clients {
		group.Go(func() {
			for n := 0; writing.Err() == nil; n++ {
				id := fmt.Sprintf("w%d-%d", c, n)
				if err := r.Register(t.Context(), whole(id)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				answered = append(answered, id)
				mu.Unlock()
			}
		})
	}
	var last int
	for range backups {
		mu.Lock()
		before := answered[:len(answered):len(answered)]
		mu.Unlock()
		last = len(before)
		restored := restore(t, backedUp(t, r))
		for _, id := range before {
			if !isWhole(restored.View().Instance("n1", id)) {
				t.Errorf("%s was answered before the backup and is not in it", id)
			}
		}
		ids(t, restored) // none by halves
		if restored.View().Index() < r.View().Index() {
			t.Errorf("the index fell from %d to %d", r.View().Index(), restored.View().Index())
		}
		closed(t, restored)
	}
	stop()
	group.Wait()
	t.Logf("%d backups while %d registrations were answered: all restored, the last with the %d that were answered before it and more", backups, len(answered), last)
}

func TestBackupsThatManyWantAreAnswered(t *testing.T) {
	r := open(t, t.TempDir())
	var group sync.WaitGroup
	for n := range 50 {
		group.Go(func() {
			enrol(t, r, whole(fmt.Sprint("w", n)))
			backedUp(t, r)
		})
	}
	group.Wait()
	closed(t, r)
	if _, err := r.Backup(t.Context()); registry.CodeOf(err) != registry.Unavailable {
		t.Errorf("of a closed registry: %v", err)
	}
	if _, err := open(t, "").Backup(t.Context()); registry.CodeOf(err) != registry.NotFound {
		t.Errorf("of one in memory: %v", err)
	}
}

func backedUp(t *testing.T, r *Registry) []byte {
	t.Helper()
	backup, err := r.Backup(t.Context())
	if err != nil {
		t.Error(err)
		return nil
	}
	defer backup.Close()
	data, err := io.ReadAll(backup)
	if err != nil {
		t.Error(err)
	}
	return data
}

// restore opens a backup as the documents tell to.
func restore(t *testing.T, backup []byte) *Registry {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, backupName), backup)
	return open(t, dir)
}
