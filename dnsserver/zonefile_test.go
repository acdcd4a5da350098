package dnsserver

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones/static"
)

// zoneFile writes the file of corp.example and reads it.
func zoneFile(t testing.TB, zone string, serial int, text string) *static.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "zone")
	writeZone(t, path, serial, text)
	f, err := static.Open(zone, path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func writeZone(t testing.TB, path string, serial int, text string) {
	t.Helper()
	head := fmt.Sprintf("$TTL 60\n@ IN SOA ns1 hostmaster %d 3600 600 86400 30\n@ IN NS ns1\nns1 IN A 10.9.0.1\n", serial)
	if err := os.WriteFile(path, []byte(head+text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAChangedZoneFileChangesEveryAnswer has answers cached before the change: a
// record, one that says that there is none, and a name that does not exist.
func TestAChangedZoneFileChangesEveryAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := zoneFile(t, "corp.example.", 5, "www A 10.0.0.1\n")
		l := newLabWith(t, static.Files{f}, "test.")
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = f.Run(ctx, func() {}) }()
		summary := func() (all string) {
			for _, ask := range []string{"www.corp.example. A", "www.corp.example. TXT", "wbe.corp.example. A", "corp.example. SOA"} {
				name, qtype, _ := strings.Cut(ask, " ")
				m := l.ask(t, "udp", new(dns.Msg).SetQuestion(name, dns.StringToType[qtype]))
				all += dns.RcodeToString[m.Rcode]
				for _, rr := range append(m.Answer, m.Ns...) {
					switch rr := rr.(type) {
					case *dns.SOA:
						all += fmt.Sprint(" ", rr.Serial)
					case *dns.A:
						all += " " + rr.A.String()
					}
				}
				all += "; "
			}
			return all
		}
		for range 3 { // from the file, and from the cache
			if got, want := summary(), "NOERROR 10.0.0.1; NOERROR 5; NXDOMAIN 5; NOERROR 5; "; got != want {
				t.Fatalf("before:\n got %s\nwant %s", got, want)
			}
		}
		writeZone(t, f.Path(), 6, "www A 10.0.0.2\n")
		time.Sleep(time.Second)
		if got, want := summary(), "NOERROR 10.0.0.2; NOERROR 6; NXDOMAIN 6; NOERROR 6; "; got != want {
			t.Errorf("after:\n got %s\nwant %s", got, want)
		}
	})
}

func TestAZoneFileIsAnsweredFromWhileTheRegistryIsAway(t *testing.T) {
	l := newLabWith(t, static.Files{zoneFile(t, "corp.example.", 5, "www A 10.0.0.1\n"), zoneFile(t, "old.test.", 5, "www A 10.0.0.1\n")}, "test.")
	l.freshness = func() *registry.Freshness { return &registry.Freshness{Stale: true} }
	for name, want := range map[string]int{
		"www.corp.example.": dns.RcodeSuccess, "wbe.corp.example.": dns.RcodeNameError,
		"www.old.test.": dns.RcodeServerFailure, "x.old.test.": dns.RcodeServerFailure, // which might be registered
	} {
		reply := l.ask(t, "udp", new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(1232, false))
		if reply.Rcode != want || want != dns.RcodeServerFailure && extendedError(reply) == int(dns.ExtendedErrorCodeStaleAnswer) {
			t.Errorf("%s: %v", name, reply)
		}
	}
}

func TestAReferralWithoutItsGlueIsTruncated(t *testing.T) {
	var text strings.Builder
	for n := range 13 {
		fmt.Fprintf(&text, "sub NS a-server-with-a-long-name-%d.sub\na-server-with-a-long-name-%d.sub A 10.0.0.%d\n  AAAA fd00::%d\n", n, n, n, n)
	}
	l := newLabWith(t, static.Files{zoneFile(t, "corp.example.", 5, text.String())}, "test.")
	question := func() *dns.Msg { return new(dns.Msg).SetQuestion("x.sub.corp.example.", dns.TypeA) }
	if small := l.ask(t, "udp", question()); !small.Truncated || small.Authoritative || len(small.Answer) > 0 {
		t.Errorf("in 512 octets:\n%v", small)
	}
	if whole := l.ask(t, "tcp", question()); whole.Truncated || len(whole.Ns) != 13 || len(whole.Extra) != 26 {
		t.Errorf("over TCP: %d NS, %d addresses", len(whole.Ns), len(whole.Extra))
	}
}
