package embedded

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cached returns how much of a file is in the kernel's memory, between 0 and 1.
func cached(t testing.TB, path string) float64 {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	memory, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	pages := make([]byte, (len(memory)+os.Getpagesize()-1)/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&memory[0])), uintptr(len(memory)), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	in := 0
	for _, page := range pages {
		in += int(page & 1)
	}
	return float64(in) / float64(len(pages))
}

// forget has the kernel drop what it has of a file, as a reboot does.
func forget(t testing.TB, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if cached(t, path) > 0.1 {
		t.Skip("the file system keeps its files in memory")
	}
}

func TestAllOfAFileIsReadAhead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	content := make([]byte, 16<<20+1)
	rand.Read(content)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	forget(t, path)
	readAhead(path)
	in := cached(t, path)
	for deadline := time.Now().Add(10 * time.Second); in < 0.99 && time.Now().Before(deadline); in = cached(t, path) {
		time.Sleep(time.Millisecond)
	}
	if in < 0.99 {
		t.Errorf("%.0f %% of the file are in memory", 100*in)
	}
}

func BenchmarkLoadAfterAReboot(b *testing.B) {
	dir := fleet(b)
	for b.Loop() {
		b.StopTimer()
		forget(b, filepath.Join(dir, fileName))
		b.StartTimer()
		closed(b, open(b, dir))
	}
}
