package transfer

import (
	"github.com/miekg/dns"
)

// perMessage is how large a message of a transfer becomes, octets before its names
// are compressed. Pointers reach no further than 16 KiB.
const perMessage = 16 << 10

// stream writes records as messages, one behind the other. After an error it does
// nothing, and flush returns it.
type stream struct {
	request  *dns.Msg
	signer   *Signer
	write    func([]byte) error
	message  *dns.Msg
	size     int
	messages int
	err      error
}

func (s *stream) soa(soa *dns.SOA) {
	if s.err == nil {
		s.add(dns.Copy(soa), dns.Len(soa))
	}
}

// records adds records that are packed without compression.
func (s *stream) records(packed []string) {
	for _, text := range packed {
		if s.err != nil {
			return
		}
		rr, _, err := dns.UnpackRR([]byte(text), 0)
		if err != nil {
			s.err = err
			return
		}
		s.add(rr, len(text))
	}
}

func (s *stream) add(rr dns.RR, size int) {
	if s.message != nil && s.size+size > perMessage {
		s.end()
	}
	if s.message == nil {
		s.message, s.size = reply(s.request), 0
		s.message.Authoritative = true
		if s.messages > 0 { // they need it once (RFC 5936, section 2.2)
			s.message.Question, s.message.Extra = nil, nil
		}
	}
	s.message.Answer = append(s.message.Answer, rr)
	s.size += size
}

// end sends the message at hand.
func (s *stream) end() {
	m := s.message
	s.message = nil
	if s.err != nil || m == nil {
		return
	}
	var packed []byte
	if packed, s.err = m.Pack(); s.err != nil {
		return
	}
	if packed, s.err = s.signer.Sign(packed); s.err == nil {
		s.err = s.write(packed)
		s.messages++
	}
}

func (s *stream) flush() error {
	s.end()
	return s.err
}

// fail sends a message with nothing but a response code.
func (s *stream) fail(rcode int) error {
	s.message = reply(s.request)
	s.message.Rcode = rcode
	return s.flush()
}
