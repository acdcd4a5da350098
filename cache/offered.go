package cache

import "sync/atomic"

// offered tells of most questions that their answers were never put into the
// Cache: those for made-up names, of which there may be a flood, are told apart
// without a lock. It has a bit for each hash, which many hashes share.
//
// When a quarter of the bits are set it forgets all of them. Answers that are in
// the Cache are not found then until they are put into it again.
type offered struct {
	words []atomic.Uint64 // a power of two of them
	most  int64           // bits that may be set
	set   atomic.Int64
}

// newOffered returns one for a Cache of so many octets: the bits are several times
// as many as the answers that it has room for.
func newOffered(maxBytes int64) *offered {
	n := 1 << 10
	for int64(n) < maxBytes>>12 {
		n *= 2
	}
	return &offered{words: make([]atomic.Uint64, n), most: int64(n) * 64 / 4}
}

func (o *offered) at(hash uint64) (word *atomic.Uint64, bit uint64) {
	return &o.words[hash>>6%uint64(len(o.words))], 1 << (hash % 64)
}

func (o *offered) has(hash uint64) bool {
	word, bit := o.at(hash)
	return word.Load()&bit != 0
}

func (o *offered) add(hash uint64) {
	word, bit := o.at(hash)
	if word.Or(bit)&bit == 0 && o.set.Add(1) == o.most {
		for i := range o.words {
			o.words[i].Store(0)
		}
		o.set.Store(0)
		word.Or(bit)
	}
}
