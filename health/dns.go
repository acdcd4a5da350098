package health

import (
	"context"
	"net"
	"net/url"
	"strings"

	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry"
)

// newDNS returns a prober that asks the question of an RFC 4501 URI,
// dns://host:port/name?type=A, and passes when it is answered with a record.
func newDNS(d registry.Definition, dialer *net.Dialer) prober {
	u, err := url.Parse(d.DNS)
	if err != nil {
		return func(context.Context) result { return critical("%v", err) }
	}
	server := u.Host
	if u.Port() == "" {
		server = net.JoinHostPort(u.Hostname(), "53")
	}
	qtype, ok := dns.StringToType[strings.ToUpper(u.Query().Get("type"))]
	if !ok {
		qtype = dns.TypeA
	}
	name := dns.Fqdn(strings.TrimPrefix(u.Path, "/"))
	return func(ctx context.Context) result {
		question := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, false)
		answer, _, err := (&dns.Client{Dialer: dialer}).ExchangeContext(ctx, question, server)
		what := name + " " + dns.TypeToString[qtype]
		switch {
		case err != nil:
			return critical("DNS %s at %s: %v", what, server, err)
		case answer.Rcode != dns.RcodeSuccess:
			return critical("DNS %s at %s: %s", what, server, dns.RcodeToString[answer.Rcode])
		case len(answer.Answer) == 0 && !answer.Truncated:
			return critical("DNS %s at %s: no answer", what, server)
		}
		return passing("DNS %s at %s: %d records", what, server, len(answer.Answer))
	}
}
