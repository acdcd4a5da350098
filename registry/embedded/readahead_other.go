//go:build !linux

package embedded

// readAhead does nothing where the kernel is not to be told what will be read.
func readAhead(string) {}
