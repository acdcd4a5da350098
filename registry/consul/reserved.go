package consul

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// No index falls, however often and soon rollcall is killed: an index is reserved on
// disk before a View is shown that has it, and after a start the View begins beyond all
// that were. The View on disk alone cannot say that, as it is written now and then.

// reserveMore is how many indexes are reserved beyond the one at hand, so that the file
// is seldom written. Each start leaps over as many at most.
const reserveMore = 4096

// reserved is how far indexes are. Its methods are called with Registry.mu held, or
// before anybody else has the Registry.
type reserved struct {
	file string // empty: nothing is kept
	upTo uint64
}

// read learns what was reserved before this start.
func (s *reserved) read() error {
	if s.file == "" {
		return nil
	}
	data, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	text, err := unsealed(data)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.file, err)
	}
	upTo, err := strconv.ParseUint(strings.TrimSuffix(string(text), "\n"), 10, 64)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.file, err)
	}
	s.upTo = upTo
	return nil
}

// cover sees to it that an index is reserved. Where it cannot be written down the index
// counts as reserved for as long as this process lives.
func (s *reserved) cover(index uint64) error {
	if s.file == "" || index <= s.upTo {
		return nil
	}
	s.upTo = index + reserveMore
	return replaceFile(s.file, func(w io.Writer) error {
		_, err := io.WriteString(w, reservation(s.upTo))
		return err
	})
}

// reservation is the text of the file.
func reservation(upTo uint64) string {
	text := fmt.Sprintf("%d\n", upTo)
	return text + seal(crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}

// replaceFile writes a file whole and puts it in the place of the one of its name, if
// there is one.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(file.Name())
		}
	}()
	if err := errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	opened, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}
