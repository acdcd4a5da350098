package chaos

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// hidden is what DNS shows of an instance that is not there, or not well. What it
// shows of others is their port.
const hidden = 0

// history is what one client did to one instance, one change after the other, and
// what others saw of it. It is that of a register that reads must find
// linearizable: a read that is sent after a change was acknowledged, or seen by
// somebody else, shows this change or a later one.
type history struct {
	mu      sync.Mutex
	changes []change
	settled int // index of a change that had taken effect by the time known
	known   []effect
	inDoubt bool // whether the last change was neither acknowledged nor refused
}

// change is one of them.
type change struct {
	began   time.Time
	port    int    // what it shows, or hidden
	hiding  int    // the port that it would show if it were well
	present bool   // whether the instance is registered
	what    string // for people
}

// effect says that a change, and with it all before, had taken effect by a time.
type effect struct {
	at    time.Time
	index int
}

// keepEffects is for how long a read can be on its way.
const keepEffects = givesUpAfter + 10*time.Second

func newHistory() *history { return &history{changes: []change{{what: "never registered"}}} }

// begin notes that a change is sent. None may be in doubt.
func (h *history) begin(c change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.began = time.Now()
	h.changes = append(h.changes, c)
	h.inDoubt = true
}

// acknowledge notes that the change that was begun last is durable.
func (h *history) acknowledge() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inDoubt = false
	h.effective(time.Now(), len(h.changes)-1)
}

// refuse notes that it has changed nothing.
func (h *history) refuse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inDoubt = false
	h.changes = h.changes[:len(h.changes)-1]
}

// last returns the last change, and whether it is in doubt.
func (h *history) last() (change, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes[len(h.changes)-1], h.inDoubt
}

func (h *history) effective(at time.Time, index int) {
	if n := len(h.known); n > 0 && h.known[n-1].index >= index {
		return
	}
	h.known = append(h.known, effect{at, index})
	for len(h.known) > 1 && time.Since(h.known[1].at) > keepEffects {
		h.settled, h.known = h.known[0].index, h.known[1:]
	}
}

// read judges an answer that was asked for and came at these times, and learns
// from it. It returns nil where some order of things explains what it shows.
func (h *history) read(sent, came time.Time, shown string, is func(port int) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	least := h.settled
	for _, e := range slices.Backward(h.known) { // their indexes rise
		if e.at.Before(sent) {
			least = e.index
			break
		}
	}
	for i := least; i < len(h.changes) && (i == 0 || h.changes[i].began.Before(came)); i++ {
		if is(h.changes[i].port) {
			h.effective(came, i)
			return nil
		}
	}
	return fmt.Errorf("is %s, but by then it was %q, and the last change is %q", shown, h.changes[least].what, h.changes[len(h.changes)-1].what)
}

// settle compares with what is there while nothing is under way, which ends all
// doubt. lost tells whether something acknowledged is not.
func (h *history) settle(port int, present bool) (lost error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.changes)
	is := func(c change) bool { return c.port == port && c.present == present }
	switch {
	case is(h.changes[n-1]):
		h.inDoubt = false
		h.effective(time.Now(), n-1)
	case h.inDoubt && is(h.changes[n-2]):
		h.inDoubt = false
		h.changes = h.changes[:n-1]
	default:
		lost = fmt.Errorf("is %s, present %v, after %q, in doubt %v", showing(port), present, h.changes[n-1].what, h.inDoubt)
	}
	return lost
}

func showing(port int) string {
	if port == hidden {
		return "hidden"
	}
	return fmt.Sprint("port ", port)
}

func TestHistory(t *testing.T) {
	h, start := newHistory(), time.Now()
	register := func(port int) {
		h.begin(change{port: port, present: true, what: fmt.Sprint("port ", port)})
	}
	judge := func(what string, sent time.Time, port int, explained bool) {
		t.Helper()
		if err := h.read(sent, time.Now(), showing(port), func(p int) bool { return p == port }); (err == nil) != explained {
			t.Errorf("%s: %v", what, err)
		}
	}
	judge("nothing is registered", start, hidden, true)
	judge("nobody has registered it", start, 1, false)
	register(1)
	judge("under way, and not there yet", time.Now(), hidden, true)
	judge("under way, and there", time.Now(), 1, true)
	judge("gone after it was seen", time.Now(), hidden, false)
	h.acknowledge()
	acknowledged := time.Now()
	register(2)
	h.acknowledge()
	judge("a query from before the second", acknowledged, 1, true)
	judge("a query from after it", time.Now(), 1, false)
	register(3)
	h.refuse()
	judge("refused, and there", time.Now(), 3, false)
	register(4)
	if err := h.settle(2, true); err != nil {
		t.Errorf("in doubt, and not there: %v", err)
	}
	judge("settled, and there later", time.Now(), 4, false)
	if h.settle(hidden, false) == nil {
		t.Error("what was acknowledged may be lost")
	}
}
