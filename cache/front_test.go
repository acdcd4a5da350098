package cache

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// TestAFrontFindsAtOnceWhatItKeeps keeps an answer, which the Cache has from Publish on,
// until it is true no more.
func TestAFrontFindsAtOnceWhatItKeeps(t *testing.T) {
	c := newCache(t)
	f := c.NewFront()
	k, _ := key(t, "web.test.", dns.TypeA)
	stamp := new(registry.Stamp)
	p := pack(t, c, k, answer(t, stamp, "web.test. 5 IN A 10.0.0.1"))
	f.Keep(f.Hash(k), p)
	if got, _ := f.Get(f.Hash(k), k); got != p {
		t.Error("the front does not find it")
	}
	if c.Get(k) != nil {
		t.Error("the cache has it before it was published")
	}
	f.Publish()
	c.store.Wait()
	if c.Get(k) != p {
		t.Error("the cache does not have it after it was published")
	}
	registry.Supersede(func() {}, stamp)
	if got, _ := f.Get(f.Hash(k), k); got != nil {
		t.Error("it outlived its truth")
	}
}

// TestAFrontKeepsNothingThatMustNotBe keeps an answer that is for one client, and another
// that was superseded before it is published.
func TestAFrontKeepsNothingThatMustNotBe(t *testing.T) {
	c := newCache(t)
	f := c.NewFront()
	k, _ := key(t, "web.test.", dns.TypeA)
	once := answer(t, nil, "web.test. 5 IN A 10.0.0.1")
	once.Cacheable = false
	f.Keep(f.Hash(k), pack(t, c, k, once))
	if got, _ := f.Get(f.Hash(k), k); got != nil {
		t.Error("the front keeps what must not be kept")
	}
	stamp := new(registry.Stamp)
	f.Keep(f.Hash(k), pack(t, c, k, answer(t, stamp, "web.test. 5 IN A 10.0.0.1")))
	registry.Supersede(func() {}, stamp)
	f.Publish()
	c.store.Wait()
	if c.Get(k) != nil {
		t.Error("the cache was given what is true no more")
	}
}

// TestWhatIsAskedForOnceMakesNoRoomForItself keeps answers that nobody asks for again,
// more than there is room for, beside some that are asked for.
func TestWhatIsAskedForOnceMakesNoRoomForItself(t *testing.T) {
	c := newCache(t)
	f := c.NewFront()
	popular, _ := key(t, "web.test.", dns.TypeA)
	hash := f.Hash(popular)
	p := pack(t, c, popular, answer(t, nil, "web.test. 5 IN A 10.0.0.1"))
	f.Keep(hash, p)
	for n := range 10 * len(set{}) {
		k, _ := key(t, fmt.Sprintf("w%d.test.", n), dns.TypeA)
		f.Keep(hash+uint64(n+1)<<32, pack(t, c, k, answer(t, nil, "web.test. 5 IN A 10.0.0.1"))) // into the same set
	}
	if got, _ := f.Get(hash, popular); got != p {
		t.Error("it had to go")
	}
}
