package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rollcall-dns/rollcall/registry"
)

// backupEvery is how long a change waits for its backup at most.
const backupEvery = time.Hour

// backups are two copies of the file beside it, the newest and the one before.
// A copy is made of a snapshot, while the writer goes on writing.
type backups struct {
	index   uint64           // of the newest backup
	running chan backupEnded // nil: none is being made
	wanted  []chan error     // whoever waits for the next one
	awaited []chan error     // and for the one that is being made
}

// backupEnded is how the making of a backup ended.
type backupEnded struct {
	index uint64
	err   error
}

// Backup returns a copy of all that is registered by now; writes go on meanwhile.
// Where it lies as registry.db.backup in a directory without a registry.db, Open
// restores it. The caller closes it.
func (r *Registry) Backup(ctx context.Context) (io.ReadCloser, error) {
	if r.store == nil {
		return nil, registry.Errorf(registry.NotFound, "the registry is in memory alone")
	}
	made := make(chan error, 1)
	select {
	case r.wantBackup <- made:
	case <-r.closing:
		return nil, registry.Errorf(registry.Unavailable, "the registry is closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case err := <-made:
		if err != nil {
			return nil, registry.Errorf(registry.Unavailable, "a backup could not be made: %w", err)
		}
	case <-r.done:
		return nil, registry.Errorf(registry.Unavailable, "the registry is closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return os.Open(filepath.Join(filepath.Dir(r.store.path), backupName))
}

// ReadBackup reads a backup as Open would, and returns how many instances it has.
// The error says that it is not what was written.
func ReadBackup(path string) (instances int, err error) {
	s := &store{path: path, empty: registry.NewView(""), logger: slog.New(slog.DiscardHandler)}
	err = s.open(path)
	if err == nil && s.isNew {
		err = fmt.Errorf("%w: it is empty", errDamaged)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("read backup %s: %w", path, err), s.closeFile())
	}
	return s.view.InstancesLen(), s.closeFile()
}

// backUpFor has somebody told when there is a backup of what is there now.
func (s *store) backUpFor(made chan error) {
	s.backups.wanted = append(s.backups.wanted, made)
	s.startBackup()
}

// startBackup begins a backup, where anything has changed since the newest one.
func (s *store) startBackup() {
	if s == nil || s.backups.running != nil {
		return
	}
	s.backups.awaited, s.backups.wanted = s.backups.wanted, nil
	if broken := s.broken.Load(); broken != nil {
		s.tellOfBackup(broken.error)
		return
	}
	if s.summary.Index == s.backups.index {
		s.tellOfBackup(nil)
		return
	}
	tx, err := s.db.Begin(false)
	if err != nil {
		s.logger.Error("a backup could not be made", "err", err)
		s.tellOfBackup(err)
		return
	}
	index, running := s.summary.Index, make(chan backupEnded, 1)
	s.backups.running = running
	go func() {
		err := s.writeBackup(tx)
		running <- backupEnded{index, errors.Join(err, tx.Rollback())}
	}()
}

// endBackup notes how a backup ended.
func (s *store) endBackup(ended backupEnded) {
	s.backups.running = nil
	if ended.err != nil {
		s.logger.Error("a backup could not be made", "err", ended.err)
	} else {
		s.backups.index = ended.index
	}
	s.tellOfBackup(ended.err)
	if len(s.backups.wanted) > 0 { // while it was made
		s.startBackup()
	}
}

func (s *store) tellOfBackup(err error) {
	for _, made := range s.backups.awaited {
		made <- err
	}
	s.backups.awaited = nil
}

// finishBackups waits for the backup that is being made, and makes a last one.
func (s *store) finishBackups() {
	if s == nil {
		return
	}
	for s.backups.running != nil {
		s.endBackup(<-s.backups.running)
	}
	s.startBackup()
	if s.backups.running != nil {
		s.endBackup(<-s.backups.running)
	}
}

// backupRunning returns the channel that tells how the backup ended, or nil.
func (s *store) backupRunning() <-chan backupEnded {
	if s == nil {
		return nil
	}
	return s.backups.running
}

func (s *store) writeBackup(tx *bbolt.Tx) error {
	dir := filepath.Dir(s.path)
	fresh, newest, older := filepath.Join(dir, backupName+".new"), filepath.Join(dir, backupName), filepath.Join(dir, olderName)
	err := writeFile(fresh, func(w io.Writer) error {
		_, err := tx.WriteTo(w)
		return err
	})
	if err != nil {
		return errors.Join(fmt.Errorf("back up %s: %w", s.path, err), discard(fresh))
	}
	if err := os.Rename(newest, older); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, newest); err != nil {
		return err
	}
	return syncDir(dir)
}

// backupIndex returns the index that a backup was made at, or zero where there
// is no backup that says so.
func backupIndex(path string) (index uint64) {
	err := guard(func() error {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
		if err != nil {
			return err
		}
		defer db.Close()
		return db.View(func(tx *bbolt.Tx) error {
			s, err := decodeSummary(tx.Bucket(bucketSummary).Get(keySummary))
			index = s.Index
			return err
		})
	})
	if err != nil {
		return 0
	}
	return index
}

func copyFile(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	return writeFile(to, func(w io.Writer) error {
		_, err := io.Copy(w, source)
		return err
	})
}

// writeFile writes a file and syncs it to disk.
func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := write(f); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}
