package chaos

import (
	"syscall"
	"testing"
)

// mountSmall puts a file system of a few mebibytes on a directory, until the test
// ends. It tells whether it may.
func mountSmall(t testing.TB, dir string) bool {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		return false
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return true
}
