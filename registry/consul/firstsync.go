package consul

// The first sync is done when each of the three wide questions was answered, and every
// service that they told of was looked at. The caller of what follows holds mu.

// awaitAll makes the first sync wait until every service was looked at.
func (r *Registry) awaitAll() {
	for _, t := range *r.tracked.Load() {
		if !t.awaited {
			t.awaited = true
			r.awaiting++
		}
	}
}

// arrived notes that a service was looked at.
func (r *Registry) arrived(t *tracked) {
	if t.awaited {
		t.awaited = false
		r.awaiting--
		r.settle("")
	}
}

// settle notes that a wide question was answered; the first sync is done when
// each of them was, and every service was looked at.
func (r *Registry) settle(path string) {
	if path != "" {
		r.settled[path] = true
	}
	if r.awaiting == 0 && len(r.settled) >= 3 && !r.complete {
		r.complete = true
		r.fresh.completed()
		r.log.Info("the first sync with Consul is done", "services", r.View().ServicesLen(), "instances", r.View().InstancesLen())
	}
}
