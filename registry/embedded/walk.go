package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"go.etcd.io/bbolt"
)

// errPages is the error of a file whose records can all be read, and which must
// not be written to: bbolt would take pages that are in use for free ones, or put
// a record where it does not look for it later.
var errPages = fmt.Errorf("%w: its pages do not add up", errDamaged)

// astray returns errDamaged with what is the matter: bbolt must not go through the pages,
// as it may never come back.
func astray(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

// checkPages looks at all pages before bbolt does. The error is errDamaged unless each
// page that leads to records says of itself what it is, and is met once; amiss is
// errPages unless all others are free, and each key is where bbolt looks for it.
func checkPages(tx *bbolt.Tx) (amiss, err error) {
	metas, err := readMetas(tx.DB())
	if err != nil {
		return nil, astray("the meta pages cannot be read: %v", err)
	}
	file, err := os.Open(tx.DB().Path())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for _, m := range metas {
		if m.whole && m.txid == uint64(tx.ID()) {
			w := walk{file: file, size: tx.DB().Info().PageSize}
			err := w.all(m)
			return w.amiss, err
		}
	}
	return nil, astray("no meta page is of transaction %d", tx.ID())
}

// walk goes through the pages of a file as bbolt does, and believes none of them.
type walk struct {
	file    io.ReaderAt
	size    int      // of a page, in octets
	known   []bool   // pages that were met, by their numbers
	buffers [][]byte // a page for each depth of a tree
	amiss   error    // what keeps no record from being read
}

// note keeps the first thing that is amiss.
func (w *walk) note(format string, args ...any) {
	if w.amiss == nil {
		w.amiss = fmt.Errorf("%w: %s", errPages, fmt.Sprintf(format, args...))
	}
}

// all visits what a transaction has made.
func (w *walk) all(m meta) error {
	if _, err := w.file.ReadAt(make([]byte, 1), int64(m.pages)*int64(w.size)-1); err != nil {
		return astray("the file is cut short: %v", err)
	}
	w.known = make([]bool, m.pages)
	if err := errors.Join(w.meet(0, 2), w.tree(m.root, 0, nil, nil)); err != nil {
		return err
	}
	if err := w.freeList(m.freeList); err != nil {
		w.note("%v", err)
	}
	if id := slices.Index(w.known, false); id >= 0 {
		w.note("page %d is neither in use nor free", id)
	}
	return nil
}

// meet notes that pages were met, each for the first time.
func (w *walk) meet(id, pages uint64) error {
	if total := uint64(len(w.known)); id >= total || pages > total-id {
		return astray("page %d is beyond the end", id)
	}
	for n := id; n < id+pages; n++ {
		if w.known[n] {
			return astray("page %d is in use twice", n)
		}
		w.known[n] = true
	}
	return nil
}

// freeList visits the list of free pages. Where they are many, their number comes
// before them.
func (w *walk) freeList(id uint64) error {
	p, err := w.page(id, 0)
	if err != nil {
		return err
	}
	const many = 0xffff
	at, count := pageHeader, uint64(p.count)
	if head, ok := p.cut(pageHeader, 8); ok && p.count == many {
		at, count = pageHeader+8, binary.NativeEndian.Uint64(head)
	}
	list, ok := p.cut(at, 8*int(min(count, uint64(len(p.text)))))
	if !ok || p.kind != pageOfFree {
		return astray("page %d is no list of %d free pages", id, count)
	}
	for ; len(list) > 0; list = list[8:] {
		if err := w.meet(binary.NativeEndian.Uint64(list), 1); err != nil {
			return err
		}
	}
	return nil
}

// tree visits a page and all below it. Its first key is the one by which another page
// leads to it, or bbolt would not find that again to change it, and all are before the
// next one there; nil: no page does, or there is no next one.
func (w *walk) tree(id uint64, depth int, first, next []byte) error {
	p, err := w.page(id, depth)
	if err != nil {
		return err
	}
	if p.kind == pageOfRecords {
		return w.leaf(p, depth, first, next)
	}
	if p.kind != pageOfPages || p.count == 0 {
		return astray("page %d is of kind %#x, with %d elements", id, p.kind, p.count)
	}
	for n := range p.count {
		key, child, ok := p.child(n)
		if !ok {
			return astray("page %d has half an element", id)
		}
		end := next
		if n+1 < p.count {
			end, _, _ = p.child(n + 1)
		}
		if !fits(key, first, end) {
			w.note("page %d leads astray", id)
		}
		if err := w.tree(child, depth+1, key, end); err != nil {
			return err
		}
		first = nil
	}
	return nil
}

// fits tells whether a key is the one that has to be there, and before the next one; nil:
// there is no such one.
func fits(key, first, next []byte) bool {
	return len(key) > 0 && (first == nil || bytes.Equal(key, first)) && (next == nil || bytes.Compare(key, next) < 0)
}

// leaf visits a page of records, and of buckets.
func (w *walk) leaf(p page, depth int, first, next []byte) error {
	if p.count == 0 && first != nil {
		w.note("page %d is empty", p.id)
	}
	var last []byte
	for n := range p.count {
		key, value, flags, ok := p.record(n)
		if !ok {
			return astray("page %d has half a record %d", p.id, n)
		}
		if flags > bucketFlag || !fits(key, first, next) || last != nil && bytes.Compare(last, key) >= 0 {
			w.note("page %d has record %d in a wrong place", p.id, n)
		}
		last, first = key, nil
		if flags&bucketFlag == 0 {
			continue
		}
		if err := w.bucket(value, depth); err != nil {
			return err
		}
	}
	return nil
}

// bucket visits a bucket. A small one has its only page right behind its header.
func (w *walk) bucket(value []byte, depth int) error {
	if len(value) < bucketHeader {
		return astray("a bucket is cut short")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return w.tree(root, depth+1, nil, nil)
	}
	p, ok := newPage(value[bucketHeader:])
	if !ok || p.id != 0 || p.kind != pageOfRecords || p.over != 0 {
		return astray("a small bucket has page %d of kind %#x", p.id, p.kind)
	}
	return w.leaf(p, depth, nil, nil)
}

// page reads a page, and those that it flows over into. It is valid until the next
// one of its depth.
func (w *walk) page(id uint64, depth int) (page, error) {
	if err := w.meet(id, 1); err != nil {
		return page{}, err
	}
	for len(w.buffers) <= depth {
		w.buffers = append(w.buffers, make([]byte, w.size))
	}
	at := int64(id) * int64(w.size)
	if _, err := w.file.ReadAt(w.buffers[depth][:w.size], at); err != nil {
		return page{}, astray("page %d cannot be read: %v", id, err)
	}
	p, _ := newPage(w.buffers[depth][:w.size])
	if p.id != id {
		return p, astray("page %d takes itself for page %d", id, p.id)
	}
	if p.over == 0 {
		return p, nil
	}
	if p.over >= uint64(len(w.known)) { // its records tell whether they are all there
		w.note("page %d claims %d pages more", id, p.over)
		return p, nil
	}
	if err := w.meet(id+1, p.over); err != nil {
		return p, err
	}
	whole := (int(p.over) + 1) * w.size
	w.buffers[depth] = slices.Grow(w.buffers[depth][:0], whole)
	p.text = w.buffers[depth][:whole]
	if _, err := w.file.ReadAt(p.text, at); err != nil {
		return p, astray("page %d cannot be read: %v", id, err)
	}
	return p, nil
}

// page is a page of bbolt's: a header, elements of one size, and what these point to.
type page struct {
	id    uint64
	kind  uint16
	count int    // of elements
	over  uint64 // pages that it flows over into
	text  []byte // all of it
}

// The layout of pages, in the machine's byte order.
const (
	pageHeader   = 16
	elementSize  = 16
	bucketHeader = 16

	pageOfPages   = 0x01
	pageOfRecords = 0x02
	pageOfFree    = 0x10

	bucketFlag = 0x01 // of a record that is a bucket
)

func newPage(text []byte) (p page, ok bool) {
	if len(text) < pageHeader {
		return page{}, false
	}
	order := binary.NativeEndian
	return page{order.Uint64(text), order.Uint16(text[8:]), int(order.Uint16(text[10:])), uint64(order.Uint32(text[12:])), text}, true
}

// cut returns a part of the page.
func (p page) cut(at, size int) (part []byte, ok bool) {
	if at > len(p.text) || size > len(p.text)-at {
		return nil, false
	}
	return p.text[at : at+size : at+size], true
}

// child returns an element of a page of pages: where the keys of a page begin, if that
// can be read, and which page that is.
func (p page) child(n int) (key []byte, id uint64, ok bool) {
	at := pageHeader + n*elementSize
	element, ok := p.cut(at, elementSize)
	if !ok {
		return nil, 0, false
	}
	order := binary.NativeEndian
	key, _ = p.cut(at+int(order.Uint32(element)), int(order.Uint32(element[4:])))
	return key, order.Uint64(element[8:]), true
}

// record returns an element of a page of records.
func (p page) record(n int) (key, value []byte, flags uint32, ok bool) {
	at := pageHeader + n*elementSize
	element, ok := p.cut(at, elementSize)
	if !ok {
		return nil, nil, 0, false
	}
	order := binary.NativeEndian
	size := int(order.Uint32(element[8:]))
	key, found := p.cut(at+int(order.Uint32(element[4:])), size)
	value, whole := p.cut(at+int(order.Uint32(element[4:]))+size, int(order.Uint32(element[12:])))
	return key, value, order.Uint32(element), found && whole && size > 0
}
