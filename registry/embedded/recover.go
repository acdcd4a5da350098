package embedded

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
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
)

// lockTimeout is how long to wait for another process to give the file back.
const lockTimeout = time.Second

// errDamaged is the error of a file that is not what was written.
var errDamaged = errors.New("damaged")

// openStore opens the file in a directory. A damaged one is moved aside, and
// the newest good backup takes its place.
func openStore(ctx context.Context, dir string, logger *slog.Logger, m *metrics) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &store{path: filepath.Join(dir, fileName), logger: logger, metrics: m, commit: (*bbolt.Tx).Commit}
	_, missing := os.Stat(s.path)
	err := s.open()
	if errors.Is(err, errDamaged) {
		err = s.recover(ctx, err)
	} else if err == nil && errors.Is(missing, os.ErrNotExist) {
		s.leap = true
		s.summary.Index = 0
	}
	if err != nil {
		return nil, err
	}
	if err := s.backup(); err != nil {
		logger.Error("a backup could not be made", "err", err)
	}
	return s, nil
}

// recover moves the damaged file aside and opens the newest backup that is good.
func (s *store) recover(ctx context.Context, damage error) error {
	aside := s.path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000000")
	if err := os.Rename(s.path, aside); err != nil {
		return fmt.Errorf("move the damaged file aside: %w", err)
	}
	for _, name := range []string{backupName, olderName} {
		if err := ctx.Err(); err != nil {
			return err
		}
		backup := filepath.Join(filepath.Dir(s.path), name)
		err := copyFile(backup, s.path)
		if err == nil {
			err = s.open()
		}
		if err == nil {
			s.leap = true
			s.logger.Error("THE REGISTRY WAS DAMAGED and is restored from a backup; what was registered after it is lost",
				"damage", damage, "damaged", aside, "backup", backup, "records", s.summary.Records)
			return nil
		}
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errDamaged) {
			return fmt.Errorf("restore %s: %w", backup, err)
		}
		if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := s.open(); err != nil {
		return err
	}
	s.leap = true
	s.summary.Index = uint64(time.Now().Unix())
	s.logger.Error("THE REGISTRY WAS DAMAGED and there is no good backup; it begins anew, with nothing registered",
		"damage", damage, "damaged", aside)
	return nil
}

// open opens the file, reads all of it, and holds it against its summary. The
// error is errDamaged where the file is not what was written.
func (s *store) open() (err error) {
	// bbolt panics on pages that make no sense, and faults on a map of a file
	// that was cut short.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	s.db, err = bbolt.Open(s.path, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return classify(s.path, err)
	}
	if err = s.read(); err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
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
	s.records, s.summary = new(records), summary{Format: format}
	var isNew bool
	err := s.db.View(func(tx *bbolt.Tx) error {
		nodes, instances, sum := tx.Bucket(bucketNodes), tx.Bucket(bucketInstances), tx.Bucket(bucketSummary)
		if nodes == nil && instances == nil && sum == nil {
			isNew = true
			return nil
		}
		if nodes == nil || instances == nil || sum == nil {
			return fmt.Errorf("%w: a bucket is missing", errDamaged)
		}
		var found summary
		if err := readAll(nodes, &s.records.nodes, &found); err != nil {
			return err
		}
		if err := readAll(instances, &s.records.instances, &found); err != nil {
			return err
		}
		return s.readSummary(sum.Get(keySummary), found)
	})
	if err != nil || !isNew {
		return err
	}
	return s.create()
}

// readSummary reads the summary and holds what was found against it.
func (s *store) readSummary(record []byte, found summary) error {
	text, err := unseal(keySummary, record)
	if err == nil {
		err = json.Unmarshal(text, &s.summary)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errDamaged, err)
	case s.summary.Format > format:
		return fmt.Errorf("the file has format %d, and this rollcall knows only %d: a newer one has written it", s.summary.Format, format)
	case s.summary.Records != found.Records || s.summary.Digest != found.Digest:
		return fmt.Errorf("%w: there are %d records, and not the %d that were written", errDamaged, found.Records, s.summary.Records)
	}
	return nil
}

// readAll decodes the records of a bucket and counts them in found.
func readAll[T any](b *bbolt.Bucket, into *[]*T, found *summary) error {
	return b.ForEach(func(key, record []byte) error {
		text, err := unseal(key, record)
		value := new(T)
		if err == nil {
			err = json.Unmarshal(text, value)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		*into = append(*into, value)
		found.Records++
		found.Digest += uint64(binary.BigEndian.Uint32(record))
		return nil
	})
}

// create makes the buckets and the summary of a new file.
func (s *store) create() error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketNodes, bucketInstances, bucketSummary} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return s.summary.write(tx)
	})
}

// backup writes a copy of the file beside it, where anything has changed since
// the last one, and keeps the one before.
func (s *store) backup() error {
	if s == nil || s.broken != nil || s.summary.Index == s.backedUp {
		return nil
	}
	dir := filepath.Dir(s.path)
	fresh, backup := filepath.Join(dir, backupName+".new"), filepath.Join(dir, backupName)
	err := s.db.View(func(tx *bbolt.Tx) error {
		return writeFile(fresh, func(w io.Writer) error {
			_, err := tx.WriteTo(w)
			return err
		})
	})
	if err != nil {
		return errors.Join(fmt.Errorf("back up %s: %w", s.path, err), os.Remove(fresh))
	}
	if err := os.Rename(backup, filepath.Join(dir, olderName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, backup); err != nil {
		return err
	}
	s.backedUp = s.summary.Index
	return syncDir(dir)
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
