package registry

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// ServiceMaintenancePrefix, followed by an instance's ID, is the ID of the
// critical check that stands for the instance's maintenance mode.
const ServiceMaintenancePrefix = "_service_maintenance:"

// Check is one opinion on the health of an instance or of a node: a probe that
// rollcall runs, a heartbeat that it waits for, or a status that somebody sets.
// A Check in a View is never modified.
type Check struct {
	Node        string
	ID          string // unique on its node
	Name        string
	Notes       string
	InstanceID  string // the instance it is about; empty: the node itself
	Service     string // that instance's service
	Type        string // as Definition.Kind, or "maintenance"
	Status      Status
	Output      string
	Since       time.Time   // when Status last changed, by the wall clock
	Until       time.Time   // when the check goes by itself; zero: never. See Reason.
	Definition  *Definition // never nil in a View, where checks that are alike share one; not to be modified
	Lease       *Lease      `json:"-"` // never nil in a View
	CreateIndex uint64
	ModifyIndex uint64
}

// Reason says why a maintenance is and until when. Until is a time of the wall clock,
// as somebody said how long and then looks at a clock: where that is set, the end moves
// along, and what ends while rollcall is away ends when it is back.
func (c *Check) Reason() string {
	if c.Until.IsZero() {
		return c.Notes
	}
	return strings.TrimSpace(c.Notes + " (" + c.End() + ")")
}

// End says when the check goes by itself, or nothing where it does not.
func (c *Check) End() string {
	if c.Until.IsZero() {
		return ""
	}
	return "until " + c.Until.UTC().Format(time.DateTime) + " UTC"
}

// TargetSays stands in the Output of a probe before what the target said, which is
// for those alone who may see everything: who may register a check could have
// rollcall read to them what they cannot reach. Consul's agents write the same.
const TargetSays = " Output: "

// Definition says how a check gets its status. At most one of HTTP, TCP, UDP,
// GRPC, DNS and TTL is set; without any, the status is what was set last. The
// fields are those of Consul's check definitions, DNS apart.
type Definition struct {
	HTTP             string // URL
	Method           string // of the HTTP request; empty: GET
	Header           map[string][]string
	Body             string
	TCP              string // host:port
	UDP              string // host:port
	GRPC             string // host:port, or host:port/service of the standard health service
	DNS              string // dns://host:port/name?type=A, after RFC 4501
	TLSServerName    string
	TLSSkipVerify    bool
	GRPCUseTLS       bool
	DisableRedirects bool

	TTL      time.Duration // critical when no heartbeat came for so long
	Interval time.Duration // from one probe to the next
	Timeout  time.Duration // of one probe; zero: 10 s, or Interval if that is shorter

	SuccessBeforePassing           int           // successes in a row before the check passes
	FailuresBeforeWarning          int           // failures in a row before it warns
	FailuresBeforeCritical         int           // failures in a row before it is critical
	DeregisterCriticalServiceAfter time.Duration // the instance goes when critical for so long; zero: never
}

// noDefinition is that of all checks without one.
var noDefinition = new(Definition)

// Kind names the way the check gets its status: "http", "tcp", "udp", "grpc",
// "dns", "ttl", or nothing.
func (d *Definition) Kind() string {
	switch {
	case d == nil:
	case d.HTTP != "":
		return "http"
	case d.TCP != "":
		return "tcp"
	case d.UDP != "":
		return "udp"
	case d.GRPC != "":
		return "grpc"
	case d.DNS != "":
		return "dns"
	case d.TTL > 0:
		return "ttl"
	}
	return ""
}

// Probed tells whether a probe gives the check its status.
func (d *Definition) Probed() bool { return d.Kind() != "" && d.Kind() != "ttl" }

// Clone returns a definition that shares no memory with d; nil for nil.
func (d *Definition) Clone() *Definition {
	if d == nil {
		return nil
	}
	clone := *d
	clone.Header = maps.Clone(d.Header)
	for name, values := range clone.Header {
		clone.Header[name] = slices.Clone(values)
	}
	return &clone
}

// Equal tells whether two definitions are the same; nil is the same as none set.
func (d *Definition) Equal(o *Definition) bool {
	switch {
	case d == o:
		return true
	case d == nil:
		d = noDefinition
	case o == nil:
		o = noDefinition
	}
	return d.HTTP == o.HTTP && d.Method == o.Method && d.Body == o.Body && maps.EqualFunc(d.Header, o.Header, slices.Equal) &&
		d.TCP == o.TCP && d.UDP == o.UDP && d.GRPC == o.GRPC && d.GRPCUseTLS == o.GRPCUseTLS && d.DNS == o.DNS &&
		d.TLSServerName == o.TLSServerName && d.TLSSkipVerify == o.TLSSkipVerify && d.DisableRedirects == o.DisableRedirects &&
		d.TTL == o.TTL && d.Interval == o.Interval && d.Timeout == o.Timeout &&
		d.SuccessBeforePassing == o.SuccessBeforePassing && d.FailuresBeforeWarning == o.FailuresBeforeWarning &&
		d.FailuresBeforeCritical == o.FailuresBeforeCritical &&
		d.DeregisterCriticalServiceAfter == o.DeregisterCriticalServiceAfter
}

// Lease is the identity of one registration of a check: as long as a View shows
// a check with the same Lease, it is the same check. It also keeps the time of
// the last heartbeat, outside of the immutable Check, so that a heartbeat that
// says nothing new costs no new View and no write to disk.
type Lease struct{ renewed atomic.Pointer[time.Time] }

// NewLease returns a Lease that counts from now.
func NewLease(now time.Time) *Lease {
	l := new(Lease)
	l.Renew(now)
	return l
}

// Renew notes a heartbeat. The time keeps its monotonic reading, so that steps
// of the wall clock neither shorten nor extend a lease.
func (l *Lease) Renew(now time.Time) { l.renewed.Store(&now) }

// Renewed returns the time of the last heartbeat, or of the registration.
func (l *Lease) Renewed() time.Time { return *l.renewed.Load() }
