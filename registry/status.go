package registry

import "fmt"

// Status is how well a check, an instance or a node is. The greater Status is
// the worse one; zero means that nobody has said yet.
type Status uint8

// The statuses of Consul's health checks, best first.
const (
	Passing  Status = iota + 1 // well
	Warning                    // still to be used
	Critical                   // not to be used
)

var statusNames = [...]string{"", "passing", "warning", "critical"}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// ParseStatus is the inverse of String. The empty string is the zero Status.
func ParseStatus(text string) (Status, error) {
	for i, name := range statusNames {
		if text == name {
			return Status(i), nil
		}
	}
	return 0, invalid("Status", "%q is none of passing, warning and critical", text)
}

// MarshalText implements encoding.TextMarshaler.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Status) UnmarshalText(text []byte) (err error) {
	*s, err = ParseStatus(string(text))
	return err
}

// Worst returns the worse of two statuses.
func Worst(a, b Status) Status { return max(a, b) }
