package cache

import "unsafe"

// settle puts all that replies to a question are made of into one piece of memory,
// in the order in which it is read: a reply asks for few lines of it, side by side,
// where each slice by itself would be in a line of its own.
func (p *Packed) settle() {
	size := room(len(p.key), 1) + room(len(p.body), 1) + room(len(p.answers), int(unsafe.Sizeof(record{}))) +
		room(len(p.glueOf), 4) + room(len(p.glue), int(unsafe.Sizeof(glue{})))
	for i := range p.subsets {
		w := &p.subsets[i].wheel
		size += room(len(w.shares), 4) + room(len(w.heads), 2) + room(len(w.orders), 2)
	}
	words := make([]uint32, size/4)
	p.memory = unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size)

	left := p.memory
	key := place(&left, []byte(p.key))
	p.key = unsafe.String(unsafe.SliceData(key), len(key))
	for i := range p.subsets {
		w := &p.subsets[i].wheel
		w.shares, w.heads, w.orders = place(&left, w.shares), place(&left, w.heads), place(&left, w.orders)
	}
	p.answers = place(&left, p.answers)
	p.glueOf, p.glue = place(&left, p.glueOf), place(&left, p.glue)
	p.body = place(&left, p.body)
}

// room returns how many octets of a piece so many elements of a size take.
func room(n, size int) int { return (n*size + 3) &^ 3 }

// place copies a slice to the front of a piece of memory, which is what is left
// behind it then. Nothing of it may be a pointer, which the garbage collector would
// not see there, or need more than four octets' alignment.
func place[T byte | uint16 | uint32 | record | glue](left *[]byte, from []T) []T {
	if len(from) == 0 {
		return nil
	}
	to := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(*left))), len(from))
	copy(to, from)
	*left = (*left)[room(len(from), int(unsafe.Sizeof(from[0]))):]
	return to
}
