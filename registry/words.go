package registry

import (
	"iter"
	"net/netip"
	"strings"

	"github.com/tidwall/btree"
)

// The kinds of words in a View's multiset, each followed by what it is about.
const (
	tagWord       = "t" // a tag that an instance bears
	serviceSuffix = "s" // what follows a dot in a service's name
	nodeSuffix    = "n" // what follows a dot in a node's name
	nodeAt        = "N" // an address, and the node that has it
	serviceAt     = "S" // an address, and a service with an instance that has it
)

// multiset counts how often a word is there. Like the other trees of a View it
// is copied on write.
type multiset struct{ counts *btree.Map[string, int32] }

func newMultiset() multiset { return multiset{new(btree.Map[string, int32])} }

func (m multiset) copy() multiset { return multiset{m.counts.Copy()} }

func (m multiset) has(word string) bool {
	_, ok := m.counts.Get(word)
	return ok
}

// below yields what follows the prefix in the words that begin with it.
func (m multiset) below(prefix string) iter.Seq[string] {
	return func(yield func(string) bool) {
		m.counts.Ascend(prefix, func(word string, _ int32) bool {
			rest, ok := strings.CutPrefix(word, prefix)
			return ok && yield(rest)
		})
	}
}

// add counts a word n times more, or -n times less.
func (m multiset) add(word string, n int32) {
	count, _ := m.counts.Get(word)
	if count += n; count > 0 {
		m.counts.Set(word, count)
	} else {
		m.counts.Delete(word)
	}
}

// addInstance counts the words that an instance is found by.
func (m multiset) addInstance(i *Instance, n int32) {
	if i == nil {
		return
	}
	for _, tag := range i.Tags {
		m.add(tagWord+lower(tag), n)
	}
	m.addSuffixes(serviceSuffix, lower(i.Service), n)
	if a, err := netip.ParseAddr(i.Address); err == nil {
		m.add(serviceAt+addressWord(a)+lower(i.Service), n)
	}
}

// addNode counts the words that a node is found by.
func (m multiset) addNode(node *Node, n int32) {
	if node == nil {
		return
	}
	m.addSuffixes(nodeSuffix, lower(node.Name), n)
	if a, err := netip.ParseAddr(node.Address); err == nil {
		m.add(nodeAt+addressWord(a)+lower(node.Name), n)
	}
}

func (m multiset) addSuffixes(kind, name string, n int32) {
	for {
		_, rest, dotted := strings.Cut(name, ".")
		if !dotted {
			return
		}
		m.add(kind+rest, n)
		name = rest
	}
}

func addressWord(a netip.Addr) string {
	b := a.As16()
	return string(b[:])
}
