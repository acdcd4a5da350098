// Package cache keeps DNS answers as the bytes that go on the wire, each with
// the Stamp of what it was made from.
//
// Pack turns an Answer of package zones into a Packed: records that are complete
// in themselves, so that Append can begin with any of them, drop any of them,
// and put the asker's own question in front. That is all a query costs once its
// answer is here: a look-up, an atomic load and a few copies.
//
// A worker that answers many questions has a Front before the Cache, where it
// shares no memory that is written to with another core. Names that do not exist
// are in neither: a zone's Denial is the reply to them all, but for the name and
// the reason.
//
// The invariant: no answer outlives its truth. Get returns nothing whose Stamp
// was superseded, whatever the store underneath still holds. The store is
// ristretto, which may forget or refuse an answer at any time; that makes the
// next query slower and never wrong, because the truth is the View and the cache
// is only ever filled from it.
//
// How an answer is put together is decided in zones; what a datagram may hold
// and who may ask is decided in dnsserver. Neither is known here.
package cache

import (
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says how large a Cache is. The zero value is ready to use.
type Config struct {
	MaxBytes   int64                 // of memory for answers; 0: 64 MiB
	MaxAnswers int                   // records in an RRset; 0: 100, more than which BIND refuses
	Metrics    prometheus.Registerer // nil: none
}

// Cache holds packed answers by their question. Its methods may be called from
// any goroutine.
type Cache struct {
	*shelf
	seed       maphash.Seed // of this Cache: nobody outside can make keys collide
	offered    *offered
	maxAnswers int
}

// shelf is the memory of a Cache, and of those that succeed it.
type shelf struct {
	store    *ristretto.Cache[uint64, *Packed]
	maxBytes int64
	packers  sync.Pool // of *packer

	hits, misses    [stripes]stripe
	evicted, denied atomic.Uint64
}

// stripes is how many memory lines a count is spread over, by the hash of the
// key: cores that answer different names do not wait for each other.
const stripes = 16

type stripe struct {
	n atomic.Uint64
	_ [56]byte
}

// New returns an empty Cache.
func New(config Config) (*Cache, error) {
	if config.MaxBytes == 0 {
		config.MaxBytes = 64 << 20
	}
	if config.MaxAnswers == 0 {
		config.MaxAnswers = 100
	}
	c := &Cache{shelf: &shelf{maxBytes: config.MaxBytes}, seed: maphash.MakeSeed(), offered: newOffered(config.MaxBytes), maxAnswers: config.MaxAnswers}
	c.packers.New = func() any { return newPacker() }
	var err error
	c.store, err = ristretto.NewCache(&ristretto.Config[uint64, *Packed]{
		MaxCost: config.MaxBytes,
		// Ten counters an answer of about 1 kB, as ristretto advises.
		NumCounters: max(config.MaxBytes/100, 1000),
		BufferItems: 64,
		KeyToHash:   func(hash uint64) (uint64, uint64) { return hash, 0 },
		OnEvict:     func(*ristretto.Item[*Packed]) { c.evicted.Add(1) },
		OnReject:    func(*ristretto.Item[*Packed]) { c.denied.Add(1) },
	})
	if err != nil {
		return nil, fmt.Errorf("making a cache of %d bytes: %w", config.MaxBytes, err)
	}
	if err := c.register(config.Metrics); err != nil {
		c.Close()
		return nil, fmt.Errorf("registering the cache's metrics: %w", err)
	}
	return c, nil
}

// Successor returns a Cache in which nothing is found yet, for answers that are
// made in another way from now on. It has the memory and the metrics of c, and is
// closed with it. Whoever still works with c goes on to, and neither finds what the
// other keeps: a key has another hash in each. What c has kept makes room in time.
func (c *Cache) Successor(maxAnswers int) *Cache {
	return &Cache{shelf: c.shelf, seed: maphash.MakeSeed(), offered: newOffered(c.maxBytes), maxAnswers: maxAnswers}
}

// Get returns the answer to a question, or nil where there is none that is still
// true. The key is the question's name on the wire in lower case, followed by the
// two octets of its type. Nothing is allocated.
func (c *Cache) Get(key []byte) *Packed {
	hash := maphash.Bytes(c.seed, key)
	p := c.get(hash, key)
	if p == nil {
		c.misses[hash%stripes].n.Add(1)
		return nil
	}
	c.hits[hash%stripes].n.Add(1)
	return p
}

// get is Get without counting. The policy of the store, which notes whatever it
// is asked for, does not hear of questions whose answers are not there: most of
// them, in a flood of made-up names, never will be.
func (c *Cache) get(hash uint64, key []byte) *Packed {
	if !c.offered.has(hash) {
		return nil
	}
	if _, there := c.store.GetTTL(hash); !there {
		return nil
	}
	p, ok := c.store.Get(hash)
	// A hash is no identity: another question may share it.
	if !ok || p.key != string(key) || !p.stamp.Current() {
		return nil
	}
	return p
}

// Put offers an answer to the Cache, which need not take it. One that must not
// be kept, or is no longer true, is ignored.
func (c *Cache) Put(p *Packed) {
	if !p.cacheable || !p.stamp.Current() {
		return
	}
	hash := maphash.String(c.seed, p.key)
	c.offered.add(hash)
	c.store.Get(hash) // so that the policy notes that it was asked for
	if !c.store.Set(hash, p, p.cost()) {
		c.denied.Add(1)
	}
}

// Close ends the Cache's goroutines. Nobody may be in Put by then, or be there
// again: ristretto panics. Get finds nothing after it.
func (c *Cache) Close() { c.store.Close() }

// register publishes the Cache's figures under rollcall_cache_.
func (c *Cache) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	counter := func(name, help string, value func() uint64) prometheus.Collector {
		opts := prometheus.CounterOpts{Namespace: "rollcall", Subsystem: "cache", Name: name, Help: help}
		return prometheus.NewCounterFunc(opts, func() float64 { return float64(value()) })
	}
	gauge := func(name, help string, value func() int64) prometheus.Collector {
		opts := prometheus.GaugeOpts{Namespace: "rollcall", Subsystem: "cache", Name: name, Help: help}
		return prometheus.NewGaugeFunc(opts, func() float64 { return float64(value()) })
	}
	for _, collector := range []prometheus.Collector{
		counter("hits_total", "Questions whose packed answer was in the cache and still true.", func() uint64 { return sum(&c.hits) }),
		counter("misses_total", "Questions whose answer had to be made from the view.", func() uint64 { return sum(&c.misses) }),
		counter("evictions_total", "Answers that made room for others.", c.evicted.Load),
		counter("sets_dropped_total", "Answers that the cache did not take, being busy or full of more popular ones.", c.denied.Load),
		gauge("cost_bytes", "Memory that the cached answers take.", func() int64 { return c.store.MaxCost() - c.store.RemainingCost() }),
		gauge("max_cost_bytes", "Memory that the cached answers may take.", c.store.MaxCost),
	} {
		if err := r.Register(collector); err != nil {
			return err
		}
	}
	return nil
}

func sum(s *[stripes]stripe) uint64 {
	var total uint64
	for i := range s {
		total += s[i].n.Load()
	}
	return total
}
