package dnsserver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestAPanicIsAnsweredAndManyTellClientsToGoElsewhere(t *testing.T) {
	l := newLab(t)
	synctest.Test(t, func(t *testing.T) {
		broken := *l.pipeline
		broken.zones, broken.registry = nil, nil // whoever asks gets a panic
		s := l.server
		s.newest.Store(&broken)
		panics := func(n int) {
			w := broken.newWorker("udp")
			for range n {
				query, err := question("web.service.test.", dns.TypeA, 0).Pack()
				if err != nil {
					t.Fatal(err)
				}
				reply := new(dns.Msg)
				if err := reply.Unpack(w.serve(nil, query, client)); err != nil || reply.Rcode != dns.RcodeServerFailure {
					t.Fatalf("%v, %v", reply, err)
				}
			}
		}
		panics(manyFaults - 1)
		if err := s.Ready(); err != nil {
			t.Errorf("after %d panics: %v", manyFaults-1, err)
		}
		panics(1)
		if s.Ready() == nil {
			t.Errorf("after %d panics clients may still come", manyFaults)
		}
		counted := l.metrics.total("udp").panics.Load()
		t.Logf("%d panics, each SERVFAIL, and %d are counted: not ready, as %v", manyFaults, counted, s.Ready())
		if counted != manyFaults {
			t.Errorf("%d panics are counted as %d", manyFaults, counted)
		}
		time.Sleep(faultTime)
		if err := s.Ready(); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}
