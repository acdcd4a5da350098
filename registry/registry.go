// Package registry holds the nouns that every part of rollcall speaks in: Node,
// Instance, Check, Status, the Registry interface, and the View, an immutable
// snapshot of all that is registered.
//
// A Registry is the truth. It publishes a View after each change, and readers
// take the newest one with a single atomic load: nobody who asks ever waits for
// somebody who registers. What was made from a View, a packed DNS answer for
// example, keeps the Stamp of the service it was made from; the Stamp is
// superseded when the service changes, so nothing made from it outlives it.
//
// The order of publication is fixed: a change is durable first, then the View
// is swapped, then Stamps are superseded, then watchers are told, and only then
// is the writer answered. Whoever was answered can therefore look anywhere and
// see the own change.
//
// This package knows neither DNS nor HTTP nor a disk. Its implementations stand
// beside it: registry/embedded in this process, others in front of a cluster.
package registry

import (
	"context"
	"time"
)

// Registry is where instances are registered and found. All methods may be
// called from any goroutine. Errors are of type *Error where the caller can do
// something about them.
type Registry interface {
	// View returns the newest snapshot. It never blocks and never returns nil.
	View() *View
	// Register adds or replaces a node, an instance and checks. When it returns
	// nil the change is as durable as the registry can make it, and View shows it.
	Register(ctx context.Context, r Registration) error
	// Deregister removes a node, an instance or a check.
	Deregister(ctx context.Context, d Deregistration) error
	// SetStatus records the result of a check.
	SetStatus(ctx context.Context, u StatusUpdate) error
	// Discover returns the endpoints of a service that may be used now.
	Discover(ctx context.Context, q Query) ([]Endpoint, error)
	// Watch calls f with every change after the given index, in order and one at
	// a time, until ctx ends or f fails, whose error it then returns. With after
	// zero, or where the changes after it are no longer known, it begins with a
	// Resync event. A callback that falls far behind gets another Resync in
	// place of what it missed.
	Watch(ctx context.Context, after uint64, f func(Event) error) error
}

// Query says which endpoints Discover returns.
type Query struct {
	Service     string // the service's name, in any case
	Tag         string // only instances that bear this tag, in any case; empty: all
	OnlyPassing bool   // leave out instances in warning, too
	Fresh       bool   // ask the truth behind the registry and not its cached View
}

// Endpoint is an instance as a client would reach it.
type Endpoint struct {
	Instance *Instance
	Node     *Node  // the node it runs on; nil where the node is not known
	Address  string // the instance's own address, or else its node's
	Port     int
	Status   Status // the worst of its checks and its node's
	Weight   int    // its share of the clients at this Status
}

// Deregistration names what is to go: an instance and its checks, one check,
// or, with neither InstanceID nor CheckID, a node and all that is on it.
type Deregistration struct {
	Node       string // empty: the registry's own node
	InstanceID string
	CheckID    string
	// CriticalSince, when set, makes the deregistration of the instance
	// conditional: it happens only while CheckID, a check of it, has been critical
	// since exactly then. Otherwise the error's code is Conflict.
	CriticalSince time.Time
	// If, when set, makes it conditional as that of a Registration does.
	If func(*View) error
}

// StatusUpdate is the result of a check.
type StatusUpdate struct {
	Node    string // empty: the registry's own node
	CheckID string
	Status  Status
	Output  string
	// Lease, when set, makes the update conditional: it is applied only while the
	// check is still the registration that the Lease belongs to, so that the
	// result of a probe changes nothing once its check was removed or replaced.
	// Otherwise the error's code is Conflict. An update without a Lease is a
	// heartbeat, and renews it.
	Lease *Lease
	// ExpiredBy, when set along with Lease, applies the update only if no
	// heartbeat came after it.
	ExpiredBy time.Time
}

// EventKind says what an Event tells.
type EventKind uint8

// The kinds of Event.
const (
	Resync          EventKind = iota // forget what was told before: View is all there is
	InstancePut                      // an instance was registered or changed
	InstanceDeleted                  // an instance is gone
	NodePut                          // a node was registered or changed
	NodeDeleted                      // a node is gone, its instances went before
)

// Event is one change to a registry.
type Event struct {
	Index    uint64 // the index of the change; of the View for Resync
	More     bool   // whether another event of this index follows
	Kind     EventKind
	Instance *Instance // as it is now, or as it was before it was deleted
	Before   *Instance // for InstancePut, the instance it replaces; nil for a new one
	Node     *Node     // as it is now, or as it was before it was deleted
	View     *View     // a View that contains the change, and perhaps later ones
}
