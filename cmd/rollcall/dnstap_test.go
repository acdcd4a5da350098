package main

import (
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	reference "github.com/dnstap/golang-dnstap"
	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"
)

// TestACollectorSeesQueriesAndReplies has dnstap's own library listen while rollcall
// is asked.
func TestACollectorSeesQueriesAndReplies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tap")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	frames := make(chan []byte, 10)
	go func() {
		defer close(frames)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		reader, err := reference.NewReader(conn, &reference.ReaderOptions{Bidirectional: true})
		for err == nil {
			frame, n := make([]byte, 1<<16), 0
			if n, err = reader.ReadFrame(frame); err == nil {
				frames <- frame[:n]
			}
		}
	}()
	s := start(t, &settings{
		dnsAddrs: []string{"127.0.0.1:0"}, adminAddr: "127.0.0.1:0", zones: []string{"rollcall.internal."},
		dataDir: t.TempDir(), datacenter: "dc1", node: "host-1", nodeAddress: "127.0.0.1",
		ttl: 5 * time.Second, negativeTTL: 5 * time.Second, maxAnswers: 100, logger: slog.New(slog.DiscardHandler),
		dnstap: dnstapSettings{"unix", path, 1},
	})
	question := new(dns.Msg).SetQuestion("rollcall.service.rollcall.internal.", dns.TypeSRV)
	answer, _, err := new(dns.Client).Exchange(question, s.dns.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []*dns.Msg{question, answer} {
		var d reference.Dnstap
		select {
		case frame := <-frames:
			if err := proto.Unmarshal(frame, &d); err != nil {
				t.Fatal(err)
			}
		case <-time.After(15 * time.Second):
			t.Fatal("the collector saw nothing")
		}
		seen := new(dns.Msg)
		if err := seen.Unpack(append(d.Message.QueryMessage, d.Message.ResponseMessage...)); err != nil || seen.String() != want.String() {
			t.Errorf("%v: saw %v, want %v", err, seen, want)
		}
		if string(d.Identity) != "host-1" {
			t.Errorf("it is from %q", d.Identity)
		}
	}
}
