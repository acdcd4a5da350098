package main

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/rollcall-dns/rollcall/registry/admin"
)

// tokenFile is the file of the admin endpoint's tokens. It is read again when it
// has changed, so that a token can be taken away without a restart. What cannot
// be read leaves those tokens in force that were.
type tokenFile struct {
	path   string
	logger *slog.Logger

	mu      sync.Mutex
	looked  time.Time // when the file was looked at last
	changed time.Time // when it was written, as of then
	size    int64
	all     []admin.Token
}

// lookEvery is how long a change to the file may go unnoticed.
const lookEvery = time.Second

func openTokenFile(path string, logger *slog.Logger) (*tokenFile, error) {
	f := &tokenFile{path: path, logger: logger}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o007 != 0 {
		logger.Warn("everybody on this machine may read the tokens", "file", path, "mode", info.Mode().Perm().String())
	}
	return f, f.read()
}

// tokens returns the tokens that are in force.
func (f *tokenFile) tokens() []admin.Token {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.looked) >= lookEvery {
		if err := f.read(); err != nil {
			f.logger.Error("the tokens are those from before", "err", err)
		}
	}
	return f.all
}

// read reads the file unless it is as it was.
func (f *tokenFile) read() error {
	f.looked = time.Now()
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if f.all != nil && info.ModTime().Equal(f.changed) && info.Size() == f.size {
		return nil
	}
	f.changed, f.size = info.ModTime(), info.Size()
	all, err := admin.ReadTokens(file)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.all = all
	return nil
}
