// Package health runs the checks: probes over HTTP, TCP, UDP, gRPC and DNS, and
// the deadlines of heartbeats. It follows a registry's changes, keeps one task
// for each check that is to be run, and reports to the registry what changes.
//
// A probe is a file of its own and a line in the table of probe.go. When to run
// and what a result means are decided by pure functions, in schedule.go and
// threshold.go. The package knows nothing of DNS zones or of the HTTP endpoint.
//
// Each result carries the Lease of the check that it is about, so that a check
// that was removed or replaced while its probe ran changes nothing.
package health

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-dns/rollcall/registry"
)

// Config says what a Runner runs.
type Config struct {
	Registry    registry.Registry
	Allow       []netip.Prefix   // where checks may go, beside their instance's own address
	Forbidden   []netip.AddrPort // where none may go: the endpoint that they are registered at, and those that are told of them
	Concurrency int              // probes at once at most; zero: DefaultConcurrency
	Repeat      bool             // report each result, news or not, to a registry where they lapse
	// Around is told of each probe before it runs, and the function that it returns
	// of what was found: so can a probe be traced. nil: nobody is told.
	Around  func(context.Context, *registry.Check) (context.Context, func(status registry.Status, output string))
	Logger  *slog.Logger          // nil: silent
	Metrics prometheus.Registerer // nil: not measured

	probe func(registry.Definition, *net.Dialer) prober // in place of newProber, in tests
}

// Runner runs the checks of a registry.
type Runner struct {
	config  Config
	allow   atomic.Pointer[[]netip.Prefix]
	metrics *metrics
	started time.Time
	pulse   pulse

	mu      sync.Mutex
	tasks   map[*registry.Lease]*task
	ofNodes map[*registry.Lease]*task // those of tasks that are about a node: few
	sooner  chan struct{}             // told when a task comes first, or a slot is free

	// The tasks that wait, the next one first.
	probes, slowProbes, heartbeats, ends queue

	pace  pace
	slots slots
	mass  massFailure
	late  lateness
}

// New returns a Runner; Run runs it.
func New(config Config) *Runner {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Around == nil {
		config.Around = func(ctx context.Context, _ *registry.Check) (context.Context, func(registry.Status, string)) {
			return ctx, func(registry.Status, string) {}
		}
	}
	if config.probe == nil {
		config.probe = newProber
	}
	r := &Runner{
		config:  config,
		metrics: newMetrics(config.Metrics),
		tasks:   make(map[*registry.Lease]*task),
		ofNodes: make(map[*registry.Lease]*task),
		sooner:  make(chan struct{}, 1),
	}
	r.Allow(config.Allow)
	r.Limit(config.Concurrency)
	return r
}

// Limit replaces Config's Concurrency. Probes that run go on.
func (r *Runner) Limit(concurrency int) {
	if concurrency <= 0 {
		concurrency = DefaultConcurrency
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slots.all = concurrency
	r.lookNow()
}

// DefaultConcurrency is what there are at once where nobody says how many.
const DefaultConcurrency = 64

// Allow replaces the networks that checks may go to, from the next connection on.
func (r *Runner) Allow(networks []netip.Prefix) { r.allow.Store(&networks) }

// task is a check that is run.
type task struct {
	prober prober // nil: a heartbeat, or the end of a maintenance
	ends   bool   // it is that

	// These belong to the goroutine that runs the task.
	counter    counter
	flap       flap
	slow       bool // the last probe timed out
	reportedAt time.Time

	// These belong to the Runner's mutex.
	check   *registry.Check // as it was registered, of whatever status
	since   time.Time       // when it became critical, for reaping; zero: it is not
	due     time.Time
	at      int  // in the queue; -1: it is not there
	late    bool // its heartbeat is, or was when it was last looked for
	removed bool
	cancel  context.CancelFunc // of the probe that runs
}

// Run runs the checks until ctx ends, and returns when every probe has.
func (r *Runner) Run(ctx context.Context) error {
	r.started = time.Now()
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { r.dispatch(ctx, &running) })
	first := true
	return r.config.Registry.Watch(ctx, 0, func(e registry.Event) error {
		r.follow(e, first)
		first = false
		return nil
	})
}

// follow keeps the tasks in line with the registry.
func (r *Runner) follow(e registry.Event, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Kind {
	case registry.Resync:
		there := make(map[*registry.Lease]bool)
		for n := range e.View.Nodes() {
			r.keep(n.Checks, there, first)
		}
		for i := range e.View.Instances() {
			r.keep(i.Checks, there, first)
		}
		for lease, t := range r.tasks {
			if !there[lease] {
				r.remove(t)
			}
		}
	case registry.InstancePut:
		now := make(map[*registry.Lease]bool)
		r.keep(e.Instance.Checks, now, false)
		if e.Before != nil {
			r.drop(e.Before.Checks, now)
		}
	case registry.InstanceDeleted:
		r.drop(e.Instance.Checks, nil)
	case registry.NodePut:
		r.keep(e.Node.Checks, make(map[*registry.Lease]bool), false)
		for _, t := range r.ofNodes {
			if c := t.check; c.Node == e.Node.Name {
				if now := e.View.Check(c.Node, c.ID); now == nil || now.Lease != c.Lease {
					r.remove(t)
				}
			}
		}
	case registry.NodeDeleted:
		r.drop(e.Node.Checks, nil)
	}
	r.metrics.scheduled.Set(float64(len(r.tasks)))
}

// keep makes tasks of the checks that are new, and marks all in there. At the
// start, first, they are spread over their whole interval.
func (r *Runner) keep(checks []*registry.Check, there map[*registry.Lease]bool, first bool) {
	for _, c := range checks {
		there[c.Lease] = true
		if t := r.tasks[c.Lease]; t != nil {
			r.note(t, c)
			continue
		}
		kind := c.Definition.Kind()
		if kind == "" && c.Until.IsZero() {
			continue
		}
		t := &task{check: c, at: -1, ends: kind == "", counter: newCounter(*c.Definition, c.Status, !first)}
		r.note(t, c)
		now := time.Now()
		switch kind {
		case "":
			t.due = c.Until.Round(0) // by the wall clock
		case "ttl":
			t.due = c.Lease.Renewed().Add(c.Definition.TTL)
			r.late.of++
		default:
			t.prober = r.config.probe(*c.Definition, r.dialer(c))
			t.due = now.Add(firstDelay(c.Definition.Interval, first, rand.Float64()))
			r.pace.wanted += perSecond(t)
		}
		r.tasks[c.Lease] = t
		if c.InstanceID == "" {
			r.ofNodes[c.Lease] = t
		}
		r.wait(t)
	}
}

// note takes over what the registry says of a check.
func (r *Runner) note(t *task, c *registry.Check) {
	switch {
	case c.Status != registry.Critical:
		t.since = time.Time{}
	case t.since.IsZero() || !c.Since.Equal(t.check.Since):
		// A check found critical gets its full time from the start of this process.
		t.since = time.Now()
	}
	t.check = c
}

func (r *Runner) drop(checks []*registry.Check, except map[*registry.Lease]bool) {
	for _, c := range checks {
		if t := r.tasks[c.Lease]; t != nil && !except[c.Lease] {
			r.remove(t)
		}
	}
}

func (r *Runner) remove(t *task) {
	delete(r.tasks, t.check.Lease)
	delete(r.ofNodes, t.check.Lease)
	t.removed = true
	if t.cancel != nil {
		t.cancel()
	}
	if t.at >= 0 {
		r.queueOf(t).remove(t)
	}
	switch {
	case t.ends:
	case t.prober != nil:
		r.pace.wanted -= perSecond(t)
	default:
		r.late.of--
		r.late.mark(t, false)
	}
}

// report tells the registry of a result, where it is news.
func (r *Runner) report(ctx context.Context, t *task, c *registry.Check, status registry.Status, output string, expiredBy time.Time) {
	now := r.config.Registry.View().Check(c.Node, c.ID)
	if now == nil || now.Lease != c.Lease {
		return
	}
	if !r.config.Repeat && status == now.Status && (output == now.Output || time.Since(t.reportedAt) < outputInterval(c.Lease)) {
		return
	}
	err := r.config.Registry.SetStatus(ctx, registry.StatusUpdate{
		Node: c.Node, CheckID: c.ID, Status: status, Output: output, Lease: c.Lease, ExpiredBy: expiredBy,
	})
	switch code := registry.CodeOf(err); {
	case err == nil:
		t.reportedAt = time.Now()
	case code == registry.Conflict, code == registry.NotFound, errors.Is(err, context.Canceled):
	default:
		r.config.Logger.Error("the result of a check could not be stored", "check", c.ID, "service", c.Service, "err", err)
	}
}
