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
// it writes to a file: whether both meta pages are whole, and whether the pages
// add up.

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

// errPages is the error of a file whose records can all be read, and which must
// not be written to: bbolt would take pages that are in use for free ones.
var errPages = fmt.Errorf("%w: its pages do not add up", errDamaged)

// checkPages returns errPages unless each page is in use once, or else free. A
// damaged list of free pages or a damaged size of a page shows in the sums.
func checkPages(tx *bbolt.Tx) error {
	if file, err := os.Stat(tx.DB().Path()); err != nil || file.Size() < tx.Size() {
		return errors.Join(errPages, err)
	}
	pages := int(tx.Size() / int64(tx.DB().Info().PageSize))
	span := make(map[string]int) // pages by what they are, read one after the other
	for id := 0; id < pages; {
		p, err := tx.Page(id)
		if err != nil {
			return err
		}
		size := 1
		if p.Type != "free" { // of a free page, the rest is of no meaning
			size += p.OverflowCount
		}
		span[p.Type] += size
		id += size
	}
	free := 0
	for id := range pages {
		if p, err := tx.Page(id); err == nil && p.Type == "free" {
			free++
		}
	}
	id, err := pageOfFreeList(tx)
	if err != nil {
		return err
	}
	list, err := tx.Page(id)
	if err != nil || list == nil {
		return errors.Join(errPages, err)
	}
	used := tx.Cursor().Bucket().Stats() // read from the root down
	if span["meta"] != 2 || span["free"] != free ||
		list.Type != "freelist" || span["freelist"] != 1+list.OverflowCount ||
		span["leaf"] != used.LeafPageN+used.LeafOverflowN ||
		span["branch"] != used.BranchPageN+used.BranchOverflowN ||
		span["meta"]+span["free"]+span["leaf"]+span["branch"]+span["freelist"] != pages {
		return errPages
	}
	return nil
}

// pageOfFreeList returns the number of the page that the list of free pages is on.
func pageOfFreeList(tx *bbolt.Tx) (int, error) {
	metas, err := readMetas(tx.DB())
	for _, m := range metas {
		if m.whole && m.txid == uint64(tx.ID()) {
			return int(m.freeList), err
		}
	}
	return 0, errors.Join(errPages, err)
}

// meta is one of the two meta pages. bbolt writes them in turn, and the one of
// the later transaction is the truth. Where that is damaged it takes the other
// one and says nothing, although the last transaction is then missing.
type meta struct {
	whole          bool
	txid, freeList uint64
}

// The layout of a meta page, in the machine's byte order: a header, the magic
// number and the version, what the transaction made, and a checksum.
const (
	metaStart    = 16
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	metaFreeList = 32
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
			freeList: order.Uint64(page[metaFreeList:]),
		}
	}
	return metas, nil
}

// newestMayBeLost tells whether one of the meta pages is damaged, or the other one was
// written in its place, too.
func newestMayBeLost(metas [2]meta) bool {
	return !metas[0].whole || !metas[1].whole || metas[0].txid == metas[1].txid
}
