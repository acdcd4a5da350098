package embedded

import (
	"runtime"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rollcall-dns/rollcall/registry"
)

// To read the records is what a start takes most of its time for, and most of
// reading is to decode. So batches of records are decoded side by side, while
// the ones before them are put into the View and what decoding left is thrown
// away: there is never more in memory than what stays.

// batchSize is how many records one goroutine decodes in one go.
const batchSize = 512

// batch is some records that lie side by side in a bucket, and what they say.
type batch[V any] struct {
	keys, records [][]byte // in the file's map, as long as the transaction lasts
	values        []V
	digest        uint64
	decoded       chan error // holds one
}

// readView puts all that two buckets hold into a View.
func readView(empty *registry.View, nodes, instances *bbolt.Bucket, found *summary) (*registry.View, error) {
	now := time.Now()
	t := empty.Txn(0)
	err := readAll(nodes, found, func(r *nodeRecord) *registry.Node { return r.node(now) }, t.PutNode)
	if err != nil {
		return nil, err
	}
	err = readAll(instances, found, func(r *instanceRecord) *registry.Instance { return r.instance(now) }, func(i *registry.Instance) {
		if t.Len() > 100*batchSize { // a Txn remembers each change
			t = t.Commit().View.Txn(0)
		}
		t.PutInstance(i)
	})
	return t.Commit().View, err
}

// readAll decodes the records of a bucket, hands them on in their order, and
// counts them in found. R is what a record holds, and V is made of it.
func readAll[R, V any](b *bbolt.Bucket, found *summary, value func(*R) V, put func(V)) error {
	batches := make(chan *batch[V], runtime.GOMAXPROCS(0))
	fetched := make(chan error, 1)
	go func() {
		defer close(batches)
		fetched <- guard(func() error { return fetch(b, value, batches) })
	}()
	var err error
	for full := range batches {
		if failed := <-full.decoded; err == nil {
			err = failed
		}
		if err != nil {
			continue
		}
		for _, v := range full.values {
			put(v)
		}
		found.Records += len(full.values)
		found.Digest += full.digest
	}
	if failed := <-fetched; failed != nil {
		return failed
	}
	return err
}

// fetch cuts a bucket into batches and sees to it that they are decoded.
func fetch[R, V any](b *bbolt.Bucket, value func(*R) V, batches chan<- *batch[V]) error {
	next := new(batch[V])
	send := func() {
		full := next
		next = new(batch[V])
		full.decoded = make(chan error, 1)
		batches <- full
		go func() { full.decoded <- guard(func() error { return decodeBatch(full, value) }) }()
	}
	err := b.ForEach(func(key, record []byte) error {
		next.keys, next.records = append(next.keys, key), append(next.records, record)
		if len(next.keys) == batchSize {
			send()
		}
		return nil
	})
	send()
	return err
}

func decodeBatch[R, V any](b *batch[V], value func(*R) V) error {
	b.values = make([]V, len(b.records))
	var r R
	for n, record := range b.records {
		if err := decode(b.keys[n], record, &r); err != nil {
			return err
		}
		b.values[n] = value(&r)
		b.digest += uint64(digest(record))
		var none R
		r = none
	}
	return nil
}
