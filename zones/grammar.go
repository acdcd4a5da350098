package zones

import (
	"strings"

	"github.com/miekg/dns"
)

// answer reads the labels that stand before the zone:
//
//	[TAG.]SERVICE.service[.DC]        the instances of a service
//	_SERVICE._TAG[.service][.DC]      the same (RFC 2782); _tcp and _udp mean no tag
//	ID._SERVICE._tcp[.service][.DC]   one instance (RFC 6763)
//	_services._dns-sd._udp[.DC]       the list of services (RFC 6763)
//	NODE.node[.DC]                    a node
//	HEX.addr[.DC]                     the address that is written in the name
//	QUERY.query, _QUERY._tcp.query    what a prepared query finds
//	ns                                the primary name server
//	….PORT.port                       of services: the port of that name, as in Consul 1.22
//
// They are read from the right, as Consul reads them: the first that is a kind,
// or begins with an underscore, says what the name is about. What stands behind
// it is the datacenter, DC or DC.dc.
//
// A name that others end in, and that has no meaning of its own, is an empty
// non-terminal: it is there, and has no records.
func (r *resolution) answer(labels []string) *Answer {
	switch {
	case len(labels) == 0 && r.port == "":
		return r.apex()
	case len(labels) == 0:
		return r.nonTerminal(nil)
	case len(labels) == 1 && labels[0] == "ns" && r.port == "":
		return r.ns()
	case labels[len(labels)-1] == "port" && r.port == "" && !r.isLocal(labels[len(labels)-1:]):
		return r.ofPort(labels[:len(labels)-1])
	case len(labels) == 1 && labels[0] == "dc":
		return r.nonTerminal(nil)
	}
	at := len(labels) - 1
	for at >= 0 && !isKind(labels[at]) && labels[at][0] != '_' {
		at--
	}
	switch {
	case at < 0 && r.isLocal(labels):
		return r.nonTerminal(nil)
	case at < 0:
		return r.elsewhere(labels)
	case r.isLocal(labels[at+1:]):
		return r.here(labels[:at+1])
	}
	a, ok := r.enter(labels[at+1:])
	if ok {
		if a = r.here(labels[:at+1]); a != nil && a.Stamp == nil {
			a.Cacheable = false // what is there in every datacenter goes with this one
		}
	}
	return a
}

// here reads the labels before the datacenter, which end in what the name is about.
func (r *resolution) here(labels []string) *Answer {
	at := len(labels) - 1
	if labels[at][0] == '_' {
		return r.underscored(labels)
	}
	before := labels[:at]
	switch kind := labels[at]; {
	case kind == "service":
		return r.serviceName(before)
	case r.port != "":
		return r.noPorts()
	}
	switch kind := labels[at]; kind {
	case "node":
		return r.node(before)
	case "addr":
		return r.addr(before)
	case "query":
		return r.query(before)
	default:
		return r.noName(r.because("there is nothing of the kind ").text(kind).text(" here"))
	}
}

// ofPort reads the labels before the label port.
func (r *resolution) ofPort(labels []string) *Answer {
	n := len(labels)
	switch {
	case n == 0 && r.v.HasPorts():
		return r.nonTerminal(r.v.Stamp())
	case n == 0:
		return r.noName(r.because("no instance has a port with a name"))
	}
	r.port = labels[n-1]
	a := r.answer(labels[:n-1])
	switch {
	case a == nil || a.Rcode != dns.RcodeSuccess:
	case !r.v.HasPort(r.port): // in the datacenter that the name is of
		return r.noName(r.because("no instance has a port of the name ").labels(r.port))
	case r.about.service == nil:
		a.Stamp = r.v.Stamp() // names that others end in go with the last port of that name
	}
	return a
}

// noPorts answers for a name with a port that is of no service.
func (r *resolution) noPorts() *Answer {
	return r.noName(r.because("only services have ports with names"))
}

// IsKind tells whether a label, in any case, says what a name is about, so that no
// datacenter can be called like that.
func IsKind(label string) bool { return isKind(strings.ToLower(label)) }

// isKind tells it of a label in lower case. The last three are Consul's mesh: they
// keep their meaning, and have nothing behind them here.
func isKind(label string) bool {
	switch label {
	case "service", "node", "addr", "query", "connect", "virtual", "ingress":
		return true
	}
	return false
}

// isLocal tells whether the labels before the zone mean this datacenter.
func (r *resolution) isLocal(labels []string) bool {
	if len(labels) == 2 && labels[1] == "dc" {
		labels = labels[:1]
	}
	return len(labels) == 0 || len(labels) == 1 && same(r.v.Datacenter(), labels[0])
}

// serviceName reads what stands before the label service.
func (r *resolution) serviceName(labels []string) *Answer {
	n := len(labels)
	switch {
	case n == 0:
		return r.nonTerminal(nil)
	case n == 1 && labels[0][0] == '_' && r.v.Service(labels[0]) == nil,
		n >= 2 && labels[n-1][0] == '_' && labels[n-2][0] == '_':
		return r.underscored(labels)
	}
	return r.service(labels)
}

// underscored reads _SERVICE._TAG, ID._SERVICE._tcp, and what leads there.
func (r *resolution) underscored(labels []string) *Answer {
	n := len(labels)
	tag := labels[n-1][1:]
	protocol := tag == "tcp" || tag == "udp"
	switch {
	case tag == "":
		return r.formless(labels)
	case n == 1 && protocol:
		return r.nonTerminal(nil)
	case n == 1:
		return r.tag(tag)
	case tag == "udp" && labels[n-2] == "_dns-sd":
		return r.browse(labels[:n-2])
	case n == 2 && hasUnderscore(labels[0]) && protocol:
		return r.protocol(labels[0][1:])
	case n == 2 && hasUnderscore(labels[0]):
		return r.tagged(labels[0][1:], tag)
	case n == 3 && hasUnderscore(labels[1]) && protocol:
		return r.instance(labels[0], labels[1][1:])
	}
	return r.formless(labels)
}

// hasUnderscore tells whether a label is a name behind an underscore.
func hasUnderscore(label string) bool { return len(label) > 1 && label[0] == '_' }

// formless answers for a name that is of no form above.
func (r *resolution) formless(labels []string) *Answer {
	if name, ok := r.join(labels); ok && r.v.Service(name) != nil {
		return r.noName(r.because(name).text(" is a service: ask for ").text(name).text(".service.").text(r.zone.Name))
	}
	return r.noName(r.because("no name in ").text(r.zone.Name).text(" has the form of ").labels(labels...))
}
