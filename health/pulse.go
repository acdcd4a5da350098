package health

import (
	"sync"
	"time"
)

// A pulse is felt each second. Where it was not for longer than standstill, the
// process was stopped, or its machine was.
const (
	pulseEvery = time.Second
	standstill = 2 * pulseEvery
)

// pulse notices when the process has stood still. No heartbeat could reach it then
// and no answer to a probe: what is late because of that is nobody's fault.
type pulse struct {
	mu    sync.Mutex
	felt  time.Time // last
	awake time.Time // since when nothing has stood still; zero: the start
}

// feel returns since when nothing has stood still, by the monotonic clock.
func (p *pulse) feel() (awake time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.felt.IsZero() && now.Sub(p.felt) > standstill {
		p.awake = now
	}
	p.felt = now
	return p.awake
}
