package dnsserver

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/cache"
	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
	"github.com/rollcall-dns/rollcall/zones/dnssec"
	"github.com/rollcall-dns/rollcall/zones/static"
)

// signedLab is a lab whose zones are signed: test., the zone of a file, and that of
// the addresses in 10.0.0.0/8.
type signedLab struct {
	*lab
	keys map[string]*dns.DNSKEY
}

const signedFile = `www   CNAME a
a     A 192.0.2.1
*.any A 192.0.2.2
mail  MX 10 a
sub   NS ns.sub
ns.sub A 192.0.2.53
safe  NS ns.sub
safe  DS 12345 13 2 00000000000000000000000000000000000000000000000000000000000000ff
Safe  DS 12346 13 2 00000000000000000000000000000000000000000000000000000000000000fe
old   DNAME new
x.new TXT here
gone  CNAME nothing
out   CNAME www.example.com.
ours  CNAME web.service.test.
deep  CNAME x.sub
`

func newSignedLab(t testing.TB) *signedLab {
	t.Helper()
	var keys []*dnssec.Key
	for _, zone := range []string{"test.", "corp.example.", "10.in-addr.arpa."} {
		key, err := dnssec.Generate(zone)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return newSignedLabWith(t, keys)
}

func newSignedLabWith(t testing.TB, keys []*dnssec.Key) *signedLab {
	t.Helper()
	files := static.Files{zoneFile(t, "corp.example.", 5, signedFile)}
	return newSignedLabOf(t, zones.Config{Zones: []string{"test."}, Files: files, Keys: keys})
}

func newSignedLabOf(t testing.TB, config zones.Config) *signedLab {
	t.Helper()
	l := &signedLab{newLabFrom(t, config), make(map[string]*dns.DNSKEY)}
	for zone := range l.zones.All() {
		if zone.Signer() != nil {
			for _, rr := range zone.Signer().Keys(dns.TypeDNSKEY) {
				l.keys[fmt.Sprint(zone.Name, rr.(*dns.DNSKEY).KeyTag())] = rr.(*dns.DNSKEY)
			}
		}
	}
	return l
}

// askDO asks as a validating resolver does.
func (l *signedLab) askDO(t testing.TB, transport, name string, qtype uint16) *dns.Msg {
	t.Helper()
	return l.ask(t, transport, new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, true))
}

// verify checks that each RRset that is the zone's has a good signature, and
// returns the types that were signed in the answer and the authority section.
func (l *signedLab) verify(t testing.TB, m *dns.Msg) (signed []string) {
	t.Helper()
	for n, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		sets := make(map[string][]dns.RR)
		for _, rr := range section {
			key := fmt.Sprint(dns.CanonicalName(rr.Header().Name), rr.Header().Rrtype)
			if _, isRRSIG := rr.(*dns.RRSIG); !isRRSIG {
				rr = dns.Copy(rr)
				rr.Header().Name = dns.CanonicalName(rr.Header().Name) // of which miekg/dns is more particular than it should be
				sets[key] = append(sets[key], rr)
			}
		}
		for _, rr := range section {
			rrsig, ok := rr.(*dns.RRSIG)
			if !ok {
				continue
			}
			rrset := sets[fmt.Sprint(dns.CanonicalName(rrsig.Hdr.Name), rrsig.TypeCovered)]
			key := l.keys[fmt.Sprint(rrsig.SignerName, rrsig.KeyTag)]
			switch {
			case rrset == nil || key == nil:
				t.Errorf("a signature of nothing or of nobody: %v", rrsig)
			case canonical(rrsig).Verify(key, rrset) != nil:
				t.Errorf("a signature does not verify: %v\n%v", rrsig, rrset)
			case !rrsig.ValidityPeriod(time.Now()):
				t.Errorf("a signature is not good now: %v", rrsig)
			case n < 2:
				signed = append(signed, dns.Type(rrsig.TypeCovered).String())
			}
		}
	}
	slices.Sort(signed)
	return signed
}

func canonical(rrsig *dns.RRSIG) *dns.RRSIG {
	lowered := *rrsig
	lowered.Hdr.Name = dns.CanonicalName(rrsig.Hdr.Name)
	return &lowered
}

func TestWhatAValidatorAsksForIsSigned(t *testing.T) {
	l := newSignedLab(t)
	l.registerMany(t, "web", 3)
	for _, row := range []struct {
		name, qtype, rcode, signed string
	}{
		{"web.service.test.", "SRV", "NOERROR", "[SRV]"},
		{"web.service.test.", "A", "NOERROR", "[A]"},
		{"web.service.test.", "AAAA", "NOERROR", "[NSEC SOA]"},
		{"wEb.SERVICE.tesT.", "A", "NOERROR", "[A]"},
		{"WEB.service.test.", "TXT", "NOERROR", "[NSEC SOA]"},
		{"wbe.service.test.", "A", "NOERROR", "[NSEC SOA]"},
		{"wBE.Service.test.", "A", "NOERROR", "[NSEC SOA]"},
		{"service.test.", "A", "NOERROR", "[NSEC SOA]"},
		{"test.", "SOA", "NOERROR", "[SOA]"},
		{"test.", "NS", "NOERROR", "[NS]"},
		{"test.", "DNSKEY", "NOERROR", "[DNSKEY]"},
		{"test.", "CDS", "NOERROR", "[CDS]"},
		{"test.", "CDNSKEY", "NOERROR", "[CDNSKEY]"},
		{"test.", "DS", "NOERROR", "[NSEC SOA]"},
		{"test.", "ANY", "NOERROR", "[NS SOA]"},
		{"test.", "NSEC", "NOERROR", "[NSEC]"},
		{"wbe.service.test.", "NSEC", "NOERROR", "[NSEC]"},
		{"corp.example.", "SOA", "NOERROR", "[SOA]"},
		{"corp.example.", "DNSKEY", "NOERROR", "[DNSKEY]"},
		{"www.corp.example.", "A", "NOERROR", "[A CNAME]"},
		{"www.corp.example.", "TXT", "NOERROR", "[CNAME NSEC SOA]"},
		{"x.y.any.corp.example.", "A", "NOERROR", "[A]"},
		{"x.y.any.corp.example.", "TXT", "NOERROR", "[NSEC SOA]"},
		{"*.any.corp.example.", "A", "NOERROR", "[A]"},
		{"any.corp.example.", "A", "NOERROR", "[NSEC SOA]"},
		{"x.old.corp.example.", "TXT", "NOERROR", "[DNAME TXT]"},
		{"y.old.corp.example.", "TXT", "NOERROR", "[DNAME NSEC SOA]"},
		{"gone.corp.example.", "A", "NOERROR", "[CNAME NSEC SOA]"},
		{"out.corp.example.", "A", "NOERROR", "[CNAME]"},
		{"ours.corp.example.", "A", "NOERROR", "[A CNAME]"},
		{"deep.corp.example.", "A", "NOERROR", "[CNAME NSEC]"},
		{"nothing.corp.example.", "A", "NOERROR", "[NSEC SOA]"},
		{"x.sub.corp.example.", "A", "NOERROR", "[NSEC]"},
		{"sub.corp.example.", "DS", "NOERROR", "[NSEC SOA]"},
		{"x.safe.corp.example.", "A", "NOERROR", "[DS]"},
		{"safe.corp.example.", "DS", "NOERROR", "[DS]"},
		{"1.0.0.10.in-addr.arpa.", "PTR", "NOERROR", "[PTR]"},
		{"1.0.0.10.in-addr.arpa.", "TXT", "NOERROR", "[NSEC SOA]"},
		{"9.9.9.10.in-addr.arpa.", "PTR", "NOERROR", "[NSEC SOA]"},
		{"10.in-addr.arpa.", "SOA", "NOERROR", "[SOA]"},
		{"1.168.192.in-addr.arpa.", "PTR", "NXDOMAIN", "[]"}, // a zone without a key
	} {
		for _, transport := range []string{"udp", "tcp", "udp"} { // the last time, perhaps, from the cache
			m := l.askDO(t, transport, row.name, dns.StringToType[row.qtype])
			signed := fmt.Sprint(l.verify(t, m))
			if rcode := dns.RcodeToString[m.Rcode]; signed != row.signed || rcode != row.rcode || m.AuthenticatedData {
				t.Errorf("%s %s over %s: %s, signed %s; want %s, signed %s\n%v", row.name, row.qtype, transport, rcode, signed, row.rcode, row.signed, m)
			}
		}
	}
}

// TestSignedAnswersHoldWhatOthersDo asks each question of package zones' golden
// answers, and others of the same names, with DO and without: all records but
// signatures and NSEC are the same, and each RRset of a signed zone has a signature.
func TestSignedAnswersHoldWhatOthersDo(t *testing.T) {
	var keys []*dnssec.Key
	for _, zone := range []string{"consul.", "test-domain.", "10.in-addr.arpa.", "127.in-addr.arpa."} {
		key, err := dnssec.Generate(zone)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	l := newSignedLabOf(t, zones.Config{Zones: []string{"consul.", "test-domain."}, Keys: keys})
	l.signing.network, l.signing.all = newLimiter(RateLimit{PerSecond: 1 << 20}), newLimiter(RateLimit{PerSecond: 1 << 20})
	l.registerMany(t, "web", 3)
	l.register(t, registry.Instance{Service: "db", Tags: []string{"primary", "v1"}, Port: 12345, Address: "127.0.0.2", Meta: map[string]string{"k": "v"}})
	l.register(t, registry.Instance{Service: "api", Port: 1, Address: "www.example"})
	l.register(t, registry.Instance{Service: "alias", Port: 1, Address: "db.service.consul"})
	content, err := os.ReadFile("../zones/testdata/questions.txt")
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]int)
	for line := range strings.Lines(string(content)) {
		name, qtype, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, qtype := range []string{qtype, "A", "AAAA", "TXT", "SRV", "PTR", "MX", "DS", "NSEC", "ANY"} {
			plain := l.ask(t, "tcp", question(name, dns.StringToType[qtype], 1232))
			m := l.askDO(t, "tcp", name, dns.StringToType[qtype])
			signed := l.verify(t, m)
			nsec := slices.Contains(signed, "NSEC")
			if got, want := unsigned(m.Answer), unsigned(plain.Answer); got != want {
				t.Errorf("%s %s: the answer is\n%s\nand without DO\n%s", name, qtype, got, want)
			}
			if got, want := unsigned(m.Ns), unsigned(plain.Ns); got != want && qtype != "NSEC" {
				t.Errorf("%s %s: the authority is\n%s\nand without DO\n%s", name, qtype, got, want)
			}
			if absent := plain.Rcode == dns.RcodeNameError && nsec; m.Rcode != plain.Rcode && !absent || absent && m.Rcode != dns.RcodeSuccess {
				t.Errorf("%s %s: %s, and without DO %s", name, qtype, dns.RcodeToString[m.Rcode], dns.RcodeToString[plain.Rcode])
			}
			for _, missing := range l.withoutSignature(m) {
				t.Errorf("%s %s: no signature of %s", name, qtype, missing)
			}
			kinds[fmt.Sprint(signed)]++
		}
	}
	if len(kinds) < 8 {
		t.Errorf("too few kinds of answers: %v", kinds)
	}
}

// unsigned returns records without those of DNSSEC, in one order.
func unsigned(rrs []dns.RR) string {
	var all []string
	for _, rr := range rrs {
		if t := rr.Header().Rrtype; t != dns.TypeRRSIG && t != dns.TypeNSEC {
			all = append(all, rr.String())
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// withoutSignature returns the RRsets of the answer and the authority section that
// lie in a signed zone and have no signature.
func (l *signedLab) withoutSignature(m *dns.Msg) (missing []string) {
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			h := rr.Header()
			ours := slices.ContainsFunc(slices.Collect(maps.Values(l.keys)), func(k *dns.DNSKEY) bool { return dns.IsSubDomain(k.Hdr.Name, h.Name) })
			if ours && h.Rrtype != dns.TypeRRSIG && !slices.ContainsFunc(section, func(other dns.RR) bool {
				rrsig, ok := other.(*dns.RRSIG)
				return ok && rrsig.TypeCovered == h.Rrtype && strings.EqualFold(rrsig.Hdr.Name, h.Name)
			}) {
				missing = append(missing, rr.String())
			}
		}
	}
	return missing
}

func TestWhoDoesNotValidateGetsNoSignatures(t *testing.T) {
	l := newSignedLab(t)
	l.registerMany(t, "web", 3)
	for _, name := range []string{"web.service.test.", "wbe.service.test.", "test.", "x.any.corp.example.", "nothing.corp.example.", "x.sub.corp.example."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeDNSKEY, dns.TypeANY} {
			l.askDO(t, "udp", name, qtype)
			m := l.ask(t, "udp", question(name, qtype, 1232))
			for _, rr := range slices.Concat(m.Answer, m.Ns, m.Extra) {
				if rrtype := rr.Header().Rrtype; rrtype == dns.TypeRRSIG || rrtype == dns.TypeNSEC {
					t.Errorf("%s %s: %v", name, dns.Type(qtype), rr)
				}
			}
			if exists := name != "wbe.service.test." && name != "nothing.corp.example."; exists == (m.Rcode == dns.RcodeNameError) {
				t.Errorf("%s: %s", name, dns.RcodeToString[m.Rcode])
			}
		}
	}
}

func TestANameThatDoesNotExistIsDeniedByOneRecord(t *testing.T) {
	l := newSignedLab(t)
	for name, want := range map[string]string{
		"wbe.service.test.":      "[RRSIG NSEC NXNAME]",
		"service.test.":          "[RRSIG NSEC]",
		"sub.corp.example.":      "[NS RRSIG NSEC]",
		"a.corp.example.":        "[A RRSIG NSEC]",
		"x.any.corp.example.":    "[A RRSIG NSEC]",
		"corp.example.":          "[NS SOA RRSIG NSEC DNSKEY CDS CDNSKEY]",
		"8.0.0.10.in-addr.arpa.": "[RRSIG NSEC NXNAME]",
	} {
		m := l.askDO(t, "udp", name, dns.TypeDS)
		var nsec *dns.NSEC
		for _, rr := range m.Ns {
			if rr, ok := rr.(*dns.NSEC); ok {
				nsec = rr
			}
		}
		if nsec == nil || nsec.Hdr.Name != name || nsec.NextDomain != `\000.`+name {
			t.Fatalf("%s: %v", name, nsec)
		}
		var types []string
		for _, rrtype := range nsec.TypeBitMap {
			types = append(types, dns.Type(rrtype).String())
		}
		if fmt.Sprint(types) != want {
			t.Errorf("%s: %v, want %s", name, types, want)
		}
	}
}

// TestCompactAnswersAreToldToWhoUnderstandsThem sets CO (RFC 9824, section 5.1).
func TestCompactAnswersAreToldToWhoUnderstandsThem(t *testing.T) {
	l := newSignedLab(t)
	l.registerMany(t, "web", 1)
	for name, want := range map[string]int{
		"wbe.service.test.": dns.RcodeNameError, "gone.corp.example.": dns.RcodeNameError, "web.service.test.": dns.RcodeSuccess, "service.test.": dns.RcodeSuccess,
	} {
		m := new(dns.Msg).SetQuestion(name, dns.TypeTXT).SetEdns0(1232, true)
		m.IsEdns0().SetCo()
		m = l.ask(t, "udp", m)
		l.verify(t, m)
		if m.Rcode != want || !m.IsEdns0().Co() {
			t.Errorf("%s: %v", name, m)
		}
	}
	if m := l.ask(t, "udp", question("web.service.test.", dns.TypeNXNAME, 1232)); m.Rcode != dns.RcodeFormatError || extendedError(m) != int(dns.ExtendedErrorCodeInvalidQueryType) {
		t.Errorf("a query for NXNAME:\n%v", m)
	}
}

func TestSignaturesAloneAreAnsweredWithOne(t *testing.T) {
	l := newSignedLab(t)
	l.registerMany(t, "web", 3)
	for _, do := range []bool{false, true} {
		m := l.ask(t, "udp", new(dns.Msg).SetQuestion("web.service.test.", dns.TypeRRSIG).SetEdns0(1232, do))
		if len(m.Answer) != 1 || len(m.Ns) > 0 || m.Answer[0].Header().Rrtype != dns.TypeRRSIG {
			t.Errorf("DO %v:\n%v", do, m)
		}
	}
}

// TestEachOrderAndEachSubsetVerifies asks for a service that is larger than an
// answer may be.
func TestEachOrderAndEachSubsetVerifies(t *testing.T) {
	l := newSignedLab(t)
	l.registerMany(t, "web", 250)
	query, _ := new(dns.Msg).SetQuestion("web.service.test.", dns.TypeA).SetEdns0(1232, true).Pack()
	w := l.newWorker("tcp")
	firsts := make(map[string]bool)
	for n := range 30 {
		m := new(dns.Msg)
		if err := m.Unpack(w.serve(nil, query, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 53))); err != nil {
			t.Fatal(err)
		}
		if signed := l.verify(t, m); len(m.Answer) < 80 || len(signed) != 1 {
			t.Fatalf("%d records, signed %v", len(m.Answer), signed)
		}
		firsts[m.Answer[0].String()] = true
	}
	if len(firsts) < 10 {
		t.Errorf("of 30 answers only %d begin differently", len(firsts))
	}
	if signer := l.zones.Primary().Signer(); signer.Made() > 3 {
		t.Errorf("%d signatures were made", signer.Made())
	}
}

func TestTheSerialOfACachedDenialMoves(t *testing.T) {
	l := newSignedLab(t)
	l.registerMany(t, "web", 1)
	serial := func() uint32 {
		m := l.askDO(t, "udp", "web.service.test.", dns.TypeAAAA)
		l.verify(t, m)
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				return soa.Serial
			}
		}
		return 0
	}
	before := serial()
	w := l.newWorker("udp")
	query, _ := new(dns.Msg).SetQuestion("web.service.test.", dns.TypeAAAA).SetEdns0(1232, true).Pack()
	l.cached(t, w, query)
	l.register(t, registry.Instance{Service: "other", Port: 80})
	if after := serial(); after == before || after == 0 {
		t.Errorf("the serial was %d and is %d", before, after)
	}
}

// TestNoAnswerOutlivesItsSignatures asks for weeks what does not change.
func TestNoAnswerOutlivesItsSignatures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSignedLab(t)
		l.registerMany(t, "web", 3)
		w := l.newWorker("udp")
		for range 40 {
			for _, ask := range []struct {
				name  string
				qtype uint16
			}{{"web.service.test.", dns.TypeSRV}, {"web.service.test.", dns.TypeAAAA}, {"test.", dns.TypeDNSKEY}, {"test.", dns.TypeSOA}, {"www.corp.example.", dns.TypeA}} {
				query, _ := new(dns.Msg).SetQuestion(ask.name, ask.qtype).SetEdns0(1232, true).Pack()
				for range 3 {
					m := new(dns.Msg)
					if err := m.Unpack(w.serve(nil, query, client)); err != nil {
						t.Fatal(err)
					}
					if l.verify(t, m) == nil {
						t.Fatalf("%s is not signed:\n%v", ask.name, m)
					}
					for _, rr := range slices.Concat(m.Answer, m.Ns, m.Extra) {
						if rrsig, ok := rr.(*dns.RRSIG); ok && (!rrsig.ValidityPeriod(time.Now().Add(6*24*time.Hour)) || !rrsig.ValidityPeriod(time.Now().Add(-time.Hour))) {
							t.Fatalf("a signature is good from %d to %d only, and it is %d", rrsig.Inception, rrsig.Expiration, time.Now().Unix())
						}
					}
					synctest.Wait() // until it is in the cache
				}
			}
			time.Sleep(11 * time.Hour)
		}
	})
}

func TestAnAnswerWithoutRoomForItsSignaturesIsTruncated(t *testing.T) {
	l := newSignedLab(t)
	l.registerMany(t, "web", 6)
	for size := 512; size <= 1232; size += 8 {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeAAAA} {
			m := l.ask(t, "udp", new(dns.Msg).SetQuestion("web.service.test.", qtype).SetEdns0(uint16(size), true))
			signed, records := l.verify(t, m), 0
			for _, rr := range m.Answer {
				if rr.Header().Rrtype == qtype {
					records++
				}
			}
			whole := len(signed) == 1 && records == 6 || len(signed) == 2 && qtype == dns.TypeAAAA
			if m.Truncated == whole {
				t.Errorf("%s in %d octets: truncated %v, and signed %v with %d records", dns.Type(qtype), size, m.Truncated, signed, records)
			}
		}
	}
}

func TestAdditionalSignaturesAreLeftOutFirst(t *testing.T) {
	l := newSignedLab(t)
	l.registerMany(t, "web", 8)
	m := l.askDO(t, "udp", "web.service.test.", dns.TypeSRV)
	addresses, signatures := 0, 0
	for _, rr := range m.Extra {
		switch rr.(type) {
		case *dns.A:
			addresses++
		case *dns.RRSIG:
			signatures++
		}
	}
	if signed := l.verify(t, m); m.Truncated || len(signed) != 1 || addresses < 8 && signatures > 0 {
		t.Errorf("%d addresses and %d signatures of them\n%v", addresses, signatures, m)
	}
	if m = l.askDO(t, "tcp", "web.service.test.", dns.TypeSRV); len(m.Extra) != 8+8+1 {
		t.Errorf("over TCP there are %d additional records, want 8 addresses, 8 signatures and OPT", len(m.Extra))
	}
	l.verify(t, m)
}

// TestMadeUpNamesCostABoundedNumberOfSignatures asks for more names than the budget
// of a second has signatures for, and for what was signed already.
func TestMadeUpNamesCostABoundedNumberOfSignatures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSignedLab(t)
		l.registerMany(t, "web", 1)
		made := func() uint64 { return l.zones.Primary().Signer().Made() }
		l.askDO(t, "udp", "1.0.0.10.in-addr.arpa.", dns.TypePTR)
		before := made()
		cut := 0
		for n := range 2 * signaturesPerNetwork {
			m := l.askDO(t, "udp", fmt.Sprintf("x%d.service.test.", n), dns.TypeA)
			if m.Truncated {
				cut++
				if len(m.Answer)+len(m.Ns) > 0 || m.Rcode != dns.RcodeSuccess {
					t.Fatalf("a reply that is cut short:\n%v", m)
				}
			}
		}
		if signatures := made() - before; signatures > signaturesPerNetwork || cut < signaturesPerNetwork || cut > signaturesPerNetwork+5 {
			t.Errorf("%d signatures were made, and %d replies cut short", signatures, cut)
		}
		if m := l.askDO(t, "udp", "1.0.0.10.in-addr.arpa.", dns.TypePTR); m.Truncated || len(l.verify(t, m)) != 1 {
			t.Errorf("what was signed before, and is in no cache:\n%v", m)
		}
		if m := l.askDO(t, "tcp", "x.service.test.", dns.TypeA); len(l.verify(t, m)) != 2 {
			t.Errorf("over TCP:\n%v", m)
		}
		if m := l.ask(t, "udp", question("x.service.test.", dns.TypeA, 1232)); m.Rcode != dns.RcodeNameError || m.Truncated {
			t.Errorf("without DO:\n%v", m)
		}
		time.Sleep(time.Second)
		if m := l.askDO(t, "udp", "x.service.test.", dns.TypeA); m.Truncated {
			t.Errorf("a second later:\n%v", m)
		}
	})
}

func TestMadeUpNamesAreNotKeptSigned(t *testing.T) {
	l := newSignedLab(t)
	l.registerMany(t, "web", 1)
	l.signing.network, l.signing.all = newLimiter(RateLimit{PerSecond: 1 << 20}), newLimiter(RateLimit{PerSecond: 1 << 20})
	known, _ := new(dns.Msg).SetQuestion("web.service.test.", dns.TypeA).SetEdns0(1232, true).Pack()
	w := l.newWorker("udp")
	l.cached(t, w, known)
	used := l.gauge(t, "rollcall_cache_cost_bytes")
	for n := range 2000 {
		l.askDO(t, "udp", fmt.Sprintf("x%d.service.test.", n), dns.TypeA)
		l.askDO(t, "udp", fmt.Sprintf("x%d.any.corp.example.", n), dns.TypeA)
	}
	if now := l.gauge(t, "rollcall_cache_cost_bytes"); now != used {
		t.Errorf("%v bytes were cached, and are %v", used, now)
	}
}

func TestASignedHitAllocatesNothing(t *testing.T) {
	l := newSignedLab(t)
	l.registerMany(t, "web", 3)
	w := l.newWorker("udp")
	reply := make([]byte, 0, cache.UDPSize)
	for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeAAAA} {
		query, _ := new(dns.Msg).SetQuestion("web.service.test.", qtype).SetEdns0(1232, true).Pack()
		l.cached(t, w, query)
		if n := testing.AllocsPerRun(1000, func() { w.serve(reply, query, client) }); n > 0 {
			t.Errorf("%s: %v allocations", dns.Type(qtype), n)
		}
	}
}

// TestAKeyIsRolledOver has two keys for one zone.
func TestAKeyIsRolledOver(t *testing.T) {
	first, _ := dnssec.Generate("test.")
	second, _ := dnssec.Generate("test.")
	for _, keys := range [][]*dnssec.Key{{first, second}, {second, first}} {
		l := newSignedLabWith(t, keys)
		l.registerMany(t, "web", 1)
		m := l.askDO(t, "udp", "test.", dns.TypeDNSKEY)
		if signed := l.verify(t, m); len(m.Answer) != 4 || len(signed) != 2 {
			t.Errorf("the keys:\n%v", m)
		}
		m = l.askDO(t, "udp", "web.service.test.", dns.TypeA)
		l.verify(t, m)
		for _, rr := range m.Answer {
			if rrsig, ok := rr.(*dns.RRSIG); ok && rrsig.KeyTag != keys[0].Tag() {
				t.Errorf("signed with the key %d, and the first is %d", rrsig.KeyTag, keys[0].Tag())
			}
		}
	}
}

func TestAnAliasOutOfASignedZoneIsSignedAsFarAsItIsOurs(t *testing.T) {
	l := newSignedLab(t)
	l.forwards(t, newUpstream(t, outside).addr)
	for range 2 {
		m := l.resolve(t, new(dns.Msg).SetQuestion("out.corp.example.", dns.TypeA).SetEdns0(1232, true), friend)
		if signed := fmt.Sprint(l.verify(t, m)); signed != "[CNAME]" || len(m.Answer) != 3 {
			t.Errorf("signed %s\n%v", signed, m)
		}
	}
	u := newUpstream(t, func(q dns.Question) []string { return []string{q.Name + " 60 IN CNAME nothing.corp.example."} })
	l = newSignedLab(t)
	l.forwards(t, u.addr)
	m := l.resolve(t, new(dns.Msg).SetQuestion("elsewhere.example.", dns.TypeA).SetEdns0(1232, true), friend)
	if signed := fmt.Sprint(l.verify(t, m)); signed != "[NSEC SOA]" {
		t.Errorf("an alias of others to a name of ours: signed %s\n%v", signed, m)
	}
}

// TestADenialOfWhatNobodyKnowsIsNotSigned has a registry that has not told anything
// yet, and then a domain of which others are asked for what is not there.
func TestADenialOfWhatNobodyKnowsIsNotSigned(t *testing.T) {
	l := newSignedLab(t)
	l.freshness = func() *registry.Freshness { return &registry.Freshness{Stale: true} }
	before := l.zones.SignaturesMade()
	if m := l.askDO(t, "udp", "wbe.service.test.", dns.TypeA); m.Rcode != dns.RcodeServerFailure || l.zones.SignaturesMade() != before {
		t.Errorf("%v", m)
	}
	l = newSignedLab(t)
	l.forwards(t, "test="+newUpstream(t, outside).addr)
	m := l.resolve(t, new(dns.Msg).SetQuestion("wbe.service.test.", dns.TypeA).SetEdns0(1232, true), friend)
	if len(m.Answer) != 1 || len(m.Ns) > 0 {
		t.Errorf("%v", m)
	}
}

func TestALongNameIsDenied(t *testing.T) {
	l := newSignedLab(t)
	for size := 225; size <= 255; size++ { // octets of the whole name
		left := size - len("\x04test\x00")
		var name strings.Builder
		for left > 0 {
			label := min(left-1, 63)
			if rest := left - 1 - label; rest == 1 {
				label--
			}
			name.WriteString(strings.Repeat("z", label) + ".")
			left -= 1 + label
		}
		m := l.askDO(t, "udp", name.String()+"test.", dns.TypeA)
		if signed := fmt.Sprint(l.verify(t, m)); signed != "[NSEC SOA]" {
			t.Errorf("a name of %d octets: signed %s\n%v", size, signed, m)
		}
	}
}

func BenchmarkSigned(b *testing.B) {
	l := newSignedLab(b)
	l.registerMany(b, "web", 3)
	l.signing.network, l.signing.all = newLimiter(RateLimit{PerSecond: 1 << 23}), newLimiter(RateLimit{PerSecond: 1 << 23})
	for _, row := range []struct {
		name, owner string
		qtype       uint16
		do          bool
	}{
		{"hit/unsigned", "web.service.test.", dns.TypeSRV, false}, {"hit/signed", "web.service.test.", dns.TypeSRV, true},
		{"nodata/unsigned", "web.service.test.", dns.TypeAAAA, false}, {"nodata/signed", "web.service.test.", dns.TypeAAAA, true},
		{"nx/unsigned", "wbe.service.test.", dns.TypeA, false}, {"nx/signed", "wbe.service.test.", dns.TypeA, true},
	} {
		b.Run(row.name, func(b *testing.B) {
			w := l.newWorker("udp")
			query, _ := new(dns.Msg).SetQuestion(row.owner, row.qtype).SetEdns0(1232, row.do).Pack()
			if !strings.HasPrefix(row.name, "nx") {
				l.cached(b, w, query)
			}
			reply := make([]byte, 0, cache.UDPSize)
			b.ReportAllocs()
			w.tick()
			for b.Loop() {
				w.read(&w.queries[0], query)
				reply = w.reply(&w.queries[0], reply[:0], client.Addr())
			}
		})
	}
}
