package admin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// HAProxy asks like this, unless it is told more.
func TestWhoSaysNoHostMayAskHowRollcallIs(t *testing.T) {
	e := start(t, nil)
	for path, want := range map[string]string{"/healthz": "200", "/readyz": "200", "/v1/agent/services": "421", "/": "421"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
		check(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path)
		check(t, err)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, " "+want+" ") {
			t.Errorf("%s: %q, %v, want %s", path, line, err, want)
		}
	}
}

func TestAHostThatIsNotOursIsMisdirected(t *testing.T) {
	hosts := func(c *Config) {
		c.Hosts = func() []string { return []string{"rollcall.example.com", "198.51.100.7", "2001:db8::7"} }
	}
	e := start(t, hosts)
	withTokens := start(t, func(c *Config) { hosts(c); c.Tokens = oneToken(secretAll) })
	misdirected := 0
	for _, row := range []struct {
		host string
		want int
	}{
		{"127.0.0.1:5380", 200},
		{"[::1]:5380", 200},
		{"localhost", 200},
		{"LOCALHOST:5380", 200},
		{"n1:5380", 200},
		{"Rollcall.Example.Com", 200},
		{"rollcall.example.com.:443", 200},
		{"127.8.9.10", 200},
		{"198.51.100.7:8080", 200}, // where a proxy or a translated address stands before it
		{"[2001:DB8:0::7]", 200},
		{"203.0.113.5", 421},
		{"203.0.113.5:5380", 421},
		{"[2001:db8::1]:5380", 421},
		{"0.0.0.0:5380", 421},
		{"0x7f.1", 421},
		{"2130706433", 421},
		{"rebinding.example.net", 421},
		{"rollcall.example.com.evil.net", 421},
		{"127.0.0.1.evil.net:5380", 421},
	} {
		if status, _, _ := e.do("GET", "/v1/agent/services", "", "Host", row.host); status != row.want {
			t.Errorf("Host %s: %d, want %d", row.host, status, row.want)
		}
		if status, _, _ := withTokens.do("GET", "/v1/agent/services", "", "Host", row.host, "X-Consul-Token", secretAll); status != row.want {
			t.Errorf("Host %s with a token: %d, want %d", row.host, status, row.want)
		}
		if row.want != http.StatusOK {
			misdirected++
		}
	}
	t.Logf("%d hosts that are not ours are refused, whether or not tokens are asked for", misdirected)
}

func TestTheAddressThatAConnectionCameToIsAHost(t *testing.T) {
	s, err := New(Config{Registry: fixed{feed: registry.NewFeed(registry.NewView("dc1"))}})
	check(t, err)
	for _, row := range []struct {
		to, host string
		want     int
	}{
		{"192.0.2.1", "192.0.2.1:5380", 200},
		{"::ffff:192.0.2.1", "192.0.2.1:5380", 200},
		{"2001:db8::1", "[2001:db8::1]:5380", 200},
		{"fe80::1%eth0", "[fe80::1%25eth0]:5380", 200},
		{"192.0.2.1", "127.0.0.1:5380", 200}, // a port that is forwarded from loopback
		{"192.0.2.1", "192.0.2.2:5380", 421},
		{"2001:db8::1", "[2001:db8::2]:5380", 421},
		{"127.0.0.1", "192.0.2.1:5380", 421},
	} {
		to := &net.TCPAddr{IP: net.ParseIP(strings.TrimSuffix(row.to, "%eth0")), Port: 5380}
		r := httptest.NewRequest("GET", "/healthz", nil)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(to)))
		r.Host = row.host
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != row.want {
			t.Errorf("%s at %s: %d, want %d", row.host, row.to, w.Code, row.want)
		}
	}
}

func TestAPageOfAnotherOriginMayNotWrite(t *testing.T) {
	e := start(t, nil)
	headers := 0
	for _, header := range [][]string{
		{"Origin", "https://evil.example"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
	} {
		headers++
		status, _, _ := e.do("PUT", "/v1/agent/service/register", `{"Name":"web"}`, header...)
		if status != http.StatusForbidden {
			t.Errorf("%v: %d, want 403", header, status)
		}
	}
	if e.registry.View().Service("web") != nil {
		t.Error("the service was registered all the same")
	}
	_, _, header := e.do("GET", "/v1/agent/services", "", "Origin", "https://evil.example")
	for name := range header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("the reply has %s", name)
		}
	}
	t.Logf("%d kinds of other origins: 403, and no header of CORS", headers)
}

func TestAPageOfAnotherOriginMayNotRead(t *testing.T) {
	e := start(t, nil)
	requests := 0
	for _, path := range []string{"/v1/agent/services", "/v1/events", "/v1/backup", "/v1/explain/web", "/metrics", "/openapi.json", "/", "/plain", "/nothing"} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, header := range [][]string{
				{"Origin", "https://evil.example"},
				{"Origin", "null"},
				{"Sec-Fetch-Site", "cross-site"},
				{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"},
			} {
				requests++
				if status, _, _ := e.do(method, path, "", header...); status != http.StatusForbidden {
					t.Errorf("%s %s with %v: %d, want 403", method, path, header, status)
				}
			}
		}
	}
	t.Logf("%d requests: 403", requests)
}

func TestALinkOnAnotherPageLeadsToTheOneForPeople(t *testing.T) {
	e := start(t, nil)
	follow := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	for _, path := range []string{"/", "/plain"} {
		if status, _, _ := e.do("GET", path, "", follow...); status != http.StatusOK {
			t.Errorf("%s: %d, want 200", path, status)
		}
	}
	if status, _, _ := e.do("PUT", "/v1/agent/service/register", `{"Name":"web"}`, follow...); status != http.StatusForbidden {
		t.Errorf("a form that is sent: %d, want 403", status)
	}
}

func TestWithoutTheTokenOnlyHealthIsAnswered(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	e := start(t, func(c *Config) { c.Tokens = oneToken(token) })
	for _, row := range []struct {
		path   string
		header []string
		want   int
	}{
		{"/v1/agent/services", nil, 403},
		{"/metrics", nil, 403},
		{"/", nil, 200}, // which tells nothing, and asks for the token
		{"/page/main.js", nil, 200},
		{"/plain", nil, 403},
		{"/v1/overview", nil, 403},
		{"/nowhere", nil, 403},
		{"/healthz", nil, 200},
		{"/readyz", nil, 200},
		{"/v1/agent/services?token=" + token, nil, 403},
		{"/v1/agent/services", []string{"X-Consul-Token", token}, 200},
		{"/v1/agent/services", []string{"Authorization", "Bearer " + token}, 200},
		{"/v1/agent/services", []string{"Authorization", "bearer " + token}, 200},
		{"/v1/agent/services", []string{"Authorization", "Basic " + token}, 403},
		{"/v1/agent/services", []string{"Authorization", token}, 403},
		{"/v1/agent/services", []string{"X-Consul-Token", token[:31]}, 403},
		{"/v1/agent/services", []string{"X-Consul-Token", token + "0"}, 403},
		{"/v1/agent/services", []string{"X-Consul-Token", ""}, 403},
	} {
		status, body, _ := e.do("GET", row.path, "", row.header...)
		if status != row.want {
			t.Errorf("%s %v: %d, want %d", row.path, row.header, status, row.want)
		}
		if strings.Contains(body, token) {
			t.Errorf("%s %v: the reply shows the token", row.path, row.header)
		}
	}
}

func TestABodyOfMoreThanAMebibyteIsTooLarge(t *testing.T) {
	e := start(t, nil)
	body := `{"Name":"web","Meta":{"k":"` + strings.Repeat("v", maxBody) + `"}}`
	status, text, _ := e.do("PUT", "/v1/agent/service/register", body)
	if status != http.StatusRequestEntityTooLarge || !strings.Contains(text, "larger than 1048576 octets") {
		t.Errorf("%d %q, want 413 and the limit", status, text)
	}
	t.Logf("more than %d octets: %d", maxBody, status)
}

func TestWhoAsksWhetherToSendTooMuchIsToldNotTo(t *testing.T) {
	e := start(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	check(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "PUT /v1/agent/service/register HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", maxBody+1)
	check(t, err)
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, " 413 ") {
		t.Errorf("%q, %v", line, err)
	}
}

func TestAnEndlessBodyIsTooLarge(t *testing.T) {
	e := start(t, nil)
	request, err := http.NewRequest("PUT", e.url+"/v1/agent/service/register", io.LimitReader(endless{}, 1<<30))
	check(t, err)
	response, err := e.http.Do(request)
	if err != nil {
		t.Log("it was cut off")
		return
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%s, want 413", response.Status)
	}
	t.Logf("1 GiB in chunks: %d", response.StatusCode)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for n := range p {
		p[n] = ' '
	}
	return len(p), nil
}

// pipes hands over connections within a bubble, whose deadlines are by its clock.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5380} }

// slowly serves in a bubble and hands over one connection to it.
func slowly(t *testing.T, talk func(t *testing.T, feed *registry.Feed, c net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		feed := registry.NewFeed(registry.NewView("dc1").Txn(7).Commit().View)
		s, err := New(Config{Registry: fixed{feed: feed}, Node: "n1", Datacenter: "dc1"})
		check(t, err)
		l := pipes{make(chan net.Conn), make(chan struct{})}
		ended := make(chan error, 1)
		ctx, stop := context.WithCancel(t.Context())
		go func() { ended <- s.Serve(ctx, l) }()
		client, server := net.Pipe()
		gone := make(chan struct{})
		l.connections <- closeTeller{server, sync.OnceFunc(func() { close(gone) })}
		talk(t, feed, pipeEnd{client, gone})
		client.Close()
		stop()
		check(t, <-ended)
	})
}

// pipeEnd is a client's end of a connection, who learns when the server has closed its own.
type pipeEnd struct {
	net.Conn
	gone <-chan struct{}
}

// closeTeller tells that it is closed.
type closeTeller struct {
	net.Conn
	tell func()
}

// Close implements net.Conn.
func (c closeTeller) Close() error { defer c.tell(); return c.Conn.Close() }

// fixed is a registry that is only read.
type fixed struct {
	registry.Registry
	feed *registry.Feed
}

func (f fixed) View() *registry.View { return f.feed.View() }

func TestAClientThatDawdlesIsCutOff(t *testing.T) {
	for _, row := range []struct {
		name string
		sent string
		want time.Duration
	}{
		{"within its header", "PUT /v1/agent/service/register HTTP/1.1\r\nHost: localhost\r\n", 5 * time.Second},
		{"within its body", "PUT /v1/agent/service/register HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", 30 * time.Second},
		{"before its next request", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 60 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			slowly(t, func(t *testing.T, _ *registry.Feed, c net.Conn) {
				began := time.Now()
				go io.WriteString(c, row.sent)
				io.Copy(io.Discard, c)
				if got := time.Since(began).Round(time.Second); got != row.want {
					t.Errorf("cut off after %v, want %v", got, row.want)
				}
				t.Logf("cut off after %v", row.want)
			})
		})
	}
}

func TestAClientThatReadsNothingIsCutOff(t *testing.T) {
	for path, want := range map[string]time.Duration{
		"/healthz":   writeTimeout,
		"/v1/events": writeTimeout,
		"/v1/health/service/web?index=7&wait=10s": 10*time.Second + writeTimeout,
	} {
		t.Run(path, func(t *testing.T) {
			slowly(t, func(t *testing.T, _ *registry.Feed, c net.Conn) {
				began := time.Now()
				go io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
				<-c.(pipeEnd).gone
				if got := time.Since(began); got > want+time.Second {
					t.Errorf("cut off after %v, want %v", got, want)
				}
				t.Logf("cut off after %v", time.Since(began))
			})
		})
	}
}

func TestABodyThatSaysThatItIsTooLargeIsNotWaitedFor(t *testing.T) {
	slowly(t, func(t *testing.T, _ *registry.Feed, c net.Conn) {
		began := time.Now()
		go fmt.Fprintf(c, "PUT /v1/agent/service/register HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", maxBody+1)
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		check(t, err)
		diff(t, "status", response.StatusCode, http.StatusRequestEntityTooLarge)
		diff(t, "after", time.Since(began), 2*time.Second)
	})
}

func TestHeadersOfMoreThan32KiBAreTooLarge(t *testing.T) {
	slowly(t, func(t *testing.T, _ *registry.Feed, c net.Conn) {
		go fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", 48<<10))
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		check(t, err)
		diff(t, "status", response.StatusCode, http.StatusRequestHeaderFieldsTooLarge)
		t.Logf("48 KiB, and %d are read: %d", maxHeaderBytes, response.StatusCode)
	})
}

func TestABlockingQueryOutlastsTheTimesToReadAndToWrite(t *testing.T) {
	slowly(t, func(t *testing.T, feed *registry.Feed, c net.Conn) {
		began := time.Now()
		go fmt.Fprint(c, "GET /v1/catalog/services?index=1&wait=5m HTTP/1.1\r\nHost: localhost\r\n\r\n")
		time.AfterFunc(4*time.Minute, func() {
			txn := feed.View().Txn(9)
			txn.PutInstance(&registry.Instance{Node: "n1", ID: "web", Service: "web"})
			feed.Publish(txn.Commit())
		})
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		check(t, err)
		body, err := io.ReadAll(response.Body)
		check(t, err)
		if got := time.Since(began); got != 4*time.Minute {
			t.Errorf("answered after %v, want 4m0s", got)
		}
		diff(t, "body", string(body), `{"web":[]}`+"\n")
		diff(t, "index", response.Header.Get("X-Consul-Index"), "9")
	})
}

func TestCheckExposure(t *testing.T) {
	refused := 0
	for _, row := range []struct {
		addr                          string
		token, certificates, insecure bool
		ok                            bool
	}{
		{addr: "127.0.0.1:5380", ok: true},
		{addr: "127.8.9.10:5380", ok: true},
		{addr: "[::1]:5380", ok: true},
		{addr: "localhost:5380", ok: true},
		{addr: "0.0.0.0:5380"},
		{addr: ":5380"},
		{addr: "[::]:5380"},
		{addr: "10.0.0.1:5380"},
		{addr: "localhost.example.com:5380"},
		{addr: "nonsense"},
		{addr: "0.0.0.0:5380", token: true, ok: true},
		{addr: "0.0.0.0:5380", certificates: true, ok: true},
		{addr: "0.0.0.0:5380", insecure: true, ok: true},
	} {
		err := CheckExposure(row.addr, row.token, row.certificates, row.insecure)
		if (err == nil) != row.ok {
			t.Errorf("%+v: %v", row, err)
		}
		if err != nil {
			refused++
		}
	}
	t.Logf("%d addresses that others reach, or that are none, are refused without a token or certificates", refused)
}

func TestABracketedAddressWithoutAPortIsAHost(t *testing.T) {
	s, err := New(Config{Registry: fixed{feed: registry.NewFeed(registry.NewView("dc1"))}})
	check(t, err)
	r := httptest.NewRequest("GET", "/healthz", nil)
	r.Host = "[::1]"
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestARequestIsMadeOnBehalfOfWhoShowsAToken(t *testing.T) {
	const own = "\x00rollcall's own"
	for _, row := range []struct{ token, header, bearer, want string }{
		{"", "", "", ""},
		{"", "alice", "", "alice"},
		{"", "", "alice", "alice"},
		{"ours", "ours", "", own},
		{"ours", "", "ours", own},
		{"ours", "ours", "ours", own},
		{"ours", "alice", "ours", "alice"},
		{"ours", "ours", "alice", "alice"},
	} {
		whose := own
		e := start(t, func(c *Config) {
			c.Tokens = oneToken(row.token)
			c.OnBehalf = func(ctx context.Context, token string) context.Context { whose = token; return ctx }
		})
		var header []string
		if row.header != "" {
			header = append(header, "X-Consul-Token", row.header)
		}
		if row.bearer != "" {
			header = append(header, "Authorization", "Bearer "+row.bearer)
		}
		if status, body, _ := e.do("GET", "/v1/agent/services", "", header...); status != 200 {
			t.Errorf("%+v: %d %s", row, status, body)
		}
		if whose != row.want {
			t.Errorf("%+v: on behalf of %q", row, whose)
		}
	}
}

// oneToken is a Config's Tokens of which one may do everything; none, where its
// secret is empty.
func oneToken(secret string) func() []Token {
	if secret == "" {
		return nil
	}
	return func() []Token { return []Token{{Name: "admin", Secret: secret, Write: true}} }
}

func secretOf(c Config) string {
	if c.Tokens == nil {
		return ""
	}
	return c.Tokens()[0].Secret
}
