package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/miekg/dns"
	"github.com/urfave/cli/v2"

	"github.com/rollcall-dns/rollcall/zones"
)

func queryCommand() *cli.Command {
	return &cli.Command{
		Name:      "query",
		Usage:     "ask a DNS question, and with --explain why it is answered so",
		ArgsUsage: "NAME [TYPE]",
		Description: "A NAME without a dot is that of a service, in the zone of the rollcall that answers\n" +
			"at --api unless --zone names another. The TYPE is A unless it is given.",
		Flags: withAPI(withOutput(
			&cli.StringFlag{Name: "zone", EnvVars: []string{"ROLLCALL_QUERY_ZONE"}, Usage: "`ZONE` of a NAME without a dot", DefaultText: "that of the rollcall at --api"},
			&cli.StringFlag{Name: "server", Value: "127.0.0.1:5300", EnvVars: []string{"ROLLCALL_SERVER"}, Usage: "`ADDRESS` to ask"},
			&cli.BoolFlag{Name: "explain", EnvVars: []string{"ROLLCALL_EXPLAIN"}, Usage: "say for each instance that is not in the answer why"},
		)...),
		Action: query,
	}
}

func query(ctx *cli.Context) error {
	args, err := arguments(ctx, "NAME", "[TYPE]")
	if err != nil {
		return err
	}
	name, kind := dns.Fqdn(args[0]), strings.ToUpper(args[1])
	if !strings.Contains(args[0], ".") {
		if name, err = nameOfService(ctx, args[0]); err != nil {
			return err
		}
	}
	if kind == "" {
		kind = "A"
	}
	qtype, ok := typeOf(kind)
	if !ok {
		return usageError(ctx, "%q is no type of DNS records", args[1])
	}
	kind = dns.Type(qtype).String()
	if _, ok := dns.IsDomainName(name); !ok {
		return usageError(ctx, "%q is no DNS name", args[0])
	}
	server, err := serverAddress(ctx)
	if err != nil {
		return err
	}
	if ctx.Bool("explain") {
		return explain(ctx, name, kind)
	}
	answer, err := ask(ctx, server, name, qtype)
	if err != nil {
		return err
	}
	return printAnswer(ctx, newAnswerText(name, kind, answer))
}

// nameOfService returns a service's name in DNS; a zone may be called by its name,
// too. To ask for the service's own name where the zone is not known would be another
// question.
func nameOfService(ctx *cli.Context, service string) (string, error) {
	zone := ctx.String("zone")
	if zone == "" {
		c, err := newClient(ctx)
		if err != nil {
			return "", err
		}
		var answering struct{ Zone string }
		err = c.get(ctx.Context, "/v1/overview", nil, &answering)
		if err == nil && answering.Zone == "" || exitCode(err) == exitNotFound {
			err = errors.New("what answers there is no rollcall")
		}
		if err != nil {
			return "", fmt.Errorf("in which zone %q is cannot be learned: %w: give --zone or the whole name, as %s.service.ZONE", service, err, service)
		}
		zone = answering.Zone
	}
	if strings.EqualFold(dns.Fqdn(service), dns.Fqdn(zone)) {
		return dns.Fqdn(service), nil
	}
	return dns.Fqdn(service + ".service." + zone), nil
}

// typeOf returns the type of a name, or of the number in one as RFC 3597 has it.
func typeOf(kind string) (uint16, bool) {
	if qtype, ok := dns.StringToType[kind]; ok {
		return qtype, true
	}
	digits, numbered := strings.CutPrefix(kind, "TYPE")
	qtype, err := strconv.ParseUint(digits, 10, 16)
	return uint16(qtype), numbered && err == nil
}

// serverAddress returns whom to ask, at DNS's own port where no other is named.
func serverAddress(ctx *cli.Context) (string, error) {
	server := ctx.String("server")
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		host, port = strings.Trim(server, "[]"), "53"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || host == "" || strings.ContainsAny(host, " /[]") {
		return "", usageError(ctx, "--server %q has not the form ADDRESS[:PORT]", server)
	}
	return net.JoinHostPort(host, port), nil
}

// ask asks over UDP, and again over TCP where the answer does not fit.
func ask(ctx *cli.Context, server, name string, qtype uint16) (*dns.Msg, error) {
	question := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, false)
	var answer *dns.Msg
	for _, network := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: network, Timeout: ctx.Duration("timeout")}
		var err error
		if answer, _, err = c.ExchangeContext(ctx.Context, question, server); err != nil {
			return nil, fail(exitUnreachable, "no DNS answer from %s: %w", server, err)
		}
		if !answer.Truncated {
			break
		}
	}
	return answer, nil
}

// answerText is an answer in words, with the names that an explanation has.
type answerText struct {
	Name       string   `json:"name"`
	Type       string   `json:"type"`
	Rcode      string   `json:"rcode"`
	Reason     string   `json:"reason,omitempty"`
	Answer     []string `json:"answer"` // in master-file text, as the two below
	Authority  []string `json:"authority"`
	Additional []string `json:"additional"`
}

func newAnswerText(name, kind string, answer *dns.Msg) *answerText {
	a := &answerText{
		Name: name, Type: kind, Rcode: dns.RcodeToString[answer.Rcode],
		Answer: texts(answer.Answer), Authority: texts(answer.Ns), Additional: texts(answer.Extra),
	}
	if opt := answer.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if ede, ok := option.(*dns.EDNS0_EDE); ok && ede.ExtraText != "" {
				a.Reason = oneLine(ede.ExtraText)
			}
		}
	}
	return a
}

// texts returns records in master-file text, but for EDNS's, which is none.
func texts(rrs []dns.RR) []string {
	lines := []string{}
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			lines = append(lines, rr.String())
		}
	}
	return lines
}

func printAnswer(ctx *cli.Context, answer *answerText) error {
	if forPrograms(ctx) {
		if err := output(ctx, answer, nil); err != nil {
			return err
		}
	} else {
		for _, rr := range answer.Answer {
			fmt.Fprintln(ctx.App.Writer, rr)
		}
		for _, rr := range answer.Additional {
			fmt.Fprintln(ctx.App.Writer, ";", rr)
		}
	}
	return answered(answer.Answer, answer.Rcode, answer.Reason)
}

// answered returns the error of an answer without records.
func answered(answer []string, rcode, reason string) error {
	if len(answer) > 0 {
		return nil
	}
	if reason != "" {
		reason = ": " + oneLine(reason)
	}
	return fail(exitNotFound, "%s, and no answer%s", rcode, reason)
}

func explain(ctx *cli.Context, name, kind string) error {
	c, err := newClient(ctx)
	if err != nil {
		return err
	}
	var e zones.Explanation
	if err := c.get(ctx.Context, "/v1/explain/"+name, url.Values{"type": {kind}}, &e); err != nil {
		return err
	}
	err = output(ctx, e, func(t *table) {
		t.row(e.Rcode, e.Reason)
		for _, rr := range e.Answer {
			t.row("in the answer", rr)
		}
		for _, rr := range e.Additional {
			t.row("beside it", rr)
		}
		for _, a := range e.LeftOut {
			t.row("left out", a.ID+" on "+a.Node+": "+a.Reason)
		}
	})
	if err != nil {
		return err
	}
	return answered(e.Answer, e.Rcode, e.Reason)
}
