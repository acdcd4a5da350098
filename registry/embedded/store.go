package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rollcall-dns/rollcall/registry"
)

// The file has a bucket of nodes, by lower-case name, a bucket of instances, by
// lower-case node, NUL and ID, each with its checks, and a bucket with the
// summary.
var ( // bbolt takes bucket names as bytes; nothing writes to these
	bucketNodes     = []byte("nodes")
	bucketInstances = []byte("instances")
	bucketSummary   = []byte("summary")
	keySummary      = []byte("summary")
)

// format is the version of the file's layout.
const format = 1

// summary is what must fit the records: bbolt's pages bear no checksum, so a
// page that went missing would otherwise go unnoticed.
type summary struct {
	Format  int
	Index   uint64 // of the last change
	Records int
	Digest  uint64 // the sum of all records' checksums
}

// store is the file that the records are in. Only the writer uses it. A nil
// store keeps nothing.
type store struct {
	path    string
	db      *bbolt.DB
	file    os.FileInfo // of what db has open
	logger  *slog.Logger
	metrics *metrics
	summary summary                  // what the file says of itself
	empty   *registry.View           // what a View begins with
	view    *registry.View           // what was read at the start, until load
	isNew   bool                     // nothing was ever written to the file before
	lost    bool                     // changes that were answered may be missing from it
	broken  atomic.Pointer[failure]  // why nothing can be written any more
	wedged  bool                     // bbolt has panicked, and may hold its locks for ever
	commit  func(tx *bbolt.Tx) error // tx.Commit, which a test may have fail
	backups backups
}

// failure is an error in an atomic pointer.
type failure struct{ error }

// load returns what the file holds.
func (s *store) load() *registry.View {
	v := s.view.Settle(s.summary.Index)
	s.view = nil
	return v
}

// save writes an Update to disk, whole or not at all.
func (s *store) save(u *registry.Update) error {
	if s == nil {
		return nil
	}
	if broken := s.broken.Load(); broken != nil {
		return registry.Errorf(registry.Unavailable, "the registry takes no writes until rollcall is restarted: %w", broken.error)
	}
	if err := s.inPlace(); err != nil {
		return registry.Errorf(registry.Unavailable, "store in %s: %w", s.path, err)
	}
	start := time.Now()
	next := s.summary
	err := guard(func() error { return s.write(u, &next) })
	if err == nil {
		s.summary = next
		s.metrics.wrote(time.Since(start), s.db)
		return nil
	}
	if noRoomToWrite(err) {
		return registry.Errorf(registry.Full, "store in %s: %w", s.path, err)
	}
	// After a failed sync nobody knows what is on disk, and trying again would
	// only say that all is well. After a panic bbolt may hold its locks for ever.
	s.wedged = errors.Is(err, errPanic)
	s.broken.Store(&failure{err})
	return registry.Errorf(registry.Unavailable, "store in %s: %w", s.path, err)
}

// inPlace fails where the file was removed or moved: it can be written to all the
// same, but nobody would find it after a restart.
func (s *store) inPlace() error {
	now, err := os.Stat(s.path)
	if err == nil && !os.SameFile(s.file, now) {
		err = errors.New("another file is there")
	}
	if err != nil {
		return fmt.Errorf("the registry's file is not in its place: %w", err)
	}
	return nil
}

// noRoomToWrite tells whether a write found the disk full, which leaves the file as
// it was. A sync that says so has failed like any other: nobody knows what is on disk.
func noRoomToWrite(err error) bool {
	var call *fs.PathError
	return errors.As(err, &call) && call.Op == "write" &&
		(errors.Is(call, syscall.ENOSPC) || errors.Is(call, syscall.EDQUOT))
}

// write is one transaction of bbolt; next is what the file then says of itself.
func (s *store) write(u *registry.Update, next *summary) error {
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing once it is committed
	if err := s.holdsWhatWasAnswered(tx); err != nil {
		return err
	}
	next.Index = u.View.Index()
	w := newRecordWriter(tx, next)
	for _, e := range u.Events {
		if err := w.write(e); err != nil {
			return err
		}
	}
	if err := next.write(tx); err != nil {
		return err
	}
	return s.commit(tx)
}

// holdsWhatWasAnswered fails where a write that was refused, because syncing it
// failed, is in the file all the same: nothing may be built on it.
func (s *store) holdsWhatWasAnswered(tx *bbolt.Tx) error {
	record, err := s.summary.encode()
	if err == nil && !bytes.Equal(record, tx.Bucket(bucketSummary).Get(keySummary)) {
		err = errors.New("the file holds a write that was refused")
	}
	return err
}

func (s *store) writeSummary(tx *bbolt.Tx) error { return s.summary.write(tx) }

func (s *summary) encode() ([]byte, error) { return encode(keySummary, s) }

func (s *summary) write(tx *bbolt.Tx) error {
	record, err := s.encode()
	if err != nil {
		return err
	}
	return tx.Bucket(bucketSummary).Put(keySummary, record)
}

// recordWriter writes records and keeps the summary true.
type recordWriter struct {
	nodes, instances *bbolt.Bucket
	summary          *summary
}

func newRecordWriter(tx *bbolt.Tx, s *summary) *recordWriter {
	return &recordWriter{nodes: tx.Bucket(bucketNodes), instances: tx.Bucket(bucketInstances), summary: s}
}

func (w *recordWriter) write(e registry.Event) error {
	switch e.Kind {
	case registry.NodePut:
		return w.put(w.nodes, nodeKey(e.Node), recordOfNode(e.Node))
	case registry.NodeDeleted:
		return w.delete(w.nodes, nodeKey(e.Node))
	case registry.InstancePut:
		return w.put(w.instances, instanceKey(e.Instance), recordOfInstance(e.Instance))
	case registry.InstanceDeleted:
		return w.delete(w.instances, instanceKey(e.Instance))
	}
	return nil
}

func (w *recordWriter) put(b *bbolt.Bucket, key []byte, value any) error {
	record, err := encode(key, value)
	if err != nil {
		return err
	}
	w.forget(b.Get(key))
	w.summary.Records++
	w.summary.Digest += uint64(digest(record))
	return b.Put(key, record)
}

func (w *recordWriter) delete(b *bbolt.Bucket, key []byte) error {
	w.forget(b.Get(key))
	return b.Delete(key)
}

func (w *recordWriter) forget(record []byte) {
	if len(record) >= 4 {
		w.summary.Records--
		w.summary.Digest -= uint64(digest(record))
	}
}

// close gives the file back. Before, it writes the summary once more: bbolt has
// two meta pages, and where the newer one is damaged it takes the other one to
// be the truth, which then says the same.
func (s *store) close() error {
	if s == nil {
		return nil
	}
	if s.broken.Load() == nil {
		if err := guard(func() error { return s.db.Update(s.writeSummary) }); err != nil {
			s.wedged = errors.Is(err, errPanic)
			s.logger.Error("the registry's summary could not be written twice", "file", s.path, "err", err)
		}
	}
	if err := s.closeFile(); err != nil {
		return fmt.Errorf("close registry %s: %w", s.path, err)
	}
	return nil
}

// decodeSummary reads a summary, and refuses that of a newer rollcall.
func decodeSummary(record []byte) (s summary, err error) {
	if err := decode(keySummary, record, &s); err != nil {
		return s, err
	}
	if s.Format > format {
		return s, fmt.Errorf("the file has format %d, and this rollcall knows only %d: a newer one has written it", s.Format, format)
	}
	return s, nil
}
