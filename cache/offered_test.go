package cache

import (
	"math/rand/v2"
	"testing"
)

func TestWhatWasOfferedIsToldApart(t *testing.T) {
	o := newOffered(64 << 20)
	for range 50_000 {
		hash := rand.Uint64()
		if o.add(hash); !o.has(hash) {
			t.Fatalf("%x was offered, and is not known", hash)
		}
	}
	wrong := 0
	for range 100_000 {
		if o.has(rand.Uint64()) {
			wrong++
		}
	}
	if wrong > 8_000 {
		t.Errorf("%d of 100,000 are said to have been offered, and were not", wrong)
	}
}

func TestWhatWasOfferedIsForgottenWhenItIsMuch(t *testing.T) {
	o := newOffered(0)
	for range 1 << 20 {
		hash := rand.Uint64()
		if o.add(hash); !o.has(hash) {
			t.Fatalf("%x was offered, and is not known", hash)
		}
	}
	known := 0
	for range 100_000 {
		if o.has(rand.Uint64()) {
			known++
		}
	}
	if known > 26_000 {
		t.Errorf("%d of 100,000 are said to have been offered", known)
	}
}
