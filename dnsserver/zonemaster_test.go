package dnsserver

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// The fifteen cases of this file are those that Zonemaster's group Nameserver tries
// of a server, in our words: who delegates a zone to rollcall is told nothing by it.

// zonemasterCases are those that one query shows.
func zonemasterCases() []wireCase {
	noerror := all(rcode(dns.RcodeSuccess), counts(1, 0), sets(flagAA), clears(flagRA), isEchoed)
	badvers := all(rcode(dns.RcodeBadVers), counts(0, 0), hasOPT(true))
	noReferral := all(refuses, clears(flagRA), isEchoed)
	return []wireCase{
		{name: "01: nobody's recursor, for a name that is there", query: asks("www.example.com.", dns.TypeA, withFlags(flagRD)), wants: noReferral},
		{name: "01: nor for one that is not", query: asks("xn--nameservertest.example.", dns.TypeA, withFlags(flagRD)), wants: noReferral},
		{name: "02: EDNS", query: asks(apex, dns.TypeSOA, withOPT(512, 0, 0)), wants: all(noerror, hasOPT(true))},
		{name: "03: no transfer", query: asks(apex, dns.TypeAXFR), wants: refuses},
		{name: "05: AAAA of a name that has none", query: asks(apex, dns.TypeAAAA), wants: nodata},
		{name: "05: A of it", query: asks(apex, dns.TypeA), wants: all(rcode(dns.RcodeSuccess), sets(flagAA))},
		{name: "07: no referral upwards", query: asks(".", dns.TypeNS), wants: noReferral},
		{name: "08: the case of the question", query: asks("TeSt.", dns.TypeSOA), wants: noerror},
		{name: "10: EDNS 1", query: asks(apex, dns.TypeSOA, withOPT(512, 1, 0)), wants: badvers},
		{name: "11: an unknown option", query: asks(apex, dns.TypeSOA, withOPT(512, 0, 0, option(137)...)), wants: all(noerror, hasOPT(true), noOption(137))},
		{name: "12: unknown flags", query: asks(apex, dns.TypeSOA, withOPT(512, 0, 3)), wants: all(noerror, hasOPT(true))},
		{name: "13: OPT of what is cut short", only: "udp", query: asks("big.service.test.", dns.TypeSRV, withOPT(512, 0, 0x8000)), wants: all(sets(flagTC), hasOPT(true))},
		{name: "14: EDNS 1 with an unknown option", query: asks(apex, dns.TypeSOA, withOPT(512, 1, 0, option(137)...)), wants: all(badvers, noOption(137))},
		{name: "15: the version of the software is nobody's business", query: asks("version.bind.", dns.TypeTXT, withClass(dns.ClassCHAOS)), wants: refuses},
		{name: "15: by its other name", query: asks("version.server.", dns.TypeTXT, withClass(dns.ClassCHAOS)), wants: refuses},
	}
}

func TestZonemastersCasesOfANameServer(t *testing.T) {
	l := newConformer(t)
	transports, tried, failed := wireTransports(t, l), 0, 0
	for _, transport := range transports {
		for _, c := range zonemasterCases() {
			if c.only != "" && !strings.HasPrefix(transport.name, c.only) {
				continue
			}
			tried++
			if wrong := try(c, transport); wrong != "" {
				failed++
				t.Errorf("%s over %s: %s", c.name, transport.name, wrong)
			}
		}
		for name, check := range map[string]func(wireTransport) string{"06": serversResolve, "09": caseMakesNoDifference} {
			tried++
			if wrong := check(transport); wrong != "" {
				failed++
				t.Errorf("%s over %s: %s", name, transport.name, wrong)
			}
		}
	}
	addr := netip.MustParseAddrPort(l.server.Addrs()[0].String())
	tried++
	if err := repliesComeFrom(addr); err != nil {
		failed++
		t.Errorf("04: %v", err)
	}
	t.Logf("15 cases, tried %d times over %d transports: %d errors", tried, len(transports), failed)
}

// serversResolve tells whether the zone's own servers have addresses.
func serversResolve(transport wireTransport) string {
	octets, err := transport.ask(asks(apex, dns.TypeNS))
	if err != nil {
		return err.Error()
	}
	r, err := parseReply(octets)
	if err != nil || len(r.answer) == 0 {
		return fmt.Sprintf("the servers are %x, %v", octets, err)
	}
	for _, ns := range r.answer {
		query := append(append(make([]byte, headerSize), ns.data...), 0, 1, 0, 1)
		query[5] = 1
		octets, err := transport.ask(query)
		if err != nil {
			return err.Error()
		}
		if a, err := parseReply(octets); err != nil || len(a.answer) == 0 {
			return fmt.Sprintf("the server %q has no address: %x, %v", ns.data, octets, err)
		}
	}
	return ""
}

// caseMakesNoDifference compares what is answered in one case and in another.
func caseMakesNoDifference(transport wireTransport) string {
	var data [2][]string
	for n, name := range []string{"web.service.test.", "WEB.sErViCe.TesT."} {
		octets, err := transport.ask(asks(name, dns.TypeA))
		if err != nil {
			return err.Error()
		}
		r, err := parseReply(octets)
		if err != nil {
			return err.Error()
		}
		for _, record := range r.answer {
			data[n] = append(data[n], string(record.data))
		}
		slices.Sort(data[n])
	}
	if !slices.Equal(data[0], data[1]) {
		return fmt.Sprintf("%x in one case, %x in another", data[0], data[1])
	}
	return ""
}

// repliesComeFrom tells whether the address that a query was sent to replies.
func repliesComeFrom(addr netip.AddrPort) error {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}) // which hears everybody
	if err != nil {
		return err
	}
	defer conn.Close()
	query := asks(apex, dns.TypeSOA)
	if _, err := conn.WriteToUDPAddrPort(query, addr); err != nil {
		return err
	}
	reply := make([]byte, minUDP)
	n, from, err := conn.ReadFromUDPAddrPort(reply)
	if err == nil && (from != addr || !bytes.HasPrefix(reply[:n], query[:2])) {
		err = fmt.Errorf("%v replies in place of %v", from, addr)
	}
	return err
}
