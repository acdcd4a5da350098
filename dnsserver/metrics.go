package dnsserver

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// The reasons for which a message gets no reply.
const (
	dropShort = iota
	dropReply
	dropRate
	dropReasons
)

// What can go wrong with a query.
const (
	errorPack = iota
	errorRead
	errorWrite
	errorKinds
)

// transports are what queries come by.
var transports = []string{"udp", "tcp", "tls", "https"}

// The label values of what is counted by number. Nothing that a client chooses
// freely is a label.
var (
	dropNames   = [dropReasons]string{"short", "reply", "rate"}
	errorNames  = [errorKinds]string{"pack", "read", "write"}
	familyNames = [2]string{"4", "6"}
	typesNamed  = [...]uint16{
		dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypePTR, dns.TypeSOA, dns.TypeNS, dns.TypeANY,
		dns.TypeHTTPS, dns.TypeSVCB, dns.TypeMX, dns.TypeCNAME, dns.TypeDS, dns.TypeDNSKEY,
	}
)

const typeOther = len(typesNamed)

// sampling is how many queries there are to each one whose time is taken: the
// clock costs as much as a good part of an answer.
const sampling = 64

// counter is a number that one goroutine counts up and others read. They see it
// as it was when it was published last: to count then takes no locked access to
// memory, each of which costs as much as reading a question.
type counter struct {
	n         uint64
	published atomic.Uint64
}

// Add counts. Only the counter's own goroutine may.
func (c *counter) Add(n uint64) { c.n += n }

// Load returns what was published.
func (c *counter) Load() uint64 { return c.published.Load() }

func (c *counter) publish() {
	if c.n != c.published.Load() {
		c.published.Store(c.n)
	}
}

// tally is what one worker has counted. Only its worker writes to it, so no core
// waits for another's.
type tally struct {
	transport  string
	requests   [2][typeOther + 1]counter
	responses  [24]counter // by response code; BADCOOKIE is the last
	dropped    [dropReasons]counter
	errors     [errorKinds]counter
	truncated  counter
	capped     counter
	overBudget counter
	overRate   counter
	panics     counter
	all        []*counter // that are above
	sampled
	typeOf [256]uint8 // of the types below 256, to their place in typesNamed
}

// sampled is what is measured of one query in sampling: an observation takes locked
// accesses, too.
type sampled struct{ duration, asked, replied prometheus.Observer }

// request counts a query.
func (t *tally) request(q *query, from netip.Addr) {
	family, kind := 0, typeOther
	if from.Is6() && !from.Is4In6() {
		family = 1
	}
	if q.size > 0 && q.qtype < 256 {
		kind = int(t.typeOf[q.qtype])
	}
	t.requests[family][kind].Add(1)
}

// metrics collects the tallies of all workers.
type metrics struct {
	duration, asked, replied *prometheus.HistogramVec
	requests, responses, dropped, errors,
	truncated, capped, unsigned, limited, panics *prometheus.Desc

	mu      sync.Mutex
	tallies map[*tally]struct{}
	retired map[string]*tally // by transport: the counts of workers that ended
}

func newMetrics() *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("rollcall_dns_"+name, help, labels, nil)
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_dns_" + name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"proto"})
	}
	return &metrics{
		duration:  histogram("request_duration_seconds", "Time from a query to its reply, of one query in 64.", prometheus.ExponentialBuckets(250e-9, 4, 10)),
		asked:     histogram("request_size_bytes", "Size of a query, of one in 64.", []float64{32, 64, 128, 256, 512}),
		replied:   histogram("response_size_bytes", "Size of a reply that waited for nobody, before any padding, of one query in 64.", []float64{64, 128, 256, 512, 1024, 1232, 4096, 16384}),
		requests:  desc("requests_total", "Queries received.", "proto", "family", "type"),
		responses: desc("responses_total", "Replies sent.", "proto", "rcode"),
		dropped:   desc("dropped_total", "Messages that got no reply.", "proto", "reason"),
		errors:    desc("errors_total", "Faults, by kind.", "proto", "kind"),
		truncated: desc("truncated_total", "Replies with TC set.", "proto"),
		capped:    desc("answers_capped_total", "Replies with a part of a larger RRset.", "proto"),
		unsigned:  desc("unsigned_total", "Queries for signed answers beyond the budget of signatures.", "proto"),
		limited:   desc("rate_limited_total", "Replies dropped or cut short, as their network gets many.", "proto"),
		panics:    desc("panics_total", "Queries that ended in a panic.", "proto"),
		tallies:   make(map[*tally]struct{}),
		retired:   make(map[string]*tally),
	}
}

func (m *metrics) newTally(transport string) *tally {
	t := &tally{transport: transport, sampled: sampled{
		m.duration.WithLabelValues(transport), m.asked.WithLabelValues(transport), m.replied.WithLabelValues(transport),
	}}
	t.all = t.counters()
	for i := range t.typeOf {
		t.typeOf[i] = uint8(typeOther)
	}
	for i, qtype := range typesNamed {
		if int(qtype) < len(t.typeOf) {
			t.typeOf[qtype] = uint8(i)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tallies[t] = struct{}{}
	return t
}

// retire keeps the counts of a worker that has ended.
func (m *metrics) retire(t *tally) {
	t.publish()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.tallies, t)
	if m.retired[t.transport] == nil {
		m.retired[t.transport] = &tally{transport: t.transport}
	}
	m.retired[t.transport].add(t)
}

// late counts for a query that no worker is at any longer.
func (m *metrics) late(transport string, count func(*tally)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.retired[transport] == nil {
		m.retired[transport] = &tally{transport: transport}
	}
	t := m.retired[transport]
	count(t)
	for _, c := range t.counters() {
		c.publish()
	}
}

// counters returns all counters of a tally, always in the same order.
func (t *tally) counters() (all []*counter) {
	for f := range t.requests {
		for k := range t.requests[f] {
			all = append(all, &t.requests[f][k])
		}
	}
	for _, list := range [][]counter{t.responses[:], t.dropped[:], t.errors[:]} {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	return append(all, &t.truncated, &t.capped, &t.overBudget, &t.overRate, &t.panics)
}

// publish lets others see what was counted.
func (t *tally) publish() {
	for _, c := range t.all {
		c.publish()
	}
}

// add counts what another tally has published.
func (t *tally) add(o *tally) {
	theirs := o.counters()
	for i, c := range t.counters() {
		c.Add(theirs[i].Load())
		c.publish()
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, h := range []*prometheus.HistogramVec{m.duration, m.asked, m.replied} {
		h.Describe(descs)
	}
	for _, d := range []*prometheus.Desc{m.requests, m.responses, m.dropped, m.errors, m.truncated, m.capped, m.unsigned, m.limited, m.panics} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(found chan<- prometheus.Metric) {
	for _, h := range []*prometheus.HistogramVec{m.duration, m.asked, m.replied} {
		h.Collect(found)
	}
	for _, transport := range transports {
		if transport == "udp" || transport == "tcp" || m.used(transport) {
			m.collect(found, transport, m.total(transport))
		}
	}
}

// used tells whether anything has come by a transport.
func (m *metrics) used(transport string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for t := range m.tallies {
		if t.transport == transport {
			return true
		}
	}
	return m.retired[transport] != nil
}

func (m *metrics) total(transport string) *tally {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := new(tally)
	if retired := m.retired[transport]; retired != nil {
		sum.add(retired)
	}
	for t := range m.tallies {
		if t.transport == transport {
			sum.add(t)
		}
	}
	return sum
}

func (m *metrics) collect(found chan<- prometheus.Metric, transport string, t *tally) {
	send := func(d *prometheus.Desc, c *counter, labels ...string) {
		found <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(c.Load()), append([]string{transport}, labels...)...)
	}
	for f := range t.requests {
		for k := range t.requests[f] {
			name := "other"
			if k < typeOther {
				name = dns.TypeToString[typesNamed[k]]
			}
			send(m.requests, &t.requests[f][k], familyNames[f], name)
		}
	}
	for code := range t.responses {
		if name, ok := dns.RcodeToString[code]; ok {
			send(m.responses, &t.responses[code], name)
		}
	}
	for i := range t.dropped {
		send(m.dropped, &t.dropped[i], dropNames[i])
	}
	for i := range t.errors {
		send(m.errors, &t.errors[i], errorNames[i])
	}
	send(m.truncated, &t.truncated)
	send(m.capped, &t.capped)
	send(m.unsigned, &t.overBudget)
	send(m.limited, &t.overRate)
	send(m.panics, &t.panics)
}
