package transfer

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// Signer signs the replies to a request that was signed; nil signs nothing. It
// belongs to one goroutine.
type Signer struct {
	keys    Keys
	request *dns.TSIG
	mac     string // of the request, and then of the message before, in hexadecimal
	further bool   // it is not the first message
}

// fudge is by how many seconds clocks may differ (RFC 8945, section 10).
const fudge = 300

// Key returns the name of the key, fully qualified and in lower case; empty: none.
func (s *Signer) Key() string {
	if s == nil {
		return ""
	}
	return dns.CanonicalName(s.request.Hdr.Name)
}

// Size returns by how many octets a signature makes a message longer.
func (s *Signer) Size() int {
	if s == nil {
		return 0
	}
	return dns.Len(s.request)
}

// Verify verifies the signature of a request. Without one there is neither a Signer
// nor a refusal, which else is the reply to a request whose signature is not good.
func (s *Server) Verify(request []byte) (signer *Signer, refusal []byte) {
	m := new(dns.Msg)
	if err := m.Unpack(request); err != nil {
		return nil, failure(request, dns.RcodeFormatError)
	}
	for i, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeTSIG && i != len(m.Extra)-1 { // RFC 8945, section 5.1
			return nil, failure(request, dns.RcodeFormatError)
		}
	}
	t := m.IsTsig()
	if t == nil {
		return nil, nil
	}
	signer = &Signer{keys: s.config.Keys, request: t, mac: t.MAC}
	code := errorOf(dns.TsigVerifyWithProvider(append([]byte(nil), request...), s.config.Keys, "", false))
	if code == dns.RcodeSuccess {
		return signer, nil
	}
	s.metrics.badSignatures.WithLabelValues(dns.RcodeToString[int(code)]).Inc()
	return nil, signer.refuse(m, request, code)
}

// errorOf returns what a TSIG record says of the verification of another.
func errorOf(err error) uint16 {
	switch {
	case err == nil:
		return dns.RcodeSuccess
	case errors.Is(err, dns.ErrTime):
		return dns.RcodeBadTime
	case errors.Is(err, dns.ErrSecret):
		return dns.RcodeBadKey
	}
	return dns.RcodeBadSig
}

// refuse returns the reply to a request whose signature is not good (RFC 8945,
// section 5.2). It is signed itself where only the time is wrong.
func (s *Signer) refuse(m *dns.Msg, request []byte, code uint16) []byte {
	no := reply(m)
	no.Rcode = dns.RcodeNotAuth
	packed, err := no.Pack()
	if err != nil {
		return failure(request, dns.RcodeServerFailure)
	}
	t := s.record()
	t.Error = code
	if code == dns.RcodeBadTime { // section 5.2.3: what both clocks say
		t.OtherLen, t.OtherData = 6, fmt.Sprintf("%012x", t.TimeSigned)
		t.TimeSigned = s.request.TimeSigned
		if packed, err = s.append(packed, t); err != nil {
			return failure(request, dns.RcodeServerFailure)
		}
		return packed
	}
	if packed, err = appendTSIG(packed, t); err != nil {
		return failure(request, dns.RcodeServerFailure)
	}
	return packed
}

// record returns a TSIG record of this moment, without a signature.
func (s *Signer) record() *dns.TSIG {
	return &dns.TSIG{
		Hdr:       dns.RR_Header{Name: s.Key(), Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: dns.CanonicalName(s.request.Algorithm), TimeSigned: uint64(time.Now().Unix()), Fudge: fudge,
		OrigId: s.request.OrigId,
	}
}

// Sign appends a signature to a reply, octet for octet as it stands.
func (s *Signer) Sign(message []byte) ([]byte, error) {
	if s == nil {
		return message, nil
	}
	return s.append(message, s.record())
}

// append appends a record to a message, and signs both with what came before (RFC
// 8945, section 4.3).
func (s *Signer) append(message []byte, t *dns.TSIG) ([]byte, error) {
	before, err := hex.DecodeString(s.mac)
	if err != nil {
		return nil, fmt.Errorf("read the signature of a request: %w", err)
	}
	octets := binary.BigEndian.AppendUint16(make([]byte, 0, len(before)+len(message)+600), uint16(len(before)))
	octets = append(append(octets, before...), message...)
	if octets, err = appendVariables(octets, t, s.further); err != nil {
		return nil, err
	}
	mac, err := s.keys.Generate(octets, t)
	if err != nil {
		return nil, fmt.Errorf("sign a message: %w", err)
	}
	t.MAC, t.MACSize = hex.EncodeToString(mac), uint16(len(mac))
	s.mac, s.further = t.MAC, true
	return appendTSIG(message, t)
}

// appendVariables appends what of a TSIG record is signed: all of it, or the times
// alone in a message that follows another.
func appendVariables(octets []byte, t *dns.TSIG, timesOnly bool) ([]byte, error) {
	appendName := func(name string) error {
		var space [256]byte
		n, err := dns.PackDomainName(name, space[:], 0, nil, false)
		octets = append(octets, space[:n]...)
		return err
	}
	if !timesOnly {
		if err := appendName(t.Hdr.Name); err != nil {
			return nil, err
		}
		octets = append(octets, 0, dns.ClassANY, 0, 0, 0, 0)
		if err := appendName(t.Algorithm); err != nil {
			return nil, err
		}
	}
	octets = append(octets, byte(t.TimeSigned>>40), byte(t.TimeSigned>>32))
	octets = binary.BigEndian.AppendUint32(octets, uint32(t.TimeSigned))
	octets = binary.BigEndian.AppendUint16(octets, t.Fudge)
	if timesOnly {
		return octets, nil
	}
	other, err := hex.DecodeString(t.OtherData)
	octets = binary.BigEndian.AppendUint16(octets, t.Error)
	octets = binary.BigEndian.AppendUint16(octets, t.OtherLen)
	return append(octets, other...), err
}

// appendTSIG appends a record to the additional section, which is a message's last.
func appendTSIG(message []byte, t *dns.TSIG) ([]byte, error) {
	at := len(message)
	message = append(message, make([]byte, dns.Len(t))...)
	n, err := dns.PackRR(t, message, at, nil, false)
	if err != nil {
		return nil, fmt.Errorf("sign a message: %w", err)
	}
	binary.BigEndian.PutUint16(message[10:], binary.BigEndian.Uint16(message[10:])+1)
	return message[:n], nil
}
