package cache

import (
	"math"
	"math/rand/v2"
)

// wheel gives the orders in which a set of records is sent. Each record is first
// in the share of its weight; the others follow in one of a few shuffled
// orders, which begins at the first and wraps around, so that a reply that
// holds only some of them holds different ones each time.
//
// The first is chosen by multiples of the golden ratio: their fractions fall on
// [0, 1) more evenly than chance, and never in a rhythm that a client's own could
// meet, as strict turns would: of two clients that ask alternately each would
// find the same server for ever.
type wheel struct {
	n      int      // records
	heavy  int      // how many of them have a weight; the others come last
	shares []uint32 // where each heavy record's part of [0, 1<<32) ends, less one
	heads  []uint16 // for each order and heavy record, where in the order that stands
	orders []uint16 // orderCount orders of n indexes into Packed.answers; one, if nothing turns
}

// orderCount is how many shuffled orders a wheel has, a power of two.
const orderCount = 8

const (
	goldenRatio = 0x9e3779b9 // its fraction, times 1<<32
	plastic     = 0xc13fa9a9 // another such number, whose multiples keep no step with it
)

// newWheel returns the wheel of some records. Where no record has a weight, all
// count the same.
func newWheel(records []pick) wheel {
	if len(records) < 2 {
		return fixedWheel(records)
	}
	heavy, light, total := split(records)
	w := wheel{n: len(records), heavy: len(heavy)}
	w.shares = make([]uint32, w.heavy)
	sum := 0.0
	for i, m := range heavy {
		sum += m.weight
		w.shares[i] = uint32(min(math.Ceil(sum/total*(1<<32))-1, math.MaxUint32))
	}
	w.shares[w.heavy-1] = math.MaxUint32

	w.orders = make([]uint16, 0, orderCount*w.n)
	w.heads = make([]uint16, orderCount*w.heavy)
	for k := range orderCount {
		for at, i := range rand.Perm(len(heavy)) {
			w.orders = append(w.orders, uint16(heavy[i].index))
			w.heads[k*w.heavy+i] = uint16(at)
		}
		for _, i := range rand.Perm(len(light)) {
			w.orders = append(w.orders, uint16(light[i].index))
		}
	}
	return w
}

// fixedWheel returns a wheel that does not turn.
func fixedWheel(records []pick) wheel {
	w := wheel{n: len(records), heavy: len(records), orders: make([]uint16, len(records))}
	for i, r := range records {
		w.orders[i] = uint16(r.index)
	}
	return w
}

// turned returns the order of a turn in three pieces, to be read one after the
// other.
func (w *wheel) turned(turn uint32) (head, wrapped, light []uint16) {
	if w.shares == nil {
		return w.orders, nil, nil
	}
	k := int(turn * plastic >> 29) // 8 orders: the upper three bits
	at := w.heads[k*w.heavy+w.first(turn*goldenRatio)]
	order := w.orders[k*w.n : (k+1)*w.n]
	return order[at:w.heavy], order[:at], order[w.heavy:]
}

// first returns the number of the heavy record whose share a point lies in.
func (w *wheel) first(point uint32) int {
	low, high := 0, w.heavy-1
	for low < high {
		if middle := (low + high) / 2; w.shares[middle] < point {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// split parts the records that have a weight from those that have none.
func split(records []pick) (heavy, light []pick, total float64) {
	for _, r := range records {
		if r.weight > 0 {
			heavy = append(heavy, r)
			total += r.weight
		} else {
			light = append(light, pick{r.index, 1})
		}
	}
	if len(heavy) == 0 {
		return light, nil, float64(len(light))
	}
	return heavy, light, total
}
