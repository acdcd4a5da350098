package health

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rollcall-dns/rollcall/registry"
)

// probed runs the prober of a definition once.
func probed(t *testing.T, d registry.Definition) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return newProber(d, new(net.Dialer))(ctx)
}

func wants(t *testing.T, got result, status registry.Status, output string) {
	t.Helper()
	if got.status != status || !strings.Contains(got.output, output) {
		t.Errorf("got %v: %q, want %v: %q", got.status, got.output, status, output)
	}
}

// nobody returns an address at which nobody listens.
func nobody(t *testing.T, network string) string {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.LocalAddr().String()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestHTTPProbe(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/busy":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/down":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/elsewhere":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/asked":
			if r.Method != "POST" || r.Host != "web.example" || r.Header.Get("X-Key") != "value" {
				w.WriteHeader(http.StatusBadRequest)
			}
		}
		_, _ = w.Write([]byte(strings.Repeat("x", 10_000)))
	}))
	defer server.Close()
	for _, row := range []struct {
		path, output string
		want         registry.Status
	}{
		{"/", "200 OK", registry.Passing},
		{"/busy", "429", registry.Warning},
		{"/down", "503", registry.Critical},
		{"/elsewhere", "302", registry.Critical},
	} {
		got := probed(t, registry.Definition{HTTP: server.URL + row.path})
		wants(t, got, row.want, row.output)
		if len(got.output) > maxOutput {
			t.Errorf("%s: %d octets of output", row.path, len(got.output))
		}
	}
	wants(t, probed(t, registry.Definition{
		HTTP: server.URL + "/asked", Method: "POST", Header: map[string][]string{"host": {"web.example"}, "x-key": {"value"}},
	}), registry.Passing, "200 OK")
	wants(t, probed(t, registry.Definition{HTTP: "http://" + nobody(t, "tcp")}), registry.Critical, "refused")
}

func TestHTTPSProbeWantsACertificateUnlessTold(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	wants(t, probed(t, registry.Definition{HTTP: server.URL}), registry.Critical, "certificate")
	wants(t, probed(t, registry.Definition{HTTP: server.URL, TLSSkipVerify: true}), registry.Critical, "404")
}

func TestTCPProbe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wants(t, probed(t, registry.Definition{TCP: l.Addr().String()}), registry.Passing, "Success")
	wants(t, probed(t, registry.Definition{TCP: nobody(t, "tcp")}), registry.Critical, "refused")
}

func TestUDPProbe(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wants(t, probed(t, registry.Definition{UDP: c.LocalAddr().String()}), registry.Passing, "Success")
	wants(t, probed(t, registry.Definition{UDP: nobody(t, "udp")}), registry.Critical, "refused")
}

func TestGRPCProbe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, service := grpc.NewServer(), grpchealth.NewServer()
	grpc_health_v1.RegisterHealthServer(server, service)
	service.SetServingStatus("sick", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	defer func() { server.Stop(); <-done }()
	wants(t, probed(t, registry.Definition{GRPC: l.Addr().String()}), registry.Passing, "success")
	wants(t, probed(t, registry.Definition{GRPC: l.Addr().String() + "/sick"}), registry.Critical, "serving status 2")
	wants(t, probed(t, registry.Definition{GRPC: l.Addr().String() + "/unknown"}), registry.Critical, "status 5")
	wants(t, probed(t, registry.Definition{GRPC: nobody(t, "tcp")}), registry.Critical, "refused")
}

func TestDNSProbe(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	server := &dns.Server{PacketConn: c, NotifyStartedFunc: func() { close(up) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		switch r.Question[0].Name {
		case "there.example.":
			rr, _ := dns.NewRR("there.example. 5 IN AAAA 2001:db8::1")
			m.Answer = append(m.Answer, rr)
		case "gone.example.":
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m)
	})}
	done := make(chan error)
	go func() { done <- server.ActivateAndServe() }()
	<-up
	defer func() { _ = server.Shutdown(); <-done }()
	uri := "dns://" + c.LocalAddr().String()
	wants(t, probed(t, registry.Definition{DNS: uri + "/there.example?type=AAAA"}), registry.Passing, "1 records")
	wants(t, probed(t, registry.Definition{DNS: uri + "/gone.example"}), registry.Critical, "NXDOMAIN")
	wants(t, probed(t, registry.Definition{DNS: uri + "/empty.example"}), registry.Critical, "no answer")
}

func TestAPasswordInAURLIsNotInTheOutput(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	url := strings.Replace(target.URL, "http://", "http://user:secret@", 1)
	found := newProber(registry.Definition{HTTP: url}, new(net.Dialer))(t.Context())
	target.Close()
	away := newProber(registry.Definition{HTTP: url}, new(net.Dialer))(t.Context())
	if found.status != registry.Passing || away.status != registry.Critical || strings.Contains(found.output+away.output, "secret") {
		t.Errorf("%v %q, and without a target %v %q", found.status, found.output, away.status, away.output)
	}
}
