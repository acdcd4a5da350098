// Package embedded is a registry in this process: the View in memory, and each
// record of it on disk, in one bbolt file.
//
// One goroutine writes. It takes all the operations that wait, applies them to
// one registry.Txn, writes what they changed in one transaction of bbolt, which
// is synced to disk, publishes the View, and answers them: many clients share
// one sync, and whoever was answered finds the own change on disk, in the View
// and in the next DNS packet. An operation that fails changes nothing and harms
// none of those beside it.
//
// The package knows nothing of DNS or HTTP, and runs no check: expired
// heartbeats and probe results come to it from outside, as status updates.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-dns/rollcall/registry"
)

// Config says how to open a Registry. Its zero value is a registry in memory.
type Config struct {
	Dir        string                // where the records are kept; empty: in memory alone
	Node       registry.Node         // the own node; without a name: the host's, at 127.0.0.1
	Datacenter string                // empty: dc1
	Logger     *slog.Logger          // nil: silent
	Metrics    prometheus.Registerer // nil: not measured
}

// Registry is a registry.Registry in this process. Its methods may be called
// from any goroutine.
type Registry struct {
	*registry.Feed
	node    string
	logger  *slog.Logger
	metrics *metrics
	store   *store // nil: in memory alone

	pace       pace
	ops        chan *op
	enough     atomic.Int64    // operations that the writer waits for, and
	crowded    chan struct{}   // holds one when there may be so many
	wantBackup chan chan error // told when it is made
	closing    chan struct{}
	done       chan struct{} // closed when the writer has ended
	close      func() error  // the first call closes, and each returns how that went
}

// Open opens the registry in a directory, and makes it where there is none. A
// damaged file is moved aside and the newest backup takes its place, which is
// logged as an error. The caller closes the Registry.
func Open(ctx context.Context, config Config) (*Registry, error) {
	r := &Registry{
		node:       config.Node.Name,
		logger:     config.Logger,
		metrics:    newMetrics(config.Metrics),
		ops:        make(chan *op, maxGroup),
		crowded:    make(chan struct{}, 1),
		wantBackup: make(chan chan error),
		closing:    make(chan struct{}),
		done:       make(chan struct{}),
	}
	r.close = sync.OnceValue(func() error {
		close(r.closing)
		<-r.done
		return r.store.close()
	})
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	if config.Datacenter == "" {
		config.Datacenter = "dc1"
	}
	view := registry.NewView(config.Datacenter)
	if config.Dir != "" {
		var err error
		if r.store, err = openStore(ctx, config.Dir, view, r.logger, r.metrics); err != nil {
			return nil, fmt.Errorf("open registry %s: %w", config.Dir, err)
		}
		view = r.store.load()
	} else {
		view = view.Txn(uint64(time.Now().Unix())).Commit().View
	}
	r.Feed = registry.NewFeed(view)
	go r.write()
	if err := r.registerOwnNode(ctx, config.Node); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// registerOwnNode makes sure that the own node is there and is as configured. What
// was registered of it beside that stays.
func (r *Registry) registerOwnNode(ctx context.Context, node registry.Node) error {
	if node.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("name the registry's own node: %w", err)
		}
		node.Name = name
	}
	r.node = node.Name
	if node.Address == "" {
		node.Address = "127.0.0.1"
	}
	if known := r.View().Node(node.Name); known != nil {
		if node.Meta == nil {
			node.Meta = known.Meta
		}
		if node.TaggedAddresses == nil {
			node.TaggedAddresses = known.TaggedAddresses
		}
	}
	err := r.Register(ctx, registry.Registration{Node: node})
	switch registry.CodeOf(err) {
	case registry.Full, registry.Unavailable:
		r.logger.Error("the own node could not be stored", "node", node.Name, "err", err)
		return nil
	}
	return err
}

// Node returns the name of the registry's own node.
func (r *Registry) Node() string { return r.node }

// Register implements registry.Registry. It returns when the registration is
// on disk and in the View.
func (r *Registry) Register(ctx context.Context, registration registry.Registration) error {
	registration = owned(registration)
	if err := registration.Validate(); err != nil {
		r.metrics.done(opRegister, err)
		return err
	}
	return r.do(ctx, &op{kind: opRegister, registration: registration})
}

// Deregister implements registry.Registry.
func (r *Registry) Deregister(ctx context.Context, d registry.Deregistration) error {
	return r.do(ctx, &op{kind: opDeregister, deregistration: d})
}

// SetStatus implements registry.Registry. A heartbeat that says nothing new
// renews its Lease and costs no write to disk.
func (r *Registry) SetStatus(ctx context.Context, u registry.StatusUpdate) error {
	return r.do(ctx, &op{kind: opStatus, update: u})
}

// Discover implements registry.Registry. The View is the truth here, fresh or not.
func (r *Registry) Discover(_ context.Context, q registry.Query) ([]registry.Endpoint, error) {
	return r.View().Discover(q)
}

// Err tells why the registry takes no writes until it is opened again: syncing
// one to disk has failed. It is nil as long as all is well, and while a full
// disk keeps writes away.
func (r *Registry) Err() error {
	if r.store == nil {
		return nil
	}
	if broken := r.store.broken.Load(); broken != nil {
		return fmt.Errorf("the registry takes no writes until rollcall is restarted: %w", broken.error)
	}
	return nil
}

// Close writes what waits, makes a backup, and gives the directory back. The
// View can be read for ever.
func (r *Registry) Close() error { return r.close() }

// do hands an operation to the writer and waits for its outcome. An operation
// that the writer has taken is carried out even when ctx ends first.
func (r *Registry) do(ctx context.Context, o *op) error {
	if o.node() == "" {
		o.setNode(r.node)
	}
	o.now = time.Now()
	o.outcome = make(chan error, 1)
	select {
	case r.ops <- o:
		r.came()
	case <-r.closing:
		return registry.Errorf(registry.Unavailable, "the registry is closed")
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-o.outcome:
		return err
	case <-r.done:
		select {
		case err := <-o.outcome:
			return err
		default:
			return registry.Errorf(registry.Unavailable, "the registry is closed")
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}
