package zones

import (
	"unsafe"

	"github.com/rollcall-dns/rollcall/registry"
)

// Resolver answers questions one after the other, in memory that it uses again:
// to say of a name that it does not exist takes no allocation, so that a flood of
// such names is no work for the garbage collector. It belongs to one goroutine.
type Resolver struct{ r resolution }

// Absence says of a name that it does not exist, nor anything below it.
type Absence struct {
	Zone *Zone
	Why  []byte // in words, UTF-8
}

// maxText is enough for what is written for a question: the owner, and the reason
// with a part of it, each of its octets as four, as in \000.
const maxText = 4*2*256 + 512

// maxLabels is how many a name can have.
const maxLabels = 128

// NewResolver returns a Resolver of the zones.
func (z *Zones) NewResolver() *Resolver {
	return &Resolver{resolution{z: z, text: make([]byte, 0, maxText), labels: make([]string, 0, maxLabels)}}
}

// Resolve answers a question as Zones.Resolve does, but for a name that does not
// exist: the Answer is nil then, and the Absence is not otherwise. The name is in
// wire format and in lower case. What is returned, and all that hangs on it, is
// good until the next question, or until the name is written to.
func (s *Resolver) Resolve(v *registry.View, name []byte, qtype uint16) (*Answer, *Absence) {
	z, text, labels := s.r.z, s.r.text[:0], s.r.labels
	s.r = resolution{}
	s.r.z, s.r.v, s.r.wire, s.r.qtype, s.r.text, s.r.labels = z, v, borrow(name), qtype, text, labels
	if a := s.r.find(); a != nil {
		return a, nil
	}
	return nil, &s.r.absence
}

// Resolve answers a question from a View. It never returns nil, and may be
// called from any goroutine.
func (z *Zones) Resolve(v *registry.View, q Question) *Answer {
	return (&resolution{z: z, v: v, wire: q.Name, qtype: q.Type, text: make([]byte, 0, 256)}).resolve()
}

// resolve answers the question, by NXDOMAIN where the name does not exist.
func (r *resolution) resolve() *Answer {
	if a := r.find(); a != nil {
		return a
	}
	return r.absent()
}

// borrow returns octets as a string without a copy. They must not be written to
// for as long as it is used.
func borrow(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// own keeps what append added to r.text from start on, and returns it.
func (r *resolution) own(text []byte, start int) string {
	r.text = text
	return borrow(text[start:])
}

// present returns a name as master files have it, with its final dot, for as long
// as the question lasts.
func (r *resolution) present(labels []string) string {
	return r.own(appendName(r.text, labels), len(r.text))
}

// join returns labels as one name of the registry's, which has dots between its
// labels and none in them, for as long as the question lasts.
func (r *resolution) join(labels []string) (name string, ok bool) {
	for _, label := range labels {
		for i := range len(label) {
			if label[i] == '.' {
				return "", false
			}
		}
	}
	switch len(labels) {
	case 0:
		return "", true
	case 1:
		return labels[0], true
	}
	text := r.text
	for _, label := range labels {
		text = append(append(text, label...), '.')
	}
	return r.own(text[:len(text)-1], len(r.text)), true
}

// sentence is an explanation that is being written.
type sentence []byte

// because begins the sentence that says why a name does not exist.
func (r *resolution) because(text string) sentence {
	return append(sentence(r.text[len(r.text):]), text...)
}

func (s sentence) text(text string) sentence { return append(s, text...) }

// labels writes labels as master files have them, without a final dot.
func (s sentence) labels(labels ...string) sentence {
	if len(labels) == 0 {
		return s
	}
	s = appendName(s, labels)
	return s[:len(s)-1]
}
