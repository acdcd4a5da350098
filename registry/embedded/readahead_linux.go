package embedded

import (
	"os"

	"golang.org/x/sys/unix"
)

// readAheadStep is how much of a file the kernel is told to read at once; of a longer
// piece it reads no more than the device's own window, which is this much or more.
const readAheadStep = 128 << 10 // octets

// readAhead has the kernel read a file, as far as it has not, and does not wait for it.
// All of it is about to be read, from front to end, while bbolt says of its map that
// pages are wanted at random: without this each page is waited for by itself. A file
// that cannot be opened is left to who reads it.
func readAhead(path string) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return
	}
	for at := int64(0); at < info.Size(); at += readAheadStep {
		if unix.Fadvise(int(file.Fd()), at, readAheadStep, unix.FADV_WILLNEED) != nil {
			return
		}
	}
}
