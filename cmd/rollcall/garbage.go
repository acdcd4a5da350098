package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much garbage is let lie about. Most of what is in use is the registry, and
// stays; Go's own choice, as much garbage again, would be half of the memory of a
// large one. Of a small one, half is so little that it would be collected all the
// time.
const (
	garbagePercent = 50       // of what is in use
	garbageLeast   = 64 << 20 // octets
)

// boundGarbage sets how much garbage is let lie about, after each time that it was
// collected, until ctx ends.
func boundGarbage(ctx context.Context) {
	percent := debug.SetGCPercent(garbagePercent)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var collected func(struct{})
	collected = func(struct{}) {
		if ctx.Err() != nil {
			return
		}
		metrics.Read(live)
		if p := garbageFor(live[0].Value.Uint64()); p != percent {
			percent = p
			debug.SetGCPercent(p)
		}
		runtime.AddCleanup(new([16]*byte), collected, struct{}{}) // the next collection finds it unused
	}
	collected(struct{}{})
}

// garbageFor returns how many percent of so many octets in use may be garbage.
func garbageFor(live uint64) int {
	return max(garbagePercent, int(garbageLeast*100/max(live, 1<<20)))
}
