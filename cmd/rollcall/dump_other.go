//go:build !unix

package main

import "os"

// notifyDumps does nothing where there is no SIGUSR1.
func notifyDumps(chan<- os.Signal) {}
