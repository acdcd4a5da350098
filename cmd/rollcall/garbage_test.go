package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestASmallRegistryIsNotCollectedAllTheTime looks at what a collection sets, with
// little in use and with much.
func TestASmallRegistryIsNotCollectedAllTheTime(t *testing.T) {
	for live, percent := range map[uint64]int{0: 6400, 10 << 20: 640, 128 << 20: 50, 1 << 30: 50} {
		if got := garbageFor(live); got != percent {
			t.Errorf("with %d MB in use %d %% may be garbage, and not %d", live>>20, got, percent)
		}
	}
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	boundGarbage(ctx)
	set := func(right func(percent int) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; runtime.GC() {
			percent := debug.SetGCPercent(-1)
			debug.SetGCPercent(percent)
			if right(percent) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d %% may be garbage", percent)
			}
		}
	}
	set(func(percent int) bool { return percent > 100 })
	much := make([]byte, 512<<20)
	set(func(percent int) bool { return percent == garbagePercent })
	runtime.KeepAlive(much)
	set(func(percent int) bool { return percent > 100 })
}
