package forward

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/testdata/authority"
)

// newTLSServer starts an upstream that speaks DNS over TLS, and returns its address
// and who vouches for its certificate, which is for dns.example.
func newTLSServer(t *testing.T) (addr string, roots *x509.CertPool) {
	t.Helper()
	issuer := authority.New(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{issuer.Issue("dns.example").Certificate}})
	if err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan struct{}), make(chan struct{})
	s := &dns.Server{Listener: l, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		_ = w.WriteMsg(reply(m, "192.0.2.1"))
	})}
	go func() { defer close(ended); _ = s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = s.Shutdown(); <-ended })
	return l.Addr().String(), issuer.Pool()
}

func TestAnUpstreamIsAskedOverTLSByOneConnection(t *testing.T) {
	addr, roots := newTLSServer(t)
	a := newAsker(t, "tls://"+addr+"#dns.example")
	u := a.upstreams()[0]
	u.tls.RootCAs = roots
	var first net.Conn
	for i := range 3 {
		if m := ask(t, a, of(string(rune('a'+i))+".example.", dns.TypeA)); len(m.Answer) != 1 {
			t.Fatalf("the answer is %v", m)
		}
		if len(u.idle) != 1 || first != nil && u.idle[0].Conn != first {
			t.Errorf("%d connections wait, another one among them", len(u.idle))
		}
		first = u.idle[0].Conn
	}
	first.Close() // as the upstream may at any time
	if m := ask(t, a, of("again.example.", dns.TypeA)); len(m.Answer) != 1 {
		t.Errorf("after the connection has ended the answer is %v", m)
	}
}

func TestAnUpstreamMustBeWhoItSays(t *testing.T) {
	addr, roots := newTLSServer(t)
	for name, text := range map[string]string{"another name": "tls://" + addr + "#other.example", "no name": "tls://" + addr} {
		a := newAsker(t, text)
		a.upstreams()[0].tls.RootCAs = roots
		if m := ask(t, a, of("www.example.", dns.TypeA)); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s: the answer is %v", name, m)
		}
	}
	if m := ask(t, newAsker(t, "tls://"+addr+"#dns.example"), of("www.example.", dns.TypeA)); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("an authority that nobody knows: the answer is %v", m)
	}
}
