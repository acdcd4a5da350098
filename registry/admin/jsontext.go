package admin

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"
	"unicode/utf8"
)

// The functions below take JSON apart without reading what is in it. Other than
// depth, which comes before, they are given well-formed JSON alone.

// depth returns how deep the objects and lists lie in one another.
func depth(text []byte) int {
	deepest, open := 0, 0
	for at := 0; at < len(text); at++ {
		switch text[at] {
		case '{', '[':
			open++
			deepest = max(deepest, open)
		case '}', ']':
			open--
		case '"':
			at = endOfString(text, at) - 1
		}
	}
	return deepest
}

// members yields the names and values of an object, in order.
func members(object []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for at := skipTo(object, 1, '"'); at < len(object); {
			end := endOfString(object, at)
			name := unquote(object[at:end])
			value := valueAt(object, end)
			if !yield(name, value.text) {
				return
			}
			at = skipTo(object, value.end, '"')
		}
	}
}

// elements yields the values of a list.
func elements(list []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for at := 1; ; {
			value := valueAt(list, at)
			if len(value.text) == 0 || !yield(value.text) {
				return
			}
			at = value.end
		}
	}
}

// span is a value within a text, and where it ends.
type span struct {
	text []byte
	end  int
}

// valueAt returns the first value from an offset on, past the colon or comma
// before it; none where the list ends.
func valueAt(text []byte, at int) span {
	for at < len(text) && strings.IndexByte(" \t\r\n:,", text[at]) >= 0 {
		at++
	}
	start, open := at, 0
	for ; at < len(text); at++ {
		switch text[at] {
		case '"':
			at = endOfString(text, at) - 1
		case '{', '[':
			open++
		case '}', ']':
			if open--; open < 0 {
				return span{bytes.TrimSpace(text[start:at]), at}
			}
		case ',':
			if open == 0 {
				return span{bytes.TrimSpace(text[start:at]), at}
			}
		}
	}
	return span{text[start:], at}
}

// skipTo returns the offset of the next octet c, or the text's length.
func skipTo(text []byte, at int, c byte) int {
	if next := bytes.IndexByte(text[at:], c); next >= 0 {
		return at + next
	}
	return len(text)
}

// endOfString returns the offset behind the string that begins at one.
func endOfString(text []byte, at int) int {
	for at++; at < len(text); at++ {
		switch text[at] {
		case '\\':
			at++
		case '"':
			return at + 1
		}
	}
	return len(text)
}

func unquote(quoted []byte) string {
	if inner := quoted[1 : len(quoted)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var text string
	_ = json.Unmarshal(quoted, &text) // well formed, as all of it
	return text
}

// isEmpty tells whether a value says nothing: whether it is a zero, or holds
// nothing but such. Consul writes default for the namespace that is none.
func isEmpty(value []byte) bool {
	switch value[0] {
	case '{':
		for _, member := range members(value) {
			if !isEmpty(member) {
				return false
			}
		}
		return true
	case '[':
		for range elements(value) {
			return false
		}
		return true
	}
	switch string(value) {
	case "null", `""`, "0", "false", `"default"`:
		return true
	}
	return false
}

// loneSurrogate tells whether an escape in the raw text named half a character:
// encoding/json puts the replacement character in its place.
func loneSurrogate(text string, raw []byte) bool {
	return strings.ContainsRune(text, utf8.RuneError) &&
		!bytes.ContainsRune(raw, utf8.RuneError) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`))
}
