package dnsserver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/dnsserver/transfer"
	"github.com/rollcall-dns/rollcall/registry"
)

var (
	xfrSecret   = base64.StdEncoding.EncodeToString([]byte("a secret of some thirty-two octs"))
	otherSecret = base64.StdEncoding.EncodeToString([]byte("another secret of as many octets"))
)

// handsOn makes a lab hand its zones on by some rules. It has the keys xfr. and
// other.
func (l *lab) handsOn(t testing.TB, rules ...transfer.Rule) {
	t.Helper()
	keys, err := transfer.ParseKeys(fmt.Sprintf(`key xfr { algorithm hmac-sha256; secret "%s"; }; key other { algorithm hmac-sha512; secret "%s"; };`, xfrSecret, otherSecret))
	if err != nil {
		t.Fatal(err)
	}
	if l.pipeline.transfers, err = transfer.New(transfer.Config{Registry: l.registry, Zones: l.zones, Allow: rules, Keys: keys}); err != nil {
		t.Fatal(err)
	}
}

var everywhere = netip.MustParsePrefix("0.0.0.0/0")

// transferred returns all messages that a request for a zone is answered with.
func (l *lab) transferred(t testing.TB, request *dns.Msg) (messages []*dns.Msg) {
	t.Helper()
	conn, err := net.Dial("tcp", l.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	c := &dns.Conn{Conn: conn}
	if err := c.WriteMsg(request); err != nil {
		t.Fatal(err)
	}
	for soas := 0; soas < 2; {
		m, err := c.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
		for _, rr := range m.Answer {
			if rr.Header().Rrtype == dns.TypeSOA {
				soas++
			}
		}
		if len(m.Answer) == 0 || len(messages) == 1 && len(m.Answer) == 1 {
			break
		}
	}
	return messages
}

func ixfr(serial uint32) *dns.Msg {
	return new(dns.Msg).SetIxfr("test.", serial, "ns.test.", "h.test.")
}

func axfr(zone string) *dns.Msg { return new(dns.Msg).SetAxfr(zone) }

func TestNobodyTransfersUnlessTheyAreNamed(t *testing.T) {
	for name, prepare := range map[string]func(*lab){
		"without transfers": func(*lab) {}, "without rules": func(l *lab) { l.handsOn(t) },
		"for others":      func(l *lab) { l.handsOn(t, transfer.Rule{Network: netip.MustParsePrefix("192.0.2.0/24")}) },
		"with a key":      func(l *lab) { l.handsOn(t, transfer.Rule{Network: everywhere, Key: "xfr."}) },
		"of another name": func(l *lab) { l.handsOn(t, transfer.Rule{Key: "xfr."}) },
		"an empty rule":   func(l *lab) { l.handsOn(t, transfer.Rule{}) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.register(t, registry.Instance{Service: "web", Port: 80})
			prepare(l)
			l.run(t)
			for _, request := range []*dns.Msg{axfr("test."), ixfr(1), axfr("web.service.test."), axfr("elsewhere.")} {
				replies := append(l.transferred(t, request), converse(t, l, "udp", request))
				for _, m := range replies {
					if m.Rcode != dns.RcodeRefused || len(m.Answer)+len(m.Ns)+len(m.Extra) > 0 {
						t.Errorf("%v\nis answered with\n%v", request.Question, m)
					}
				}
			}
		})
	}
}

// exchange asks over a socket.
func converse(t testing.TB, l *lab, network string, m *dns.Msg) *dns.Msg {
	t.Helper()
	reply, _, err := (&dns.Client{Net: network, Timeout: 5 * time.Second}).Exchange(m, l.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestRequestsForZones(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	l.handsOn(t, transfer.Rule{Network: netip.MustParsePrefix("127.0.0.0/8")})
	l.run(t)
	serial := l.zones.Primary().Serial(l.registry.View())
	edited := func(m *dns.Msg, edit func(*dns.Msg)) *dns.Msg { edit(m); return m }
	for _, row := range []struct {
		name    string
		network string
		request *dns.Msg
		rcode   int
		kind    string // of the answer: nothing, a SOA, a zone
	}{
		{"AXFR over TCP", "tcp", axfr("test."), dns.RcodeSuccess, "zone"},
		{"in another case", "tcp", axfr("TEST."), dns.RcodeSuccess, "zone"},
		{"AXFR over UDP", "udp", axfr("test."), dns.RcodeRefused, ""},
		{"IXFR from a serial that nobody knows", "tcp", ixfr(serial - 1), dns.RcodeSuccess, "zone"},
		{"IXFR of who has it all", "tcp", ixfr(serial), dns.RcodeSuccess, "SOA"},
		{"IXFR of who has more", "tcp", ixfr(serial + 1), dns.RcodeSuccess, "SOA"},
		{"IXFR over UDP", "udp", ixfr(serial - 1), dns.RcodeSuccess, "SOA"},
		{"IXFR without a SOA", "tcp", edited(ixfr(1), func(m *dns.Msg) { m.Ns = nil }), dns.RcodeFormatError, ""},
		{"a name in the zone", "tcp", axfr("web.service.test."), dns.RcodeNotAuth, ""},
		{"a zone of others", "tcp", axfr("example."), dns.RcodeNotAuth, ""},
		{"another class", "tcp", edited(axfr("test."), func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused, ""},
		{"another version of EDNS", "tcp", edited(axfr("test.").SetEdns0(1232, false), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			var messages []*dns.Msg
			if row.network == "udp" {
				messages = []*dns.Msg{converse(t, l, "udp", row.request)}
			} else {
				messages = l.transferred(t, row.request)
			}
			m, kind := messages[0], ""
			switch {
			case len(m.Answer) == 1 && m.Answer[0].Header().Rrtype == dns.TypeSOA:
				kind = "SOA"
			case len(m.Answer) > 0:
				kind = "zone"
			}
			if m.Rcode != row.rcode || kind != row.kind || m.Id != row.request.Id || !m.Response {
				t.Errorf("it is answered with %q:\n%v", kind, m)
			}
			if m.Rcode == dns.RcodeSuccess && !m.Authoritative {
				t.Error("AA is not set")
			}
		})
	}
}

// TestATransferOfManyMessagesIsSigned has another implementation verify them all.
func TestATransferOfManyMessagesIsSigned(t *testing.T) {
	l := newLab(t)
	l.handsOn(t, transfer.Rule{Key: "xfr."})
	l.registerMany(t, "web", 300)
	l.run(t)
	request := axfr("test.").SetEdns0(1232, false)
	request.SetTsig("XFR.", dns.HmacSHA256, 300, time.Now().Unix())
	in := &dns.Transfer{TsigSecret: map[string]string{"xfr.": xfrSecret, "XFR.": xfrSecret}}
	envelopes, err := in.In(request, l.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	messages, records, seen := 0, 0, make(map[string]bool)
	for e := range envelopes {
		if e.Error != nil {
			t.Fatal(e.Error)
		}
		for _, rr := range e.RR {
			if text := rr.String(); seen[text] && rr.Header().Rrtype != dns.TypeSOA {
				t.Errorf("%s is there twice", text)
			} else {
				seen[text] = true
			}
		}
		messages, records = messages+1, records+len(e.RR)
	}
	if messages < 3 || !seen["web.service.test.\t5\tIN\tA\t10.1.0.7"] {
		t.Errorf("%d records came in %d messages", records, messages)
	}
}

// TestIXFRHasWhatHasChanged applies the difference to what a secondary had.
func TestIXFRHasWhatHasChanged(t *testing.T) {
	l := newLab(t)
	l.handsOn(t, transfer.Rule{Network: everywhere})
	l.run(t)
	contents := func(messages []*dns.Msg) (all []string) {
		for _, m := range messages {
			for _, rr := range m.Answer {
				if rr.Header().Rrtype != dns.TypeSOA {
					all = append(all, rr.String())
				}
			}
		}
		slices.Sort(all)
		return all
	}
	l.register(t, registry.Instance{Service: "web", ID: "1", Port: 80, Address: "10.0.0.1"})
	first := l.transferred(t, axfr("test."))
	serial := first[0].Answer[0].(*dns.SOA).Serial
	has := make(map[string]bool)
	for _, record := range contents(first) {
		has[record] = true
	}
	l.register(t, registry.Instance{Service: "web", ID: "1", Port: 81, Address: "10.0.0.1"})
	_ = l.transferred(t, axfr("test.")) // of somebody else: there are two changes then
	l.register(t, registry.Instance{Service: "web", ID: "2", Port: 80, Address: "10.0.0.2"})
	m := converse(t, l, "tcp", ixfr(serial))
	newest := l.zones.Primary().Serial(l.registry.View())
	if soa := m.Answer[0].(*dns.SOA); soa.Serial != newest {
		t.Fatalf("the first SOA has %d, and %d is the newest", soa.Serial, newest)
	}
	if soa, ok := m.Answer[1].(*dns.SOA); !ok || soa.Serial != serial {
		t.Fatalf("it is no difference:\n%v", m)
	}
	removing, steps := false, 0
	for _, rr := range m.Answer[1 : len(m.Answer)-1] {
		if rr.Header().Rrtype == dns.TypeSOA {
			removing = !removing
			steps++
			continue
		}
		if has[rr.String()] != removing {
			t.Errorf("removed %v: %s", removing, rr)
		}
		has[rr.String()] = !removing
	}
	var now []string
	for record, there := range has {
		if there {
			now = append(now, record)
		}
	}
	slices.Sort(now)
	if want := contents(l.transferred(t, axfr("test."))); !slices.Equal(want, now) || steps != 4 {
		t.Errorf("after %d steps the secondary has\n%s\nand the zone\n%s", steps, strings.Join(now, "\n"), strings.Join(want, "\n"))
	}
}

// signed packs a message with a signature.
func signed(t testing.TB, m *dns.Msg, key, algorithm, secret string, at time.Time) (packed []byte, mac string) {
	t.Helper()
	m = m.Copy()
	m.SetTsig(key, algorithm, 300, at.Unix())
	packed, mac, err := dns.TsigGenerate(m, secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return packed, mac
}

// TestASignatureThatIsNotGoodIsSaidSo holds what is said to RFC 8945, section 5.2,
// whatever is asked for and over every transport.
func TestASignatureThatIsNotGoodIsSaidSo(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	l.handsOn(t, transfer.Rule{Network: everywhere}, transfer.Rule{Key: "xfr."})
	addr := l.run(t)
	now := time.Now()
	for _, row := range []struct {
		name, key, algorithm, secret string
		at                           time.Time
		want                         uint16
	}{
		{"an unknown key", "unknown.", dns.HmacSHA256, xfrSecret, now, dns.RcodeBadKey},
		{"another algorithm", "xfr.", dns.HmacSHA512, xfrSecret, now, dns.RcodeBadKey},
		{"another secret", "xfr.", dns.HmacSHA256, otherSecret, now, dns.RcodeBadSig},
		{"a clock that is behind", "xfr.", dns.HmacSHA256, xfrSecret, now.Add(-time.Hour), dns.RcodeBadTime},
		{"a clock that is ahead", "xfr.", dns.HmacSHA256, xfrSecret, now.Add(time.Hour), dns.RcodeBadTime},
	} {
		for _, request := range []*dns.Msg{axfr("test."), ixfr(1), question("web.service.test.", dns.TypeA, 1232), question("test.", dns.TypeSOA, 0)} {
			for _, network := range []string{"udp", "tcp"} {
				t.Run(row.name+" "+dns.TypeToString[request.Question[0].Qtype]+" "+network, func(t *testing.T) {
					packed, mac := signed(t, request, row.key, row.algorithm, row.secret, row.at)
					reply := raw(t, network, addr, packed)
					m := new(dns.Msg)
					if err := m.Unpack(reply); err != nil {
						t.Fatal(err)
					}
					tsig := m.IsTsig()
					if m.Rcode != dns.RcodeNotAuth || len(m.Answer) > 0 || tsig == nil || tsig.Error != row.want {
						t.Fatalf("the reply is\n%v", m)
					}
					if row.want != dns.RcodeBadTime {
						if tsig.MAC != "" || tsig.OtherData != "" {
							t.Errorf("it is signed, with what the other does not have: %v", tsig)
						}
						return
					}
					if tsig.TimeSigned != uint64(row.at.Unix()) || len(tsig.OtherData) != 12 {
						t.Errorf("the clocks are %d and %q", tsig.TimeSigned, tsig.OtherData)
					}
					if want := macOf(t, reply, tsig, mac); tsig.MAC != want {
						t.Errorf("its signature is %s, and ought to be %s", tsig.MAC, want)
					}
				})
			}
		}
	}
}

// macOf makes the signature of a reply as RFC 8945, section 4.3.3, has it.
func macOf(t testing.TB, reply []byte, tsig *dns.TSIG, before string) string {
	t.Helper()
	other, _ := hex.DecodeString(tsig.OtherData)
	request, _ := hex.DecodeString(before)
	message := slices.Clone(reply[:len(reply)-dns.Len(tsig)])
	binary.BigEndian.PutUint16(message[10:], binary.BigEndian.Uint16(message[10:])-1)
	key, _ := base64.StdEncoding.DecodeString(xfrSecret)
	h := hmac.New(sha256.New, key)
	for _, part := range []any{uint16(len(request)), request, message} {
		_ = binary.Write(h, binary.BigEndian, part)
	}
	h.Write([]byte("\x03xfr\x00\x00\xff\x00\x00\x00\x00\x0bhmac-sha256\x00"))
	for _, part := range []any{uint16(tsig.TimeSigned >> 32), uint32(tsig.TimeSigned), tsig.Fudge, tsig.Error, tsig.OtherLen, other} {
		_ = binary.Write(h, binary.BigEndian, part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// raw asks with a packed message.
func raw(t testing.TB, network, addr string, packed []byte) []byte {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	c := &dns.Conn{Conn: conn, UDPSize: 4096}
	if _, err := c.Write(packed); err != nil {
		t.Fatal(err)
	}
	reply, err := c.ReadMsgHeader(nil)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestWhatIsAskedWithAKeyIsAnsweredWithIt(t *testing.T) {
	l := newLab(t)
	l.handsOn(t)
	l.registerMany(t, "web", 100)
	addr := l.run(t)
	for _, request := range []*dns.Msg{
		question("web.service.test.", dns.TypeA, 0), question("web.service.test.", dns.TypeSRV, 1232), question("wbe.service.test.", dns.TypeA, 1232),
		question("test.", dns.TypeSOA, 0), question("elsewhere.", dns.TypeA, 0), new(dns.Msg).SetNotify("test."), axfr("test."),
	} {
		for _, network := range []string{"udp", "tcp"} {
			packed, mac := signed(t, request, "xfr.", dns.HmacSHA256, xfrSecret, time.Now())
			reply := raw(t, network, addr, packed)
			if err := dns.TsigVerify(slices.Clone(reply), xfrSecret, mac, false); err != nil {
				t.Errorf("%v over %s: %v", request.Question, network, err)
			}
			if limit := 1232; network == "udp" && (len(reply) > limit || request.IsEdns0() == nil && len(reply) > 512) {
				t.Errorf("%v: the reply has %d octets", request.Question, len(reply))
			}
		}
	}
}

func TestASignatureThatIsNotLastIsMalformed(t *testing.T) {
	l := newLab(t)
	l.handsOn(t, transfer.Rule{Network: everywhere})
	m := axfr("test.")
	m.SetTsig("xfr.", dns.HmacSHA256, 300, time.Now().Unix())
	m.SetEdns0(1232, false) // behind it
	if reply := l.ask(t, "tcp", m); reply.Rcode != dns.RcodeFormatError {
		t.Errorf("%v", reply)
	}
}

// TestEveryTransportLooksAtKeys asks for a zone and for a record, with a key and with
// one that is wrong, over whatever there is.
func TestEveryTransportLooksAtKeys(t *testing.T) {
	l := newLab(t)
	l.handsOn(t, transfer.Rule{Key: "xfr."})
	s := serveAll(t, l)
	for _, transport := range []string{"udp", "tcp", "tls", "https"} {
		t.Run(transport, func(t *testing.T) {
			ask := func(packed []byte) *dns.Msg {
				var reply []byte
				switch transport {
				case "udp":
					reply = raw(t, "udp", s.addr["tcp"], packed)
				case "https":
					reply = s.post(t, packed)
				default:
					c := &dns.Conn{Conn: s.dial(t, transport)}
					if _, err := c.Write(packed); err != nil {
						t.Fatal(err)
					}
					var err error
					if reply, err = c.ReadMsgHeader(nil); err != nil {
						t.Fatal(err)
					}
				}
				m := new(dns.Msg)
				if err := m.Unpack(reply); err != nil {
					t.Fatal(err)
				}
				return m
			}
			padded := question("test.", dns.TypeSOA, 1232)
			padded.IsEdns0().Option = append(padded.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, 30)})
			for _, request := range []*dns.Msg{axfr("test."), padded} {
				isTransfer := request.Question[0].Qtype == dns.TypeAXFR
				good, _ := signed(t, request, "xfr.", dns.HmacSHA256, xfrSecret, time.Now())
				bad, _ := signed(t, request, "xfr.", dns.HmacSHA256, otherSecret, time.Now())
				none, err := request.Pack()
				if err != nil {
					t.Fatal(err)
				}
				if m := ask(bad); m.Rcode != dns.RcodeNotAuth || m.IsTsig() == nil || m.IsTsig().Error != dns.RcodeBadSig || len(m.Answer) > 0 {
					t.Errorf("with another secret the reply is\n%v", m)
				}
				want := dns.RcodeSuccess
				if isTransfer && (transport == "udp" || transport == "https") {
					want = dns.RcodeRefused
				}
				if m := ask(good); m.Rcode != want || m.IsTsig() == nil {
					t.Errorf("with the key the reply is\n%v", m)
				}
				if m := ask(none); isTransfer != (m.Rcode == dns.RcodeRefused) {
					t.Errorf("without a key the reply is\n%v", m)
				}
			}
		})
	}
}

func TestASignedZoneIsHandedToNobody(t *testing.T) {
	l := newSignedLab(t)
	l.handsOn(t, transfer.Rule{Network: everywhere})
	l.run(t)
	for _, request := range []*dns.Msg{axfr("test."), axfr("corp.example."), ixfr(1)} {
		for _, m := range append(l.transferred(t, request), converse(t, l.lab, "udp", request)) {
			if m.Rcode != dns.RcodeRefused || len(m.Answer) > 0 {
				t.Errorf("%v", m)
			}
		}
	}
}

// TestNetworksOfSecondariesAreNoStrings has addresses that look alike, and some that
// are the same and do not.
func TestNetworksOfSecondariesAreNoStrings(t *testing.T) {
	l := newLab(t)
	l.handsOn(t, transfer.Rule{Network: netip.MustParsePrefix("10.0.0.1/32")}, transfer.Rule{Network: netip.MustParsePrefix("2001:db8::/64")})
	for text, want := range map[string]bool{
		"10.0.0.1": true, "::ffff:10.0.0.1": true, "10.0.0.10": false, "10.0.0.11": false, "110.0.0.1": false,
		"2001:db8::1": true, "2001:db8:0:0:1::": true, "2001:db8::1%eth0": true, "2001:db8:0:1::1": false, "::a00:1": false,
	} {
		packed, err := ixfr(1).Pack()
		if err != nil {
			t.Fatal(err)
		}
		reply := l.transfers.Answer(packed, netip.MustParseAddr(text), "")
		if allowed := reply[3]&0xf == dns.RcodeSuccess; allowed != want {
			t.Errorf("%s may transfer: %v", text, allowed)
		}
	}
}
