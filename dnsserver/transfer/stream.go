package transfer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// perMessage is how large a message of a transfer becomes, octets, but for its
// signature. Pointers reach no further than 16 KiB.
const perMessage = 16 << 10

// headerSize is the size of a message's header, octets.
const headerSize = 12

// stream writes records as messages, one behind the other. After an error it does
// nothing, and flush returns it.
type stream struct {
	request  *dns.Msg
	signer   *Signer
	write    func([]byte) error
	message  []byte // nil: there is none at hand
	zone     string // on the wire, in lower case
	owner    string // of the last record in it, on the wire, and
	at       int    // where that is
	records  int
	messages int
	err      error
}

// soa adds a SOA record.
func (s *stream) soa(soa *dns.SOA) {
	soa = dns.Copy(soa).(*dns.SOA)
	packed := make([]byte, dns.Len(soa))
	n, err := dns.PackRR(soa, packed, 0, nil, false)
	if err != nil {
		s.err = errors.Join(s.err, fmt.Errorf("pack a SOA: %w", err))
	}
	s.add(string(packed[:n]))
}

// all adds records, each packed without compression.
func (s *stream) all(records []string) {
	for _, record := range records {
		s.add(record)
	}
}

// add adds a record that is packed without compression. Only its owner is made
// shorter: where it is the one of the record before, and else by the zone's name,
// which is in the question.
func (s *stream) add(record string) {
	if s.message != nil && len(s.message)+len(record) > perMessage {
		s.end()
	}
	if s.err != nil {
		return
	}
	if s.message == nil {
		s.begin()
	}
	owner := record[:nameEnd(record)]
	at := len(s.message)
	switch {
	case owner == s.owner:
		s.message = binary.BigEndian.AppendUint16(s.message, 0xc000|uint16(s.at))
	default:
		s.message = s.appendName(s.message, owner)
		s.owner, s.at = owner, at
	}
	s.message = append(s.message, record[len(owner):]...)
	s.records++
}

// nameEnd returns where a name on the wire ends that has no pointers.
func nameEnd(record string) int {
	at := 0
	for record[at] != 0 {
		at += 1 + int(record[at])
	}
	return at + 1
}

// appendName appends a name, with a pointer to the question in place of the zone's.
func (s *stream) appendName(message []byte, owner string) []byte {
	if at := len(owner) - len(s.zone); at >= 0 && owner[at:] == s.zone && startsLabel(owner, at) {
		return append(append(message, owner[:at]...), 0xc0, headerSize)
	}
	return append(message, owner...)
}

// startsLabel tells whether a label of a name on the wire begins at an offset.
func startsLabel(name string, offset int) bool {
	at := 0
	for at < offset {
		at += 1 + int(name[at])
	}
	return at == offset
}

// begin begins a message: a header, and the question, which later messages need not
// have and may (RFC 5936, section 2.2.1).
func (s *stream) begin() {
	m := reply(s.request)
	m.Extra = nil
	m.Authoritative = true
	if s.message, s.err = m.Pack(); s.err == nil {
		s.zone = strings.ToLower(string(s.message[headerSize : len(s.message)-4])) // a length is no letter
		s.owner, s.at, s.records = "", 0, 0
	}
}

// end sends the message at hand.
func (s *stream) end() {
	message := s.message
	s.message = nil
	if s.err != nil || message == nil {
		return
	}
	binary.BigEndian.PutUint16(message[6:], uint16(s.records))
	if s.messages == 0 && s.request.IsEdns0() != nil { // one is enough (section 2.2.5)
		message = appendOPT(message)
	}
	if message, s.err = s.signer.Sign(message); s.err == nil {
		s.err = s.write(message)
		s.messages++
	}
}

// appendOPT appends an OPT record that says nothing but that there is EDNS.
func appendOPT(message []byte) []byte {
	message = append(message, 0, 0, byte(dns.TypeOPT), edns>>8, edns&0xff, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(message[10:], binary.BigEndian.Uint16(message[10:])+1)
	return message
}

func (s *stream) flush() error {
	s.end()
	return s.err
}

// fail sends a message with nothing but a response code.
func (s *stream) fail(rcode int) error {
	m := reply(s.request)
	m.Rcode = rcode
	message, err := m.Pack()
	if err != nil {
		return err
	}
	if message, err = s.signer.Sign(message); err != nil {
		return err
	}
	return s.write(message)
}
