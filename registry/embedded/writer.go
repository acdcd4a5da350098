package embedded

import (
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// maxGroup is how many operations at most share one sync to disk.
const maxGroup = 1024

// backupEvery is how long a change waits for its backup at most.
const backupEvery = time.Hour

type opKind uint8

const (
	opRegister opKind = iota
	opDeregister
	opStatus
)

func (k opKind) String() string {
	return [...]string{"register", "deregister", "status"}[k]
}

// op is an operation on its way to the writer, and its outcome on the way back.
type op struct {
	kind           opKind
	registration   registry.Registration
	deregistration registry.Deregistration
	update         registry.StatusUpdate
	now            time.Time
	err            error
	outcome        chan error // holds one
}

func (o *op) node() string {
	switch o.kind {
	case opRegister:
		return o.registration.Node.Name
	case opDeregister:
		return o.deregistration.Node
	}
	return o.update.Node
}

func (o *op) setNode(name string) {
	switch o.kind {
	case opRegister:
		o.registration.Node.Name = name
	case opDeregister:
		o.deregistration.Node = name
	case opStatus:
		o.update.Node = name
	}
}

// apply carries the operation out in a Txn. It looks before it changes
// anything, so that one that fails leaves the Txn as it was.
func (o *op) apply(t *registry.Txn, own string) error {
	switch o.kind {
	case opRegister:
		return register(t, &o.registration, o.now)
	case opDeregister:
		return deregister(t, o.deregistration, own)
	}
	return setStatus(t, o.update, o.now)
}

// write is the writer. It ends when the Registry closes, with all operations
// that it took carried out.
func (r *Registry) write() {
	defer close(r.done)
	backup := time.NewTicker(backupEvery)
	defer backup.Stop()
	group := make([]*op, 0, maxGroup)
	for {
		select {
		case o := <-r.ops:
			r.writeGroup(r.gather(append(group[:0], o)))
		case <-backup.C:
			r.backup()
		case <-r.closing:
			if waiting := r.gather(group[:0]); len(waiting) > 0 {
				r.writeGroup(waiting)
			}
			r.backup()
			return
		}
	}
}

// gather adds the operations that wait to the group.
func (r *Registry) gather(group []*op) []*op {
	for len(group) < maxGroup {
		select {
		case o := <-r.ops:
			group = append(group, o)
		default:
			return group
		}
	}
	return group
}

// writeGroup carries out a group of operations: in memory, on disk, in the
// View, and only then in the answers.
func (r *Registry) writeGroup(group []*op) {
	index := r.View().Index()
	t := r.View().Txn(index)
	for _, o := range group {
		t.SetIndex(index + 1)
		before := t.Len()
		o.err = o.apply(t, r.node)
		if t.Len() > before {
			index++
		}
	}
	if update := t.Commit(); len(update.Events) > 0 {
		if err := r.store.save(update); err != nil {
			r.logger.Error("a change could not be stored", "operations", len(group), "err", err)
			for _, o := range group {
				if o.err == nil {
					o.err = err
				}
			}
		} else {
			r.Publish(update)
		}
	}
	for _, o := range group {
		r.metrics.done(o.kind, o.err)
		o.outcome <- o.err
	}
}

func (r *Registry) backup() {
	if err := r.store.backup(); err != nil {
		r.logger.Error("a backup could not be made", "err", err)
	}
}
