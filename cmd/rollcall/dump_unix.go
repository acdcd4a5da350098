//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

func notifyDumps(dumps chan<- os.Signal) { signal.Notify(dumps, syscall.SIGUSR1) }
