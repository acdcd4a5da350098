package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/rollcall-dns/rollcall/registry"
)

// The names in the directory.
const (
	fileName   = "registry.db"
	backupName = "registry.db.backup"
	olderName  = "registry.db.backup.older"

	restoredSuffix = ".restored" // of a file on its way to the registry's place
)

// lockTimeout is how long to wait for another process to give the file back.
const lockTimeout = time.Second

// leap is how far the index jumps when changes were lost, and with them the
// indexes that were told. It is more than happens from one backup to the next:
// 37,000 changes a second for an hour. A zone's serial can take a few of them:
// to it, a step of less than 1<<31 is one forward (RFC 1982).
const leap = 1 << 27

// errDamaged is the error of a file that is not what was written.
var errDamaged = errors.New("damaged")

// openStore opens the file in a directory. A damaged one is moved aside, and
// the newest good backup takes its place.
func openStore(ctx context.Context, dir string, empty *registry.View, logger *slog.Logger, m *metrics) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &store{path: filepath.Join(dir, fileName), empty: empty, logger: logger, metrics: m, commit: (*bbolt.Tx).Commit}
	err := s.openExisting()
	switch {
	case errors.Is(err, errPages):
		err = s.rebuild(err)
	case errors.Is(err, errDamaged):
		err = s.restore(ctx, err)
	}
	if err == nil {
		err = s.raiseIndex()
	}
	if err != nil {
		return nil, errors.Join(err, s.closeFile())
	}
	s.backups.index = backupIndex(filepath.Join(dir, backupName))
	return s, nil
}

// openExisting opens the file. That there is none, or an empty one, is damage
// where there is a backup of it.
func (s *store) openExisting() error {
	if file, err := os.Stat(s.path); errors.Is(err, os.ErrNotExist) || err == nil && file.Size() == 0 {
		if _, err := os.Stat(filepath.Join(filepath.Dir(s.path), backupName)); err == nil {
			return fmt.Errorf("%w: there is a backup of %s, but nothing in its place", errDamaged, s.path)
		}
	}
	return s.open(s.path)
}

// rebuild moves the damaged file aside and writes the records that were read
// from it to a new one.
func (s *store) rebuild(damage error) error {
	aside, err := keepAside(s.path)
	if err != nil {
		return fmt.Errorf("move the damaged file aside: %w", err)
	}
	whole, index, restored := s.view, s.summary.Index, s.path+restoredSuffix
	if err := discard(restored); err != nil {
		return err
	}
	if err := s.open(restored); err != nil {
		return err
	}
	s.summary.Index = index
	err = s.db.Update(func(tx *bbolt.Tx) error {
		w := newRecordWriter(tx, &s.summary)
		for n := range whole.Nodes() {
			if err := w.write(registry.Event{Kind: registry.NodePut, Node: n}); err != nil {
				return err
			}
		}
		for i := range whole.Instances() {
			if err := w.write(registry.Event{Kind: registry.InstancePut, Instance: i}); err != nil {
				return err
			}
		}
		return s.writeSummary(tx)
	})
	if err := errors.Join(err, s.closeFile()); err != nil {
		return errors.Join(fmt.Errorf("write %s anew: %w", s.path, err), discard(restored))
	}
	s.logger.Error("THE REGISTRY WAS DAMAGED; all that it held could be read and is written anew",
		"damage", damage, "damaged", aside, "records", s.summary.Records)
	return s.adopt(restored)
}

// discard removes a file, if it is there.
func discard(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// adopt puts another file in the place of the registry's, and opens it.
func (s *store) adopt(path string) error {
	if err := errors.Join(os.Rename(path, s.path), syncDir(filepath.Dir(s.path))); err != nil {
		return err
	}
	return s.open(s.path)
}

// restore moves the damaged file aside and puts the newest backup that is good
// in its place. Wherever it is interrupted, there is a file to begin with again.
func (s *store) restore(ctx context.Context, damage error) error {
	aside, err := keepAside(s.path)
	if err != nil {
		return fmt.Errorf("move the damaged file aside: %w", err)
	}
	restored := s.path + restoredSuffix
	for _, name := range []string{backupName, olderName} {
		if err := ctx.Err(); err != nil {
			return err
		}
		backup := filepath.Join(filepath.Dir(s.path), name)
		err := copyFile(backup, restored)
		if err == nil {
			err = s.open(restored)
		}
		if err == nil && s.isNew {
			err = errors.Join(fmt.Errorf("%w: it is empty", errDamaged), s.closeFile())
		}
		if err == nil {
			err = errors.Join(s.closeFile(), s.adopt(restored))
		}
		switch {
		case err == nil:
			s.lost = true
			s.logger.Error("THE REGISTRY WAS DAMAGED and is restored from a backup; what was registered after it is lost",
				"damage", damage, "damaged", aside, "backup", backup, "records", s.summary.Records)
			return nil
		case errors.Is(err, errDamaged):
			s.logger.Error("a backup of the registry is damaged, too", "backup", backup, "err", err)
		case !errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("restore %s: %w", backup, errors.Join(err, discard(restored)))
		}
	}
	for _, path := range []string{restored, s.path} {
		if err := discard(path); err != nil {
			return err
		}
	}
	if err := s.open(s.path); err != nil {
		return err
	}
	s.lost = true
	s.logger.Error("THE REGISTRY WAS DAMAGED and there is no good backup; it begins anew, with nothing registered",
		"damage", damage, "damaged", aside)
	return nil
}

// keepAside gives a file a second name, under which it is kept, and returns
// that; the first one is about to be taken by another file.
func keepAside(path string) (string, error) {
	aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000000")
	err := os.Link(path, aside)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // not every file system knows links
		err = os.Rename(path, aside)
	}
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return aside, err
}

// raiseIndex writes down an index that is above all that were told, where that
// is in doubt. Indexes begin at the time, in seconds, so that a registry whose
// directory was lost does not tell lower ones than before.
func (s *store) raiseIndex() error {
	metas, err := readMetas(s.db)
	if err != nil {
		return err
	}
	if newestMayBeLost(metas) {
		s.lost = true
		s.logger.Error("THE REGISTRY WAS DAMAGED: the newer of its two meta pages may be lost, and with it what was registered last",
			"file", s.path, "records", s.summary.Records)
	}
	if !s.lost && !s.isNew {
		return nil
	}
	s.summary.Index = max(s.summary.Index, uint64(time.Now().Unix()))
	if s.lost {
		s.summary.Index += leap
	}
	return guard(func() error { return s.db.Update(s.writeSummary) })
}

// open opens a file, reads all of it, and holds it against its summary. The
// error is errDamaged where the file is not what was written.
func (s *store) open(path string) error {
	s.db = nil
	readAhead(path)
	err := guard(func() (err error) {
		s.db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			return classify(path, err)
		}
		if s.file, err = os.Stat(path); err != nil {
			return err
		}
		return s.read()
	})
	if errors.Is(err, errPanic) {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err != nil {
		err = errors.Join(err, s.closeFile())
	}
	return err
}

// closeFile gives the file back, if it is open.
func (s *store) closeFile() error {
	if s.db == nil || s.wedged {
		return nil
	}
	return s.db.Close()
}

func classify(path string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return registry.Errorf(registry.Unavailable, "%s is locked by another process: is a rollcall running there", path)
	case errors.As(err, &errno):
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// read reads every record, and makes the buckets of a new file.
func (s *store) read() error {
	s.view, s.summary, s.isNew = s.empty, summary{Format: format}, false
	err := s.db.View(func(tx *bbolt.Tx) error {
		amiss, err := checkPages(tx)
		if err != nil {
			return err
		}
		nodes, instances, own := tx.Bucket(bucketNodes), tx.Bucket(bucketInstances), tx.Bucket(bucketSummary)
		if nodes == nil && instances == nil && own == nil {
			if s.isNew = amiss == nil; !s.isNew {
				return fmt.Errorf("%w: it has no buckets, and %v", errDamaged, amiss)
			}
			return nil
		}
		if nodes == nil || instances == nil || own == nil {
			return fmt.Errorf("%w: a bucket is missing", errDamaged)
		}
		if s.summary, err = decodeSummary(own.Get(keySummary)); err != nil {
			return err
		}
		var found summary
		s.view, err = readView(s.empty, nodes, instances, &found)
		if err == nil && (found.Records != s.summary.Records || found.Digest != s.summary.Digest) {
			err = fmt.Errorf("%w: its %d records are not the %d that were written", errDamaged, found.Records, s.summary.Records)
		}
		return cmp.Or(err, amiss)
	})
	if err != nil || !s.isNew {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketNodes, bucketInstances, bucketSummary} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return s.writeSummary(tx)
	})
}
