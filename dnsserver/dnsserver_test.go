package dnsserver

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/embedded"
	"github.com/rollcall-dns/rollcall/zones"
	"github.com/rollcall-dns/rollcall/zones/static"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a pipeline over a registry in memory.
type lab struct {
	*pipeline
	registry *embedded.Registry
	server   *Server
	measured *prometheus.Registry
	others   *cache.ForwardedCache // of a lab that forwards
}

func newLab(t testing.TB) *lab { return newLabOf(t, "test.") }

// newLabOf returns a lab with these zones.
func newLabOf(t testing.TB, names ...string) *lab { return newLabWith(t, nil, names...) }

// newLabWith returns a lab with zone files, too.
func newLabWith(t testing.TB, files static.Files, names ...string) *lab {
	t.Helper()
	return newLabFrom(t, zones.Config{Zones: names, Files: files})
}

// newLabFrom returns a lab with zones of which only what is particular is said.
func newLabFrom(t testing.TB, config zones.Config) *lab {
	t.Helper()
	config.Node, config.Service = "n1", "rollcall"
	config.TTL, config.NegativeTTL = cmp.Or(config.TTL, 5*time.Second), cmp.Or(config.NegativeTTL, 5*time.Second)
	r, err := embedded.Open(context.Background(), embedded.Config{Node: registry.Node{Name: "n1", Address: "10.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	z, err := zones.New(config)
	if err != nil {
		t.Fatal(err)
	}
	measured := prometheus.NewRegistry()
	c, err := cache.New(cache.Config{Metrics: measured})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Registry: r, Zones: z, Cache: c, Addrs: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return &lab{pipeline: s.newest.Load(), registry: r, server: s, measured: measured}
}

func (l *lab) register(t testing.TB, i registry.Instance) {
	t.Helper()
	if err := l.registry.Register(context.Background(), registry.Registration{Instance: &i}); err != nil {
		t.Fatal(err)
	}
}

// registerMany registers instances of a service, each with an address of its own.
func (l *lab) registerMany(t testing.TB, service string, n int) {
	t.Helper()
	for i := range n {
		l.register(t, registry.Instance{Service: service, ID: fmt.Sprintf("%s-%d", service, i), Port: 8000 + i, Address: fmt.Sprintf("10.1.%d.%d", i>>8, i&255)})
	}
}

// run serves on sockets until the test ends, and returns their address.
func (l *lab) run(t testing.TB) string {
	t.Helper()
	if err := l.server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- l.server.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.server.Addrs()[0].String()
}

var client = netip.MustParseAddrPort("192.0.2.1:5353")

// ask puts a message through the pipeline.
func (l *lab) ask(t testing.TB, transport string, m *dns.Msg) *dns.Msg {
	t.Helper()
	query, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply := l.newWorker(transport).serve(nil, query, client)
	answer := new(dns.Msg)
	if err := answer.Unpack(reply); err != nil {
		t.Fatalf("the reply %x: %v", reply, err)
	}
	return answer
}

func question(name string, qtype uint16, edns int) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name, qtype)
	if edns > 0 {
		m.SetEdns0(uint16(edns), false)
	}
	return m
}

func TestResponseCodes(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	for _, row := range []struct {
		name string
		edit func(*dns.Msg)
		want int
		aa   bool
	}{
		{"a name that is there", func(*dns.Msg) {}, dns.RcodeSuccess, true},
		{"another type", func(m *dns.Msg) { m.Question[0].Qtype = 1000 }, dns.RcodeSuccess, true},
		{"a name that is not there", func(m *dns.Msg) { m.Question[0].Name = "wbe.service.test." }, dns.RcodeNameError, true},
		{"a name outside", func(m *dns.Msg) { m.Question[0].Name = "example.com." }, dns.RcodeRefused, false},
		{"the root", func(m *dns.Msg) { m.Question[0].Name = "." }, dns.RcodeRefused, false},
		{"a name that only looks as if inside", func(m *dns.Msg) { m.Question[0].Name = `web.service\.test.` }, dns.RcodeRefused, false},
		{"no question", func(m *dns.Msg) { m.Question = nil }, dns.RcodeFormatError, false},
		{"two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, dns.RcodeFormatError, false},
		{"class CH", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused, false},
		{"any class", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }, dns.RcodeRefused, false},
		{"class 0", func(m *dns.Msg) { m.Question[0].Qclass = 0 }, dns.RcodeRefused, false},
		{"a transfer", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, dns.RcodeRefused, false},
		{"NOTIFY", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, dns.RcodeNotImplemented, false},
		{"UPDATE", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented, false},
		{"opcode 15", func(m *dns.Msg) { m.Opcode = 15 }, dns.RcodeNotImplemented, false},
		{"EDNS version 1", func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(1) }, dns.RcodeBadVers, false},
		{"two OPT records", func(m *dns.Msg) { m.SetEdns0(1232, false); m.Extra = append(m.Extra, m.Extra[0]) }, dns.RcodeFormatError, false},
		{"an unknown option", func(m *dns.Msg) {
			m.SetEdns0(1232, true).IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}}
		}, dns.RcodeSuccess, true},
		{"a cookie of 9 octets", func(m *dns.Msg) {
			m.SetEdns0(1232, true).IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: optionCookie, Data: make([]byte, 9)}}
		}, dns.RcodeFormatError, false},
	} {
		m := question("web.service.test.", dns.TypeA, 0)
		row.edit(m)
		answer := l.ask(t, "udp", m)
		if answer.Rcode != row.want || answer.Authoritative != row.aa || answer.RecursionAvailable || answer.Id != m.Id || answer.Opcode != m.Opcode || !answer.Response {
			t.Errorf("%s: got\n%v", row.name, answer)
		}
		opt := answer.IsEdns0()
		if asked := m.IsEdns0(); (asked != nil) != (opt != nil) {
			t.Errorf("%s: OPT in the query: %v, in the reply: %v", row.name, asked != nil, opt != nil)
		} else if opt != nil && (opt.Version() != 0 || opt.Do() != asked.Do() || opt.UDPSize() != 1232) {
			t.Errorf("%s: OPT is %v", row.name, opt)
		}
	}
}

func TestMalformedMessages(t *testing.T) {
	l := newLab(t)
	header := func(counts ...byte) []byte { return append([]byte{1, 2, 1, 0}, counts...) }
	one := header(0, 1, 0, 0, 0, 0, 0, 0)
	for _, row := range []struct {
		name  string
		query []byte
		want  int // a response code; -1: no reply
	}{
		{"nothing", nil, -1},
		{"11 octets", one[:11], -1},
		{"a reply", append([]byte{1, 2, 0x81}, one[3:]...), -1},
		{"no question where one is announced", one, dns.RcodeFormatError},
		{"a pointer to itself", append(slices.Clone(one), 0xc0, 12, 0, 1, 0, 1), dns.RcodeFormatError},
		{"a pointer forwards", append(slices.Clone(one), 0xc0, 14, 0, 0, 1, 0, 1), dns.RcodeFormatError},
		{"a label of type 0x40", append(slices.Clone(one), 0x41, 'a', 0, 0, 1, 0, 1), dns.RcodeFormatError},
		{"a name of 256 octets", append(append(slices.Clone(one), bytes.Repeat([]byte("\x3f"+strings.Repeat("a", 63)), 4)...), 0, 0, 1, 0, 1), dns.RcodeFormatError},
		{"a name without its end", append(slices.Clone(one), 3, 'w', 'e', 'b'), dns.RcodeFormatError},
		{"no class", append(slices.Clone(one), 0, 0, 1), dns.RcodeFormatError},
		{"octets after the end", append(slices.Clone(one), 0, 0, 1, 0, 1, 0xff), dns.RcodeFormatError},
		{"a record that is not there", append(header(0, 1, 0, 0, 0, 0, 0, 1), 0, 0, 1, 0, 1), dns.RcodeFormatError},
		{"an option longer than its record", append(header(0, 1, 0, 0, 0, 0, 0, 1), 0, 0, 1, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 3, 0, 9), dns.RcodeFormatError},
	} {
		reply := l.newWorker("udp").serve(nil, row.query, client)
		switch {
		case row.want < 0 && reply != nil:
			t.Errorf("%s: got the reply %x", row.name, reply)
		case row.want >= 0 && (len(reply) < headerSize || int(reply[3]&0xf) != row.want):
			t.Errorf("%s: got the reply %x, want code %d", row.name, reply, row.want)
		}
	}
}

func TestCaseOfTheQuestionSurvives(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "Web", Port: 80})
	for _, name := range []string{"wEb.SerVICE.tEST.", "web.service.test.", "WEB.SERVICE.TEST."} {
		answer := l.ask(t, "udp", question(name, dns.TypeSRV, 0))
		if len(answer.Answer) != 1 || answer.Question[0].Name != name || answer.Answer[0].Header().Name != name {
			t.Errorf("asked %s, got\n%v", name, answer)
		}
	}
}

func TestTruncation(t *testing.T) {
	l := newLab(t)
	l.registerMany(t, "big", 60)
	for _, row := range []struct {
		name       string
		transport  string
		qtype      uint16
		edns, most int
		all        bool
	}{
		{"A without EDNS", "udp", dns.TypeA, 0, 512, false},
		{"A with EDNS", "udp", dns.TypeA, 1232, 1232, true},
		{"a size below 512 counts as 512", "udp", dns.TypeA, 100, 512, false},
		{"SRV with EDNS", "udp", dns.TypeSRV, 1232, 1232, false},
		{"a size of 65535 gets no more than 1232", "udp", dns.TypeSRV, 65535, 1232, false},
		{"SRV over TCP", "tcp", dns.TypeSRV, 0, 65535, true},
		{"ANY is bounded by the query", "udp", dns.TypeANY, 1232, 10 * 45, false},
	} {
		answer := l.ask(t, row.transport, question("big.service.test.", row.qtype, row.edns))
		raw, _ := answer.Pack()
		if answer.Truncated == row.all || (len(answer.Answer) == 60) != row.all || len(answer.Answer) == 0 {
			t.Errorf("%s: TC %v, %d records", row.name, answer.Truncated, len(answer.Answer))
		}
		if (answer.IsEdns0() != nil) != (row.edns > 0) {
			t.Errorf("%s: OPT is lost", row.name)
		}
		_ = raw
		query, _ := question("big.service.test.", row.qtype, row.edns).Pack()
		if reply := l.newWorker(row.transport).serve(nil, query, client); len(reply) > row.most {
			t.Errorf("%s: %d octets, at most %d", row.name, len(reply), row.most)
		}
	}
}

func TestTruncatedAnswersShowAllInTime(t *testing.T) {
	l := newLab(t)
	l.registerMany(t, "big", 60)
	seen := make(map[string]bool)
	for range 100 {
		for _, rr := range l.ask(t, "udp", question("big.service.test.", dns.TypeA, 0)).Answer {
			seen[rr.(*dns.A).A.String()] = true
		}
	}
	if len(seen) != 60 {
		t.Errorf("100 truncated answers show %d of 60 instances", len(seen))
	}
}

func TestGlueIsTheDirectAnswer(t *testing.T) {
	l := newLab(t)
	l.registerMany(t, "web", 3)
	answer := l.ask(t, "udp", question("web.service.test.", dns.TypeSRV, 1232))
	if len(answer.Answer) != 3 || len(answer.Extra) != 4 {
		t.Fatalf("got\n%v", answer)
	}
	for _, rr := range answer.Extra[:3] {
		direct := l.ask(t, "udp", question(rr.Header().Name, dns.TypeA, 0))
		if len(direct.Answer) != 1 || direct.Answer[0].String() != rr.String() {
			t.Errorf("glue %v, and asked for directly:\n%v", rr, direct)
		}
	}
}

func TestLargeServicesAreCappedAlikeForAClient(t *testing.T) {
	l := newLab(t)
	l.registerMany(t, "huge", 250)
	ask := func(from string) []string {
		query, _ := question("huge.service.test.", dns.TypeA, 0).Pack()
		reply := l.newWorker("tcp").serve(nil, query, netip.MustParseAddrPort(from))
		answer := new(dns.Msg)
		if err := answer.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		var addresses []string
		for _, rr := range answer.Answer {
			addresses = append(addresses, rr.(*dns.A).A.String())
		}
		slices.Sort(addresses)
		return addresses
	}
	first := ask("192.0.2.1:1")
	if len(first) != 100 {
		t.Errorf("%d records, want 100", len(first))
	}
	if !slices.Equal(first, ask("192.0.2.1:2")) {
		t.Error("the same client got others")
	}
	all := make(map[string]bool)
	for n := range 64 {
		for _, a := range ask(fmt.Sprintf("192.0.2.%d:1", n)) {
			all[a] = true
		}
	}
	if len(all) != 250 {
		t.Errorf("64 clients see %d of 250 instances", len(all))
	}
}

func TestSerialMovesWithTheRegistry(t *testing.T) {
	l := newLab(t)
	serials := func() (serials []uint32) {
		apex := l.ask(t, "udp", question("test.", dns.TypeSOA, 0))
		noData := l.ask(t, "udp", question("n1.node.test.", dns.TypeAAAA, 0))
		return []uint32{apex.Answer[0].(*dns.SOA).Serial, noData.Ns[0].(*dns.SOA).Serial}
	}
	before := serials()
	l.register(t, registry.Instance{Service: "web", Port: 80})
	after := serials()
	if before[0] != before[1] || after[0] != after[1] || after[0] <= before[0] {
		t.Errorf("serials were %v and are %v", before, after)
	}
}

func TestTheReasonIsToldToWhoSpeaksEDNS(t *testing.T) {
	l := newLab(t)
	answer := l.ask(t, "udp", question("wbe.service.test.", dns.TypeA, 1232))
	option := answer.IsEdns0().Option
	if len(option) != 1 || option[0].(*dns.EDNS0_EDE).ExtraText != "no service wbe is registered" {
		t.Errorf("options are %v", option)
	}
}

func TestOverSockets(t *testing.T) {
	l := newLab(t)
	l.registerMany(t, "web", 60)
	addr := l.run(t)
	for _, network := range []string{"udp", "tcp"} {
		answer, _, err := (&dns.Client{Net: network}).Exchange(question("web.service.test.", dns.TypeSRV, 1232), addr)
		if err != nil {
			t.Fatal(err)
		}
		if whole := len(answer.Answer) == 60; whole == answer.Truncated || whole != (network == "tcp") {
			t.Errorf("%s: %d records, TC %v", network, len(answer.Answer), answer.Truncated)
		}
	}
}

func TestRepliesLeaveFromWhereTheQueryCameTo(t *testing.T) {
	l := newLab(t)
	l.server.config.Addrs = []string{"0.0.0.0:0"}
	_, port, _ := net.SplitHostPort(l.run(t))
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "127.1.2.3"} {
		if _, _, err := new(dns.Client).Exchange(question("test.", dns.TypeSOA, 0), net.JoinHostPort(host, port)); err != nil {
			t.Errorf("asked at %s: %v", host, err)
		}
	}
}

// framed returns a message as TCP has it.
func framed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	raw, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...)
}

func TestPipelinedQueriesAreAllAnsweredAfterAHalfClose(t *testing.T) {
	l := newLab(t)
	l.register(t, registry.Instance{Service: "web", Port: 80})
	conn, err := net.Dial("tcp", l.run(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var burst []byte
	for n := range 50 {
		m := question("web.service.test.", dns.TypeSRV, 0)
		m.Id = uint16(n)
		burst = append(burst, framed(t, m)...)
	}
	if _, err := conn.Write(burst); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for len(all) >= 2 {
		size := int(binary.BigEndian.Uint16(all))
		answer := new(dns.Msg)
		if err := answer.Unpack(all[2 : 2+size]); err != nil || int(answer.Id) != got {
			t.Fatalf("reply %d: %v, %v", got, answer, err)
		}
		all, got = all[2+size:], got+1
	}
	t.Logf("50 queries in one write, and half a close: %d answers", got)
	if got != 50 {
		t.Errorf("%d replies to 50 queries", got)
	}
}

func TestLengthThatIsNoMessagesEndsTheConnection(t *testing.T) {
	l := newLab(t)
	c, err := net.Dial("tcp", l.run(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{0, 3, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("it got a reply")
	}
}

// FuzzServe holds whatever comes to what every reply must be.
func FuzzServe(f *testing.F) {
	l := newLab(f)
	l.registerMany(f, "web", 3)
	for _, m := range []*dns.Msg{
		question("web.service.test.", dns.TypeA, 0), question("web.service.test.", dns.TypeSRV, 1232),
		question("nobody.service.test.", dns.TypeANY, 4096), question("1.1.0.10.in-addr.arpa.", dns.TypePTR, 0),
		question("_services._dns-sd._udp.test.", dns.TypePTR, 512), question(".", dns.TypeNS, 1232),
	} {
		raw, _ := m.Pack()
		f.Add(raw)
	}
	w := l.newWorker("udp")
	f.Fuzz(func(t *testing.T, query []byte) {
		reply := w.serve(nil, query, client)
		if reply == nil {
			if len(query) >= headerSize && query[2]&0x80 == 0 {
				t.Error("a query got no reply")
			}
			return
		}
		answer := new(dns.Msg)
		if err := answer.Unpack(reply); err != nil {
			t.Fatalf("the reply %x: %v", reply, err)
		}
		if len(query) < headerSize || query[2]&0x80 != 0 || !answer.Response || answer.Id != binary.BigEndian.Uint16(query) ||
			answer.Opcode != int(query[2]>>3&0xf) || len(reply) > cache.UDPSize || w.panics.Load() > 0 {
			t.Errorf("the query %x got the reply %x", query, reply)
		}
	})
}

func BenchmarkServe(b *testing.B) {
	l := newLab(b)
	l.registerMany(b, "web", 3)
	for _, row := range []struct {
		name  string
		query *dns.Msg
	}{
		{"A", question("web.service.test.", dns.TypeA, 1232)},
		{"SRV", question("web.service.test.", dns.TypeSRV, 1232)},
		{"nx", question("nobody.service.test.", dns.TypeA, 1232)},
	} {
		b.Run(row.name, func(b *testing.B) {
			query, _ := row.query.Pack()
			w := l.newWorker("udp")
			reply := w.serve(make([]byte, 0, cache.UDPSize), query, client)
			if reply[3]&0xf == dns.RcodeSuccess {
				l.cached(b, w, query)
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				w.read(&w.queries[0], query)
				if reply = w.reply(&w.queries[0], reply[:0], client.Addr()); n%64 == 0 { // as in a batch
					w.publish()
				}
			}
		})
	}
}

// TestThePortThatIsChosenIsFreeForBoth has a quarter of the ports taken over UDP.
func TestThePortThatIsChosenIsFreeForBoth(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs an address of its own")
	}
	const host = "127.83.0.1"
	for port := 32769; port < 61000; port += 4 { // the system prefers odd ones here
		c, err := net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			t.Skip("needs many sockets: ", err)
		}
		defer c.Close()
	}
	for range 40 {
		l := newLab(t)
		l.server.config.Addrs = []string{host + ":0"}
		if err := l.server.Listen(); err != nil {
			t.Fatal(err)
		}
		l.server.close()
	}
}
