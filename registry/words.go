package registry

import (
	"iter"
	"net/netip"
	"strings"

	"github.com/tidwall/btree"
)

// words are what can be found by something else than its name. Each kind is a
// tree of its own, so that to look for a word nothing has to be put before it.
type words struct {
	tags            multiset // that instances bear
	ports           multiset // names of ports that instances have
	serviceSuffixes multiset // what follows a dot in a service's name
	nodeSuffixes    multiset // what follows a dot in a node's name
	nodesAt         multiset // an address, and the node that has it
	servicesAt      multiset // an address, and a service with an instance that has it
}

func newWords() words {
	return words{newMultiset(), newMultiset(), newMultiset(), newMultiset(), newMultiset(), newMultiset()}
}

func (w words) copy() words {
	return words{w.tags.copy(), w.ports.copy(), w.serviceSuffixes.copy(), w.nodeSuffixes.copy(), w.nodesAt.copy(), w.servicesAt.copy()}
}

// compact is copy, with no room to grow in the copy.
func (w words) compact() words {
	m := func(m multiset) multiset { return multiset{compact(m.counts)} }
	return words{m(w.tags), m(w.ports), m(w.serviceSuffixes), m(w.nodeSuffixes), m(w.nodesAt), m(w.servicesAt)}
}

// addInstance counts the words that an instance is found by n times more, or -n
// times less.
func (w words) addInstance(i *Instance, n int32) {
	if i == nil {
		return
	}
	for _, tag := range i.Tags {
		w.tags.add(lower(tag), n)
	}
	for _, p := range i.Ports {
		w.ports.add(lower(p.Name), n)
	}
	w.serviceSuffixes.addSuffixes(lower(i.Service), n)
	if a, err := netip.ParseAddr(i.Address); err == nil {
		w.servicesAt.add(addressWord(a)+lower(i.Service), n)
	}
}

// addNode counts the words that a node is found by.
func (w words) addNode(node *Node, n int32) {
	if node == nil {
		return
	}
	w.nodeSuffixes.addSuffixes(lower(node.Name), n)
	if a, err := netip.ParseAddr(node.Address); err == nil {
		w.nodesAt.add(addressWord(a)+lower(node.Name), n)
	}
}

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

// hasIn tells whether a word begins with an address in a network, first being the
// network's own.
func (m multiset) hasIn(network netip.Prefix, first string) (found bool) {
	m.counts.Ascend(first, func(word string, _ int32) bool {
		a, _ := netip.AddrFromSlice([]byte(word[:len(first)]))
		found = network.Contains(a.Unmap()) || network.Contains(a)
		return false
	})
	return found
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

func (m multiset) addSuffixes(name string, n int32) {
	for {
		_, rest, dotted := strings.Cut(name, ".")
		if !dotted {
			return
		}
		m.add(rest, n)
		name = rest
	}
}

func addressWord(a netip.Addr) string {
	b := a.As16()
	return string(b[:])
}
