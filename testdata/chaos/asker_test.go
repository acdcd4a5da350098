package chaos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/miekg/dns"
)

// asker is a DNS client that keeps its socket or its connection, as stubs do, and
// asks each question once. It is for one goroutine.
type asker struct {
	j       *journal
	network string // udp, tcp, tls or https
	addr    string
	weather *weather
	pulse   *pulse
	trusts  *issuer  // of what is shown over TLS and HTTPS
	most    int      // questions over one connection, or 0
	signed  *anchors // nil: it asks for no signatures
	pause   time.Duration

	conn *dns.Conn
	http *http.Client
	id   uint16 // of the last query: a late answer to another is never taken for its own
	told int    // questions over this connection
}

const (
	answerWithin = 2 * time.Second
	betweenAsks  = 2 * time.Millisecond
	noticeWithin = 100 * time.Millisecond // what is the matter, if it is not rollcall
)

// ask asks and returns the reply, and when it was asked for and came. Without a
// reply it returns nil; where nothing was broken it has told so.
func (a *asker) ask(name string, qtype uint16) (reply *dns.Msg, sent, came time.Time) {
	question := new(dns.Msg).SetQuestion(name, qtype)
	question.SetEdns0(1232, a.signed != nil)
	a.id++
	question.Id = a.id
	good := a.weather.watch()
	sent = time.Now()
	reply, err := a.exchange(question)
	came = time.Now()
	if err != nil {
		time.Sleep(noticeWithin)
	}
	fine, since := good()
	if err != nil {
		a.j.add("queries", 1)
		if fine {
			a.j.wrong("unanswered outside of faults", "%s %s over %s: no answer after %v: %v", name, dns.TypeToString[qtype], a.network, came.Sub(sent), err)
		} else {
			a.j.add("unanswered in faults", 1)
		}
		return nil, sent, came
	}
	a.j.answered(a.network, a.gap(came, fine, since, good))
	return reply, sent, came
}

// gap returns for how long nobody had an answer before this one came, as far as
// nothing was broken. One that does not ask all the time has no pulse, and no gaps.
func (a *asker) gap(came time.Time, fine bool, since time.Time, good func() (bool, time.Time)) time.Duration {
	if a.pulse == nil {
		return 0
	}
	before := a.pulse.beat(came)
	if came.Sub(before) > stillFor/2 {
		time.Sleep(noticeWithin)
		fine, since = good()
	}
	if since.After(before) {
		before = since
	}
	if !fine {
		return 0
	}
	return max(0, came.Sub(before))
}

func (a *asker) exchange(question *dns.Msg) (reply *dns.Msg, err error) {
	if a.told++; a.most > 0 && a.told > a.most {
		a.hangUp()
	}
	kept := a.conn != nil || a.http != nil
	if reply, err = a.once(question); err != nil && kept && a.network != "udp" {
		reply, err = a.once(question) // the connection may have been closed meanwhile, for being idle
	}
	return reply, err
}

func (a *asker) once(question *dns.Msg) (reply *dns.Msg, err error) {
	if a.network == "https" {
		reply, err = a.post(question)
	} else {
		reply, err = a.send(question)
	}
	if err == nil {
		return reply, nil
	}
	if reply != nil {
		a.j.wrong("wrong", "%s: the answer does not parse: %v", question.Question[0].Name, err)
	}
	a.hangUp()
	return nil, err
}

func (a *asker) send(question *dns.Msg) (reply *dns.Msg, err error) {
	client := dns.Client{Net: a.network, Timeout: answerWithin}
	if a.conn == nil {
		if a.network == "tls" {
			ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
			defer cancel()
			c, err := a.trusts.dial(ctx, a.addr, "dot")
			if err != nil {
				return nil, err
			}
			a.conn = &dns.Conn{Conn: c}
		} else if a.conn, err = client.Dial(a.addr); err != nil {
			a.conn = nil
			return nil, err
		}
	}
	reply, _, err = client.ExchangeWithConn(question, a.conn)
	return reply, err
}

// post asks over HTTP/2, as RFC 8484 has it.
func (a *asker) post(question *dns.Msg) (*dns.Msg, error) {
	if a.http == nil {
		dial := func(ctx context.Context, _, addr string) (net.Conn, error) { return a.trusts.dial(ctx, addr, "h2") }
		a.http = &http.Client{Timeout: answerWithin, Transport: &http.Transport{DialTLSContext: dial, ForceAttemptHTTP2: true}}
	}
	body, err := question.Pack()
	if err != nil {
		return nil, err
	}
	response, err := a.http.Post("https://"+a.addr+"/dns-query", "application/dns-message", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 {
		return nil, fmt.Errorf("%s %s", response.Proto, response.Status)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(text); err != nil || reply.Id != question.Id {
		return reply, fmt.Errorf("ID %d for %d: %w", reply.Id, question.Id, err)
	}
	return reply, nil
}

func (a *asker) hangUp() {
	if a.conn != nil {
		closing(a.conn)
		a.conn = nil
	}
	if a.http != nil {
		a.http.CloseIdleConnections()
		a.http = nil
	}
	a.told = 0
}
