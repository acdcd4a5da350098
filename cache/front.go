package cache

import (
	"hash/maphash"
	"math/rand/v2"
)

// Front is what one worker keeps in front of the Cache: the small answers that
// it gave last, where no other core writes. Finding one there takes neither a
// lock nor a note for ristretto's policy, which together cost more than the rest
// of a reply. It belongs to one goroutine, and holds some megabytes at most.
//
// Like the Cache it compares whole questions and returns nothing that is no
// longer true.
type Front struct {
	cache *Cache
	sets  []set
	found uint64    // here, all in all
	kept  []*Packed // since the last Publish

	hits, misses uint64 // since the last Publish
	warmed       uint64 // keeps the compiler from leaving out what Warm does

	_ [128]byte // no other worker's lies in the same line of memory
}

// A set holds the answers whose hashes end alike, the newer ones first. It fills
// a line of memory.
type set [4]held

type held struct {
	packed *Packed
	tag    uint32 // the upper half of the hash
	turn   uint32 // of this worker: no other core waits for it
}

const (
	frontSets  = 2048 // a power of two
	frontBytes = 2048 // what an answer may take to be held here
	// frontSample is how many are found here to each that the policy of the Cache
	// learns of, a power of two: what is asked for often is to stay there, too.
	frontSample = 64
)

// NewFront returns an empty Front.
func (c *Cache) NewFront() *Front { return &Front{cache: c, sets: make([]set, frontSets)} }

// Hash returns the hash of a question, for the methods below.
func (f *Front) Hash(key []byte) uint64 { return maphash.Bytes(f.cache.seed, key) }

// WarmLen is how many questions are worth to be warmed together.
const WarmLen = 16

// Warm reads what Get and Append are going to read for up to WarmLen questions,
// of these hashes. Each loop asks for memory that the next one needs, and none
// waits for it but once: the memory of all answers comes in at the same time,
// where to answer one after the other would wait for each.
func (f *Front) Warm(hashes []uint64) {
	var space [WarmLen]*Packed
	answers, sum := space[:0], uint64(0)
	for _, hash := range hashes {
		set := &f.sets[hash%frontSets]
		for i := range set {
			if h := &set[i]; h.tag == uint32(hash>>32) && h.packed != nil {
				answers = append(answers, h.packed)
				break
			}
		}
	}
	for _, p := range answers {
		sum += p.warmSelf()
	}
	for _, p := range answers {
		sum += p.warmParts()
	}
	f.warmed += sum
}

// Get returns the answer to a question as Cache.Get does, and its next turn.
func (f *Front) Get(hash uint64, key []byte) (p *Packed, turn uint32) {
	set := &f.sets[hash%frontSets]
	for i := range set {
		h := &set[i]
		if h.tag != uint32(hash>>32) || h.packed == nil || h.packed.key != string(key) {
			continue
		}
		if !h.packed.stamp.Current() {
			*h = held{}
			break
		}
		h.turn++
		f.hits++
		if f.found++; f.found%frontSample == 0 {
			f.cache.store.Get(hash)
		}
		return h.packed, h.turn
	}
	if p = f.cache.get(hash, key); p == nil {
		f.misses++
		return nil, 0
	}
	f.hits++
	if p.cost() <= frontBytes {
		copy(set[1:], set[:])
		set[0] = held{p, uint32(hash >> 32), rand.Uint32()}
	}
	return p, p.Turn()
}

// Keep holds the answer to a question of this hash that was not found. The Cache is
// offered it by Publish. It takes the place of none that was asked for twice, as long as
// there is another.
func (f *Front) Keep(hash uint64, p *Packed) {
	if !p.cacheable {
		return
	}
	f.kept = append(f.kept, p)
	if p.cost() > frontBytes {
		return
	}
	set := &f.sets[hash%frontSets]
	place := len(set) - 1
	for i := range set {
		if set[i].packed == nil {
			place = i
			break
		}
	}
	set[place] = held{p, uint32(hash >> 32), rand.Uint32()}
}

// Publish offers to the Cache what was kept, and adds to its metrics what was found, and
// what was not, since the last time. To offer something wakes up who writes the Cache,
// which takes longer than a reply: that is for when the replies have left.
func (f *Front) Publish() {
	for i, p := range f.kept {
		f.cache.Put(p)
		f.kept[i] = nil
	}
	f.kept = f.kept[:0]
	if f.hits > 0 {
		f.cache.hits[f.hits%stripes].n.Add(f.hits)
		f.hits = 0
	}
	if f.misses > 0 {
		f.cache.misses[f.misses%stripes].n.Add(f.misses)
		f.misses = 0
	}
}
