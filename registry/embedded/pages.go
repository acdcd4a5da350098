package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// bbolt's pages bear no checksums but for its two meta pages, and it trusts
// them: on one that makes no sense it panics, and pages that a damaged list
// calls free it writes over. What it does not look at, rollcall looks at before
// it writes to a file: whether both meta pages are whole, and whether the other
// pages are those that bbolt takes them for; see walk.

// errPanic is the error of a call into bbolt that panicked.
var errPanic = errors.New("the file makes no sense to bbolt")

// guard calls into bbolt. A panic becomes errPanic, and so does a fault, as of
// a map of a file that was cut short.
func guard(call func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	return call()
}

// meta is one of the two meta pages. bbolt writes them in turn, and the one of
// the later transaction is the truth. Where that is damaged it takes the other
// one and says nothing, although the last transaction is then missing.
type meta struct {
	whole    bool
	txid     uint64
	root     uint64 // page of the bucket that the others are in
	freeList uint64 // page of the list of free pages
	pages    uint64 // how many there are
}

// The layout of a meta page, in the machine's byte order: a header, the magic
// number and the version, what the transaction made, and a checksum.
const (
	metaStart    = 16
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	metaRoot     = 16
	metaFreeList = 32
	metaPages    = 40
	metaTxid     = 48
	metaSum      = 56
	metaSize     = 64
)

// readMetas reads the meta pages of an open file from the disk.
func readMetas(db *bbolt.DB) (metas [2]meta, err error) {
	f, err := os.Open(db.Path())
	if err != nil {
		return metas, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for n := range metas {
		page := make([]byte, metaSize)
		if _, err := f.ReadAt(page, int64(n*db.Info().PageSize+metaStart)); err != nil {
			return metas, err
		}
		sum := fnv.New64a()
		sum.Write(page[:metaSum])
		order := binary.NativeEndian
		metas[n] = meta{
			whole: order.Uint32(page) == metaMagic && order.Uint32(page[4:]) == metaVersion &&
				order.Uint64(page[metaSum:]) == sum.Sum64(),
			txid:     order.Uint64(page[metaTxid:]),
			root:     order.Uint64(page[metaRoot:]),
			freeList: order.Uint64(page[metaFreeList:]),
			pages:    order.Uint64(page[metaPages:]),
		}
	}
	return metas, nil
}

// newestMayBeLost tells whether one of the meta pages is damaged, or the other one was
// written in its place, too.
func newestMayBeLost(metas [2]meta) bool {
	return !metas[0].whole || !metas[1].whole || metas[0].txid == metas[1].txid
}
