package zones

import (
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// texts returns the metadata of endpoints, a record for each that differs.
func (r *resolution) texts(endpoints []registry.Endpoint) []Record {
	return r.distinct(endpoints, func(i *registry.Instance) (strings []string) {
		for _, pair := range pairs(i.Meta) {
			strings = pieces(strings, pair)
		}
		return strings
	})
}

// distinct returns a TXT record for each endpoint whose strings differ from
// those before it, and that has any.
func (r *resolution) distinct(endpoints []registry.Endpoint, stringsOf func(*registry.Instance) []string) (records []Record) {
	seen := make(map[string]int) // to the index of its record
	for _, e := range endpoints {
		texts := stringsOf(e.Instance)
		if len(texts) == 0 {
			r.leaveOut(e.Instance, "it has no metadata")
			continue
		}
		if isTooLong(texts) {
			r.leaveOut(e.Instance, "its metadata is more than an answer holds")
			continue
		}
		key := strings.Join(texts, "\x00")
		if n, found := seen[key]; found {
			records[n].Weight += e.Weight
			r.leaveOut(e.Instance, "another instance has the same metadata")
			continue
		}
		seen[key] = len(records)
		txt := &dns.TXT{Hdr: r.z.header(r.owner, dns.TypeTXT), Txt: texts}
		records = append(records, Record{RR: txt, Weight: e.Weight})
	}
	return records
}

// pairs returns metadata as KEY=VALUE after RFC 1464, in the order of the keys.
// A key that begins with rfc1035- only gives its value a place.
func pairs(meta map[string]string) []string {
	texts := make([]string, 0, len(meta))
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		if strings.HasPrefix(lower(key), "rfc1035-") {
			texts = append(texts, meta[key])
			continue
		}
		texts = append(texts, quoteKey(key)+"="+meta[key])
	}
	return texts
}

// quoteKey puts a backquote before whatever would end the key or be taken for no
// part of it: an equals sign, a backquote, and blanks at its ends. Values need
// none (RFC 1464, section 2).
func quoteKey(key string) string {
	first := len(key) - len(strings.TrimLeft(key, " \t"))
	last := len(strings.TrimRight(key, " \t"))
	var quoted strings.Builder
	for i := range len(key) {
		if c := key[i]; c == '=' || c == '`' || i < first || i >= last {
			quoted.WriteByte('`')
		}
		quoted.WriteByte(key[i])
	}
	return quoted.String()
}

// attributes returns metadata as the strings of a DNS-SD TXT record (RFC 6763,
// section 6): KEY=VALUE with nothing quoted, one string each, and so without
// what cannot be written like that. Without any there is one empty string.
func attributes(i *registry.Instance) (texts []string) {
	for _, key := range slices.Sorted(maps.Keys(i.Meta)) {
		odd := strings.IndexFunc(key, func(c rune) bool { return c < ' ' || c > '~' || c == '=' }) >= 0
		if pair := key + "=" + i.Meta[key]; !odd && len(pair) <= maxString {
			texts = pieces(texts, pair)
		}
	}
	if len(texts) == 0 {
		return []string{""}
	}
	return texts
}

// maxStrings is how much text a TXT record has at most, octets: with the names around it,
// and a signature, it fits into a message. What is registered here is never as much, and
// what is at Consul may be.
const maxStrings = 60 << 10

// isTooLong tells whether strings are more than a record may have.
func isTooLong(texts []string) bool {
	size := 0
	for _, text := range texts {
		size += 1 + len(text)
	}
	return size > maxStrings
}

// maxString is the length of a character-string of a TXT record, octets.
const maxString = 255

// pieces appends a text as character-strings, escaped as miekg/dns wants them.
func pieces(texts []string, text string) []string {
	for {
		n := min(len(text), maxString)
		texts = append(texts, strings.ReplaceAll(text[:n], `\`, `\\`))
		if text = text[n:]; text == "" {
			return texts
		}
	}
}
