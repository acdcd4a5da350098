package zones

import (
	"strings"

	"github.com/miekg/dns"
)

// Names come in wire format, as a packet has them: each label behind its length.
// They are read label by label and never as text, so that a dot inside a label,
// which text would show as \., separates nothing.

// parse appends the labels of a name, each as it is.
func parse(labels []string, wire string) (_ []string, ok bool) {
	if len(wire) > 255 {
		return labels, false
	}
	for at := 0; at < len(wire); {
		from, size := at+1, int(wire[at])
		at = from + size
		if size == 0 || size > 63 || at > len(wire) {
			return labels, size == 0 && at == len(wire)
		}
		labels = append(labels, wire[from:at])
	}
	return labels, false
}

// pack returns a name from a master file in wire format and lower case.
func pack(name string) (wire string, ok bool) {
	b := make([]byte, 256)
	n, err := dns.PackDomainName(dns.Fqdn(name), b, 0, nil, false)
	if err != nil {
		return "", false
	}
	return lower(string(b[:n])), true // a length is no letter: it is at most 63
}

// present returns a name as master files have it, with its final dot.
func present(labels []string) string {
	return string(appendName(make([]byte, 0, 255), labels))
}

// appendName writes a name as present does.
func appendName(b []byte, labels []string) []byte {
	if len(labels) == 0 {
		return append(b, '.')
	}
	for _, label := range labels {
		b = append(appendLabel(b, label), '.')
	}
	return b
}

// show returns labels as master files have them, without a final dot.
func show(labels ...string) string { return strings.TrimSuffix(present(labels), ".") }

// appendLabel writes a label as master files have it, in the very form that
// miekg/dns has.
func appendLabel(b []byte, label string) []byte {
	from := 0 // what was not written yet
	for i := range len(label) {
		c := label[i]
		if 'a' <= c && c <= 'z' || !isSpecial(c) {
			continue
		}
		b = append(append(b, label[from:i]...), '\\')
		if from = i; c < ' ' || c > '~' {
			b, from = append(b, '0'+c/100, '0'+c/10%10, '0'+c%10), i+1
		}
	}
	return append(b, label[from:]...)
}

// isSpecial tells whether master files have an octet with a backslash.
func isSpecial(c byte) bool {
	const (
		below = 1 /* the blank */ | 1<<('.'-' ') | 1<<('\''-' ') | 1<<(';'-' ') | 1<<('('-' ') | 1<<(')'-' ') | 1<<('"'-' ') | 1<<('@'-' ')
		above = uint64(1) << ('\\' - '@')
	)
	return c < ' ' || c > '~' || c <= '@' && uint64(below)>>(c-' ')&1 != 0 || c > '@' && above>>(c-'@')&1 != 0
}

// fits tells whether a name, which has no escapes, is short enough for DNS.
func fits(name string) bool { return len(name) <= 254 }

// isHost tells whether a name is one that hosts may have (RFC 1123, section 2.1).
func isHost(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if !isPlain(label, "-") || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// isPlain tells whether a label consists of letters, digits and some others.
func isPlain(label, others string) bool {
	for i := range len(label) {
		c := label[i] | 0x20
		if !('a' <= c && c <= 'z' || '0' <= label[i] && label[i] <= '9' || strings.IndexByte(others, label[i]) >= 0) {
			return false
		}
	}
	return label != "" && len(label) <= 63
}

// lower returns a text with its ASCII letters in lower case: in DNS no others
// have a case (RFC 4343).
func lower(text string) string {
	for i := range len(text) {
		if 'A' <= text[i] && text[i] <= 'Z' {
			b := []byte(text)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return text
}

// same tells whether a text in any case is one in lower case.
func same(text, lowered string) bool {
	if len(text) != len(lowered) {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lowered[i] {
			return false
		}
	}
	return true
}
