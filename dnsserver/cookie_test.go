package dnsserver

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// withCookie puts a cookie into a query.
func withCookie(m *dns.Msg, cookie string) *dns.Msg {
	if m.IsEdns0() == nil {
		m.SetEdns0(1232, false)
	}
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
	return m
}

// cookieOf returns a reply's cookie; empty: it has none.
func cookieOf(m *dns.Msg) string {
	if opt := m.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if c, ok := option.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
	}
	return ""
}

func TestCookies(t *testing.T) {
	const mine = "0102030405060708"
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	ask := func(transport, name, cookie string) *dns.Msg {
		return l.ask(t, transport, withCookie(question(name, dns.TypeA, 1232), cookie))
	}
	first := ask("udp", "web.service.test.", mine)
	given := cookieOf(first)
	if len(given) != 48 || given[:16] != mine || given[16:24] != "01000000" || len(first.Answer) != 1 {
		t.Fatalf("for a cookie there is %q:\n%v", given, first)
	}
	wrong := given[:47] + string("0123456789abcdef"[(given[47]+1)%16])
	for _, row := range []struct {
		behaviour, transport, name, cookie string
		rcode                              int
	}{
		{"the cookie that was given", "udp", "web.service.test.", given, dns.RcodeSuccess},
		{"a denial", "udp", "wbe.service.test.", given, dns.RcodeNameError},
		{"a name that is refused", "udp", "example.com.", given, dns.RcodeRefused},
		{"another cookie", "udp", "web.service.test.", wrong, dns.RcodeBadCookie},
		{"another over TCP, where nobody asks in another's name", "tcp", "web.service.test.", wrong, dns.RcodeSuccess},
		{"somebody else's", "udp", "web.service.test.", "ffffffffffffffff" + given[16:], dns.RcodeBadCookie},
		{"one of another kind of server", "udp", "web.service.test.", mine + "0011223344556677", dns.RcodeBadCookie},
	} {
		reply := ask(row.transport, row.name, row.cookie)
		if reply.Rcode != row.rcode || len(cookieOf(reply)) != 48 {
			t.Errorf("%s: %s, cookie %q", row.behaviour, dns.RcodeToString[reply.Rcode], cookieOf(reply))
		}
		if again := ask("udp", "web.service.test.", cookieOf(reply)); again.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: with the new cookie: %s", row.behaviour, dns.RcodeToString[again.Rcode])
		}
	}
	if reply := l.ask(t, "udp", question("web.service.test.", dns.TypeA, 1232)); cookieOf(reply) != "" {
		t.Error("there is a cookie for a query without one")
	}
}

func TestACookieIsGivenWithoutAQuestion(t *testing.T) { // RFC 7873, 5.4
	const mine = "0102030405060708"
	l := newLab(t)
	ask := func(transport, cookie string) *dns.Msg {
		m := new(dns.Msg).SetEdns0(1232, false)
		m.Id = dns.Id()
		if cookie != "" {
			withCookie(m, cookie)
		}
		return l.ask(t, transport, m)
	}
	for _, transport := range []string{"udp", "tcp"} {
		reply := ask(transport, mine)
		if reply.Rcode != dns.RcodeSuccess || len(cookieOf(reply)) != 48 || len(reply.Question)+len(reply.Answer) > 0 {
			t.Errorf("over %s:\n%v", transport, reply)
		}
		if again := ask(transport, cookieOf(reply)); again.Rcode != dns.RcodeSuccess || len(cookieOf(again)) != 48 {
			t.Errorf("over %s, with the cookie that was given:\n%v", transport, again)
		}
	}
	if reply := ask("udp", mine+"0011223344556677"); reply.Rcode != dns.RcodeBadCookie || len(cookieOf(reply)) != 48 {
		t.Errorf("for one that was not given:\n%v", reply)
	}
	if reply := ask("udp", ""); reply.Rcode != dns.RcodeFormatError || reply.IsEdns0() == nil {
		t.Errorf("for none:\n%v", reply)
	}
}

func TestACookieIsGoodForATimeAndAnAddress(t *testing.T) {
	now := time.Now()
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	c := newCookies(now)
	var option [cookieOption]byte
	c.give(&option, []byte("12345678"), here, now)
	cookie := option[4:]
	for _, row := range []struct {
		behaviour string
		from      netip.Addr
		after     time.Duration
		want      bool
	}{
		{"at once", here, 0, true},
		{"mapped into IPv6", netip.AddrFrom16(here.As16()), 0, true},
		{"from elsewhere", there, 0, false},
		{"an hour later", here, time.Hour, true},
		{"longer", here, time.Hour + time.Second, false},
		{"where the clock is a little behind", here, -5 * time.Minute, true},
		{"where it is far behind", here, -6 * time.Minute, false},
	} {
		if c.good(cookie, row.from, now.Add(row.after)) != row.want {
			t.Errorf("%s: %v", row.behaviour, !row.want)
		}
	}
	later := now.Add(secretAge)
	c.give(&option, []byte("12345678"), here, later.Add(-time.Minute))
	if !c.good(option[4:], here, later.Add(time.Minute)) {
		t.Error("a cookie is not good after the secret has changed")
	}
	if again := later.Add(secretAge); c.good(option[4:], here, again) {
		t.Error("a cookie is good after two secrets")
	}
}

// TestCookiesAreThoseOfTheRFC computes the example of RFC 9018, appendix A.1.
func TestCookiesAreThoseOfTheRFC(t *testing.T) {
	key, _ := hex.DecodeString("e5e973e5a6b2a43f48e7dc849e37bfcf")
	s := secret{}
	for n := range 8 {
		s.k0 |= uint64(key[n]) << (8 * n)
		s.k1 |= uint64(key[8+n]) << (8 * n)
	}
	said, _ := hex.DecodeString("2464c4abcf10c957010000005cf79f11")
	got := s.hash(said, netip.MustParseAddr("198.51.100.100"))
	t.Logf("the octets of its hash are %x", binary.LittleEndian.AppendUint64(nil, got))
	if got != 0x8094e2eec330811f { // octets 1f8130c3eee29480
		t.Errorf("the hash is %x", got)
	}
}
