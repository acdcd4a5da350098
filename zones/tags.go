package zones

import (
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

// The labels before a service name tags. Consul reads them as one tag, whose
// dots separate labels, and so do we where any instance bears that one. Only
// where none does they are read as several tags, from the service on:
//
//	blue.v1.web.service        instances that bear blue and v1
//	canary.not.web.service     those that do not bear canary
//	canary.not.blue.web.service   those that bear blue, and not canary
//
// The label not belongs to the tag before it, and not to the one behind it,
// so that a name that is there has nothing but names that are there behind it.

// selection is what is asked of a service's instances; empty: nothing.
type selection []term

// term is one tag that they are to bear, or not to bear.
type term struct {
	tag string
	not bool
}

// negation is the label that turns the tag before it round.
const negation = "not"

// one is the selection of a single tag; an empty tag selects all.
func one(tag string) selection {
	if tag == "" {
		return nil
	}
	return selection{{tag: tag}}
}

func (s selection) covers(i *registry.Instance) bool {
	for _, t := range s {
		if bears(i, t.tag) == t.not {
			return false
		}
	}
	return true
}

// unmet says which term an instance does not meet; nothing where it meets all.
func (s selection) unmet(i *registry.Instance) string {
	for _, t := range s {
		switch has := bears(i, t.tag); {
		case has && t.not:
			return "it bears the tag " + t.tag
		case !has && !t.not:
			return "it does not bear the tag " + t.tag
		}
	}
	return ""
}

// String says in words what is selected.
func (s selection) String() string {
	var text strings.Builder
	for n, t := range s {
		switch {
		case n > 0 && n == len(s)-1:
			text.WriteString(" and ")
		case n > 0:
			text.WriteString(", ")
		}
		if t.not {
			text.WriteString("not ")
		}
		text.WriteString(show(strings.Split(t.tag, ".")...))
	}
	return text.String()
}

// readSelection reads labels, with dots between them, as several tags of a
// service, the longest first that any of its instances bears. A tag that is not
// to be borne may be one that nobody bears: known is false then. ok is false where
// another tag is unknown; ends is true where the labels end in the middle: with a
// negation of nothing, or behind a dot of a tag that an instance with the others
// bears.
func readSelection(s *registry.Service, labels string) (sel selection, known, ends, ok bool) {
	for known = true; labels != ""; {
		tag, not := longestTag(s, labels), false
		if rest, last := cutLast(labels); tag == "" && last == negation {
			if not, labels = true, rest; labels == "" {
				return nil, true, true, true
			}
			if tag = longestTag(s, labels); tag == "" {
				known = false
				_, tag = cutLast(labels)
			}
		}
		if tag == "" {
			ends = leadsToTag(s, labels, sel)
			return nil, true, ends, ends
		}
		sel = append(sel, term{tag, not})
		labels = strings.TrimSuffix(labels[:len(labels)-len(tag)], ".")
	}
	return sel, known, false, true
}

// longestTag returns the longest tag that labels end in and some instance bears;
// empty: there is none.
func longestTag(s *registry.Service, labels string) string {
	for tag := labels; ; {
		if anyBears(s, tag) {
			return tag
		}
		_, rest, more := strings.Cut(tag, ".")
		if !more {
			return ""
		}
		tag = rest
	}
}

// cutLast returns the last of labels, and those before it.
func cutLast(labels string) (before, last string) {
	at := strings.LastIndexByte(labels, '.')
	return labels[:max(at, 0)], labels[at+1:]
}

// selected answers for a service and labels before it that are no tag of their
// own; nil where they mean nothing.
func (r *resolution) selected(s *registry.Service, labels string, stamp *registry.Stamp) *Answer {
	sel, known, ends, ok := readSelection(s, labels)
	switch {
	case !ok:
		return nil
	case ends:
		return r.nonTerminal(stamp)
	}
	any, negated := false, false
	for _, i := range s.Instances {
		any = any || sel.covers(i)
	}
	for _, t := range sel {
		negated = negated || t.not
	}
	var a *Answer
	switch {
	case any:
		a = r.instances(s, sel, stamp)
	case negated:
		a = r.noData(stamp, "no instance of "+lower(s.Name)+" has the tags "+sel.String())
	default:
		return nil
	}
	a.Cacheable = a.Cacheable && known // there is no end of names that say what nobody bears
	return a
}

// tag answers for _TAG, which the names _SERVICE._TAG end in.
func (r *resolution) tag(tag string) *Answer {
	if strings.Contains(tag, ".") || !r.v.HasTag(tag) {
		return r.noName(r.because("no instance bears the tag ").labels(tag))
	}
	return r.nonTerminal(r.v.ServicesStamp())
}

func (r *resolution) noTag(s *registry.Service, tag ...string) *Answer {
	return r.noName(r.because("no instance of ").text(lower(s.Name)).text(" bears the tag ").labels(tag...))
}

func anyBears(s *registry.Service, tag string) bool {
	for _, i := range s.Instances {
		if bears(i, tag) {
			return true
		}
	}
	return false
}

func bears(i *registry.Instance, tag string) bool {
	for _, t := range i.Tags {
		if same(t, tag) {
			return true
		}
	}
	return false
}

// leadsToTag tells whether a selected instance has a tag with dots that ends in
// suffix.
func leadsToTag(s *registry.Service, suffix string, sel selection) bool {
	for _, i := range s.Instances {
		if !sel.covers(i) {
			continue
		}
		for _, tag := range i.Tags {
			if at := len(tag) - len(suffix); at > 0 && tag[at-1] == '.' && same(tag[at:], suffix) {
				return true
			}
		}
	}
	return false
}
