package embedded

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rollcall-dns/rollcall/registry"
)

// The file has a bucket of nodes, by lower-case name, a bucket of instances, by
// lower-case node, NUL and ID, each with its checks, and a bucket with the
// summary. A record is a CRC32C of its key and its JSON, and the JSON.
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
	path     string
	db       *bbolt.DB
	logger   *slog.Logger
	metrics  *metrics
	summary  summary
	records  *records              // what was read at the start, until load
	leap     bool                  // the index of this file may be behind what was told before
	broken   error                 // why nothing can be written any more
	backedUp uint64                // the index of the newest backup
	commit   func(*bbolt.Tx) error // tx.Commit, which a test may have fail
}

// records is what a file holds.
type records struct {
	nodes     []*registry.Node
	instances []*registry.Instance
}

// load puts what the file holds into a View, and returns the index to go on from.
func (s *store) load(v *registry.View) (*registry.View, uint64, error) {
	index := s.summary.Index
	if s.leap {
		index = firstIndex(index)
	}
	t, now := v.Txn(index), time.Now()
	for _, n := range s.records.nodes {
		lease(n.Checks, now)
		t.PutNode(n)
	}
	for _, i := range s.records.instances {
		lease(i.Checks, now)
		t.PutInstance(i)
	}
	s.records = nil
	return t.Commit().View, index, nil
}

// lease starts the leases anew: no heartbeat is late before a full TTL has gone
// by since the start.
func lease(checks []*registry.Check, now time.Time) {
	for _, c := range checks {
		c.Lease = registry.NewLease(now)
	}
}

// firstIndex returns an index that is above whatever a lost file can have
// reached: indexes begin at the time, in seconds, and rise by one a change.
func firstIndex(known uint64) uint64 {
	now := uint64(time.Now().Unix())
	if known == 0 {
		return now
	}
	return max(known, now) + 1<<20
}

// save writes an Update to disk, whole or not at all.
func (s *store) save(u *registry.Update) error {
	if s == nil {
		return nil
	}
	if s.broken != nil {
		return registry.Errorf(registry.Unavailable, "the registry takes no writes until rollcall is restarted: %w", s.broken)
	}
	start := time.Now()
	next, err := s.write(u)
	if err == nil {
		s.summary = next
		s.metrics.wrote(time.Since(start), s.db)
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return registry.Errorf(registry.Full, "store in %s: %w", s.path, err)
	}
	// After a failed sync nobody knows what is on disk, and trying again would
	// only say that all is well.
	s.broken = err
	return registry.Errorf(registry.Unavailable, "store in %s: %w", s.path, err)
}

func (s *store) write(u *registry.Update) (next summary, err error) {
	tx, err := s.db.Begin(true)
	if err != nil {
		return next, err
	}
	next = s.summary
	next.Index = u.View.Index()
	w := recordWriter{nodes: tx.Bucket(bucketNodes), instances: tx.Bucket(bucketInstances), summary: &next}
	for _, e := range u.Events {
		if err = w.write(e); err != nil {
			return next, errors.Join(err, tx.Rollback())
		}
	}
	if err = next.write(tx); err != nil {
		return next, errors.Join(err, tx.Rollback())
	}
	return next, s.commit(tx)
}

func (s *store) writeSummary(tx *bbolt.Tx) error { return s.summary.write(tx) }

func (s *summary) write(tx *bbolt.Tx) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketSummary).Put(keySummary, seal(keySummary, text))
}

// recordWriter writes records and keeps the summary true.
type recordWriter struct {
	nodes, instances *bbolt.Bucket
	summary          *summary
}

func (w *recordWriter) write(e registry.Event) error {
	switch e.Kind {
	case registry.NodePut:
		return w.put(w.nodes, nodeKey(e.Node), e.Node)
	case registry.NodeDeleted:
		return w.delete(w.nodes, nodeKey(e.Node))
	case registry.InstancePut:
		return w.put(w.instances, instanceKey(e.Instance), e.Instance)
	case registry.InstanceDeleted:
		return w.delete(w.instances, instanceKey(e.Instance))
	}
	return nil
}

func (w *recordWriter) put(b *bbolt.Bucket, key []byte, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %q: %w", key, err)
	}
	w.forget(b.Get(key))
	record := seal(key, text)
	w.summary.Records++
	w.summary.Digest += uint64(binary.BigEndian.Uint32(record))
	return b.Put(key, record)
}

func (w *recordWriter) delete(b *bbolt.Bucket, key []byte) error {
	w.forget(b.Get(key))
	return b.Delete(key)
}

func (w *recordWriter) forget(record []byte) {
	if len(record) >= 4 {
		w.summary.Records--
		w.summary.Digest -= uint64(binary.BigEndian.Uint32(record))
	}
}

func nodeKey(n *registry.Node) []byte { return []byte(strings.ToLower(n.Name)) }

func instanceKey(i *registry.Instance) []byte {
	return []byte(strings.ToLower(i.Node) + "\x00" + i.ID)
}

// seal puts the checksum of key and text before the text.
func seal(key, text []byte) []byte {
	record := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)), checksum(key, text))
	return append(record, text...)
}

// unseal returns the text of a record, or an error where it is not the one that
// was written under the key.
func unseal(key, record []byte) ([]byte, error) {
	if len(record) < 4 || binary.BigEndian.Uint32(record) != checksum(key, record[4:]) {
		return nil, fmt.Errorf("the record %q is damaged", key)
	}
	return record[4:], nil
}

func checksum(key, text []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // made once by the library
	return crc32.Update(crc32.Checksum(key, table), table, text)
}

// close gives the file back. Before, it writes the summary once more: bbolt has
// two meta pages, and where the newer one is damaged it takes the other one to
// be the truth, which then says the same.
func (s *store) close() error {
	if s == nil {
		return nil
	}
	if s.broken == nil && s.db.Update(s.writeSummary) != nil {
		s.logger.Warn("the registry's summary could not be written twice", "file", s.path)
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close registry %s: %w", s.path, err)
	}
	return nil
}
