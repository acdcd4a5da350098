package embedded

import (
	"runtime"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// maxGroup is how many operations at most share one sync to disk.
const maxGroup = 1024

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
	changed        bool       // it changes something
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

// condition returns what decides whether the operation is carried out; nil: nothing.
func (o *op) condition() func(*registry.View) error {
	switch o.kind {
	case opRegister:
		return o.registration.If
	case opDeregister:
		return o.deregistration.If
	}
	return nil
}

// apply carries the operation out in a Txn. It looks before it changes
// anything, so that one that fails leaves the Txn as it was.
func (o *op) apply(t *registry.Txn, own string) error {
	if may := o.condition(); may != nil {
		if err := may(t.View()); err != nil {
			return err
		}
	}
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
	defer r.store.finishBackups()
	r.store.startBackup()
	due := time.NewTicker(backupEvery)
	defer due.Stop()
	group := make([]*op, 0, maxGroup)
	for {
		select {
		case o := <-r.ops:
			r.await()
			r.writeGroup(r.gather(append(group[:0], o)))
		case <-due.C:
			r.store.startBackup()
		case made := <-r.wantBackup:
			r.store.backUpFor(made)
		case ended := <-r.store.backupRunning():
			r.store.endBackup(ended)
		case <-r.closing:
			r.writeGroup(r.gather(group[:0]))
			return
		}
	}
}

// gather adds the operations that wait to the group. Clients that were answered
// just now may be about to come again: the writer lets them go first, as a sync
// for each costs all of them more.
func (r *Registry) gather(group []*op) []*op {
	for patient := true; len(group) < maxGroup; {
		select {
		case o := <-r.ops:
			group = append(group, o)
			patient = true
		default:
			if !patient {
				return group
			}
			patient = false
			runtime.Gosched()
		}
	}
	return group
}

// writeGroup carries out a group of operations: in memory, on disk, in the
// View, and only then in the answers. Where the disk refuses the group, those
// that change something are answered so, and the others, which may have looked
// at what is not there now, are done again without them.
func (r *Registry) writeGroup(group []*op) {
	for len(group) > 0 {
		err := r.apply(group)
		again := group[:0]
		for _, o := range group {
			if err != nil && !o.changed {
				again = append(again, o)
				continue
			}
			if err != nil {
				o.err = err
			}
			r.metrics.done(o.kind, o.err)
			o.outcome <- o.err
		}
		group = again
	}
}

// apply carries out a group of operations up to the View. The error is that of
// the disk, and then nothing has changed.
func (r *Registry) apply(group []*op) error {
	index := r.View().Index()
	t := r.View().Txn(index)
	for _, o := range group {
		t.SetIndex(index + 1)
		before := t.Len()
		o.err = o.apply(t, r.node)
		if o.changed = t.Len() > before; o.changed {
			index++
		}
	}
	update := t.Commit()
	if len(update.Events) == 0 {
		return nil
	}
	if err := r.store.save(update); err != nil {
		r.logger.Error("a change could not be stored", "operations", len(group), "err", err)
		return err
	}
	if r.store != nil {
		r.pace.count(time.Now(), len(group))
	}
	r.Publish(update)
	r.metrics.published(group)
	return nil
}
