package dnstap

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rollcall-dns/rollcall/dnsserver"
)

// The numbers of dnstap.proto, as far as they are written here.
const (
	// Of Dnstap.
	fieldIdentity = 1
	fieldVersion  = 2
	fieldMessage  = 14
	fieldType     = 15
	typeMessage   = 1

	// Of Message.
	fieldMessageType   = 1
	fieldFamily        = 2
	fieldProtocol      = 3
	fieldQueryAddress  = 4
	fieldQueryPort     = 6
	fieldQuerySec      = 8
	fieldQueryNsec     = 9
	fieldQueryMessage  = 10
	fieldReplySec      = 12
	fieldReplyNsec     = 13
	fieldReplyMessage  = 14
	authQuery          = 1
	authResponse       = 2
	familyINET         = 1
	familyINET6        = 2
	protocolUDP        = 1
	protocolTCP        = 2
	protocolDOT        = 3
	protocolDOH        = 4
	protocolDOQ        = 7
	maxMessageOverhead = 96 // octets of a Message beside what is in it
)

// protocols are the transports of dnsserver, as dnstap numbers them.
var protocols = map[string]uint64{"udp": protocolUDP, "tcp": protocolTCP, "tls": protocolDOT, "https": protocolDOH, "quic": protocolDOQ}

// appendFrame appends the frame of an exchange's query, or of its reply.
func appendFrame(dst []byte, config *Config, kind uint64, e *dnsserver.Exchange) []byte {
	dst = appendText(dst, fieldIdentity, config.Identity)
	dst = appendText(dst, fieldVersion, config.Version)
	dst = appendNumber(dst, fieldType, typeMessage)
	dst = protowire.AppendTag(dst, fieldMessage, protowire.BytesType)
	return appendMessage(dst, kind, e)
}

// appendMessage appends a Message behind its length, which is known afterwards: room
// is left for as long a number as it may be.
func appendMessage(dst []byte, kind uint64, e *dnsserver.Exchange) []byte {
	content := len(e.Query)
	if kind == authResponse {
		content = len(e.Reply)
	}
	room := protowire.SizeVarint(uint64(content + maxMessageOverhead))
	start := len(dst) + room
	var zeros [10]byte
	dst = append(dst, zeros[:room]...)

	dst = appendNumber(dst, fieldMessageType, kind)
	address, size, family := addressOf(e.From.Addr())
	dst = appendNumber(dst, fieldFamily, family)
	if protocol := protocols[e.Transport]; protocol != 0 {
		dst = appendNumber(dst, fieldProtocol, protocol)
	}
	dst = appendBytes(dst, fieldQueryAddress, address[:size])
	dst = appendNumber(dst, fieldQueryPort, uint64(e.From.Port()))
	dst = appendTime(dst, fieldQuerySec, fieldQueryNsec, e.Began)
	if kind == authQuery {
		dst = appendBytes(dst, fieldQueryMessage, e.Query)
	} else {
		dst = appendTime(dst, fieldReplySec, fieldReplyNsec, e.Ended)
		dst = appendBytes(dst, fieldReplyMessage, e.Reply)
	}
	putVarint(dst[start-room:start], uint64(len(dst)-start))
	return dst
}

// putVarint writes a number into all of b, with zeros above it where it is shorter.
func putVarint(b []byte, n uint64) {
	for i := range b {
		b[i] = byte(n&0x7f) | 0x80
		n >>= 7
	}
	b[len(b)-1] &^= 0x80
}

func appendNumber(dst []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), n)
}

func appendBytes(dst []byte, field protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), b)
}

func appendText(dst []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), text)
}

func appendTime(dst []byte, sec, nsec protowire.Number, t time.Time) []byte {
	dst = appendNumber(dst, sec, uint64(t.Unix()))
	return protowire.AppendFixed32(protowire.AppendTag(dst, nsec, protowire.Fixed32Type), uint32(t.Nanosecond()))
}
