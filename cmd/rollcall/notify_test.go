package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheServiceManagerIsTold(t *testing.T) {
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	t.Setenv("NOTIFY_SOCKET", socket.LocalAddr().String())
	t.Setenv("WATCHDOG_USEC", "200000")
	t.Setenv("WATCHDOG_PID", "")
	wants := func(line string) {
		t.Helper()
		buffer := make([]byte, 4096)
		for {
			_ = socket.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, err := socket.Read(buffer)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if strings.Contains(string(buffer[:n])+"\n", line+"\n") {
				return
			}
		}
	}
	t.Run("while it runs", func(t *testing.T) {
		s := running(t)
		wants("READY=1")
		wants("STATUS=1 services, 1 instances")
		wants("WATCHDOG=1")
		wants("WATCHDOG=1")
		if _, err := s.reload(t.Context()); err == nil {
			t.Error("settings from nowhere were read anew")
		}
		wants("RELOADING=1")
		wants("READY=1")
	})
	wants("STOPPING=1")
}
