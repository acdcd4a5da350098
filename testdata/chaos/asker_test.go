package chaos

import (
	"time"

	"github.com/miekg/dns"
)

// asker is a DNS client that keeps its socket or its connection, as stubs do, and
// asks each question once. It is for one goroutine.
type asker struct {
	j       *journal
	network string // udp or tcp
	addr    string
	weather *weather
	pulse   *pulse
	conn    *dns.Conn
	id      uint16 // of the last query: a late answer to another is never taken for its own
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
	question.SetEdns0(1232, false)
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
	a.j.answered(a.gap(came, fine, since, good))
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
	kept := a.conn != nil
	if reply, err = a.once(question); err != nil && kept && a.network == "tcp" {
		reply, err = a.once(question) // the connection may have been closed meanwhile, for being idle
	}
	return reply, err
}

func (a *asker) once(question *dns.Msg) (*dns.Msg, error) {
	client := dns.Client{Net: a.network, Timeout: answerWithin}
	if a.conn == nil {
		conn, err := client.Dial(a.addr)
		if err != nil {
			return nil, err
		}
		a.conn = conn
	}
	reply, _, err := client.ExchangeWithConn(question, a.conn)
	if err == nil {
		return reply, nil
	}
	if reply != nil {
		a.j.wrong("wrong", "%s: the answer does not parse: %v", question.Question[0].Name, err)
	}
	a.hangUp()
	return nil, err
}

func (a *asker) hangUp() {
	if a.conn != nil {
		closing(a.conn)
		a.conn = nil
	}
}
