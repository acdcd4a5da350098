package static

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// interval is how often a file is looked at. A change is read when it was seen
// the same twice, so that a file is not read while somebody writes it.
const interval = 400 * time.Millisecond

// File is the master file of a zone. It is read anew when it, or a file that it
// includes, changes: in place, by a rename, or by another target of a symbolic
// link, as in a mounted ConfigMap.
type File struct {
	name   string
	path   string
	logger *slog.Logger
	zone   atomic.Pointer[Zone]

	read   []string  // the names of the files in path's directory that were read last
	seen   signature // of them, then
	failed atomic.Bool
	counts [2]atomic.Uint64 // of readings that failed, and that did not
}

// Open reads the master file of a zone. The error begins with the file and the
// line of the mistake.
func Open(name, path string, logger *slog.Logger) (*File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := &File{name: dns.CanonicalName(name), path: path, logger: logger}
	zone, err := f.load()
	if err != nil {
		return nil, err
	}
	f.zone.Store(zone)
	return f, nil
}

// Zone returns what was read last without a mistake. It never waits.
func (f *File) Zone() *Zone { return f.zone.Load() }

// Name returns the zone's name, fully qualified and in lower case.
func (f *File) Name() string { return f.name }

// Path returns where the file is.
func (f *File) Path() string { return f.path }

// Run reads the file whenever it has changed, until ctx ends, and calls changed
// after the Zone was replaced. Where the file has a mistake the old Zone stays, and
// the log tells file and line, once.
func (f *File) Run(ctx context.Context, changed func()) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	last := f.seen
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		now := f.look()
		if now.equal(last) && !now.equal(f.seen) {
			f.reload(changed)
		}
		last = now
	}
}

// reload reads the file and puts the zone that it tells into the place of the old
// one. Whoever finds the old one's Stamp superseded finds the new zone.
func (f *File) reload(changed func()) {
	zone, err := f.load()
	if err != nil {
		f.logger.Error("a zone file is wrong, and the zone stays as it was", "zone", f.name, "err", err)
		return
	}
	old := f.zone.Load()
	registry.Supersede(func() { f.zone.Store(zone) }, &old.stamp)
	switch ahead := int32(zone.Serial() - old.Serial()); { // RFC 1982
	case ahead <= 0 && !zone.sameRecords(old):
		f.logger.Warn("a zone file was read anew, and its serial has not risen: secondaries will not notice",
			"zone", f.name, "file", f.path, "serial", zone.Serial(), "before", old.Serial())
	default:
		f.logger.Info("a zone file was read anew", "zone", f.name, "file", f.path, "serial", zone.Serial(), "records", zone.Len())
	}
	changed()
}

// load reads the file, and notes how it was then. Included files are only looked
// for in its own directory and below it.
func (f *File) load() (zone *Zone, err error) {
	dir, base := filepath.Split(f.path)
	opened := &directory{own: f.path, base: base}
	defer func() {
		f.read, f.seen = opened.names, opened.infos
		if f.failed.Store(err != nil); err != nil {
			f.counts[0].Add(1)
		} else {
			f.counts[1].Add(1)
		}
	}()
	root, err := os.OpenRoot(dir)
	if err != nil {
		opened.note(base, nil)
		return nil, fmt.Errorf("%s: %w", f.path, errors.Unwrap(err))
	}
	defer root.Close()
	opened.FS = root.FS()
	return Parse(f.name, opened, base, dir)
}

// directory is where a zone file is, and notes what is read there. The zone's own
// file may be a link to wherever its owner has it; those that it includes may not.
type directory struct {
	fs.FS
	own, base string
	names     []string
	infos     signature
}

// Open implements fs.FS. It opens only regular files: a pipe would keep us waiting.
func (d *directory) Open(name string) (fs.File, error) {
	stat, open := func() (fs.FileInfo, error) { return fs.Stat(d.FS, name) }, d.FS.Open
	if name == d.base {
		stat, open = func() (fs.FileInfo, error) { return os.Stat(d.own) }, func(string) (fs.File, error) { return os.Open(d.own) }
	}
	info, err := stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("it is no regular file")}
	}
	if err != nil {
		d.note(name, nil)
		return nil, err
	}
	file, err := open(name)
	if err == nil {
		info, err = file.Stat()
	}
	d.note(name, info)
	return file, err
}

func (d *directory) note(name string, info fs.FileInfo) {
	d.names, d.infos = append(d.names, name), append(d.infos, info)
}

// signature tells whether files are as they were.
type signature []fs.FileInfo // nil: the file is not there

// look returns the signature of the files that were read last.
func (f *File) look() signature {
	s := make(signature, len(f.read))
	for i, name := range f.read {
		if info, err := os.Stat(filepath.Join(filepath.Dir(f.path), name)); err == nil {
			s[i] = info
		}
	}
	return s
}

func (s signature) equal(other signature) bool {
	if len(s) != len(other) {
		return false
	}
	for i, a := range s {
		b := other[i]
		if a == nil || b == nil {
			if a != b {
				return false
			}
			continue
		}
		if a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) || !os.SameFile(a, b) {
			return false
		}
	}
	return true
}

// sameRecords tells whether two zones have the same records, but for the SOA.
func (z *Zone) sameRecords(other *Zone) bool {
	if z.records != other.records || len(z.nodes) != len(other.nodes) {
		return false
	}
	for wire, n := range z.nodes {
		theirs := other.nodes[wire]
		if theirs == nil || !n.same(theirs) {
			return false
		}
	}
	return true
}
