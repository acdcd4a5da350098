package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// itsOwnRegistry is the world in which rollcall keeps what is registered.
func itsOwnRegistry(t *testing.T, path string) {
	j := newJournal(t, "embedded", 1)
	w := newEmbeddedWorld(t, j, path)
	start, err := w.program.usesAtFirst()
	if err != nil {
		t.Fatal(err)
	}
	j.control(&w.dnsWeather, &w.httpWeather)
	w.live()
	j.until = time.Now().Add(j.length)
	for j.goesOn() {
		w.round()
		w.calm()
	}
	w.rest()
	w.handsBack(start)
	j.add("restarts", w.program.starts-1)
	j.table("changes acknowledged", "changes refused in faults", "changes in doubt", "lost", "missed", "by halves", "refused outside of faults",
		"queries", "answered", "unanswered in faults", "unanswered outside of faults", "wrong", "restarts", "not given back", "times the machine stood still")
	j.lines()
}

// embeddedWorld is rollcall, its disk, the networks before it, and its clients.
type embeddedWorld struct {
	t       *testing.T
	j       *journal
	dir     string
	small   bool // whether its disk can be filled
	program *program
	dns     *network
	http    *network
	tls     *network // DNS over TLS
	https   *network // and over HTTPS
	trusted *issuer
	signed  *anchors
	knot    *secondary

	dnsWeather, httpWeather weather
	pulse                   pulse
	enrolments              []*enrolment
	watchers                []*watcher   // by blocking queries
	followers               []*follower  // by the stream of events
	turns                   []*turns     // what they were told
	writing                 sync.RWMutex // held to see what is there while nobody changes it

	stop    chan struct{}
	hangUp  func() // ends what waits for news
	clients sync.WaitGroup
	abused  []func() // ends what an abuse has left behind
}

const (
	services        = 20
	instancesOfEach = 3
	writers         = 6
	askersOverUDP   = 4
	askersOverTCP   = 2
	watched         = 8 // services
	knowsWithin     = 3 * time.Second
	betweenSigned   = 15 * time.Millisecond // to sign and to validate costs more
	askedOfOne      = 20                    // questions over a connection that is made anew
)

func newEmbeddedWorld(t *testing.T, j *journal, path string) *embeddedWorld {
	t.Helper()
	w := &embeddedWorld{t: t, j: j, dir: t.TempDir(), stop: make(chan struct{})}
	w.small = mountSmall(t, w.dir)
	if !w.small {
		j.note("no file system may be mounted here: the disk will not be full")
	}
	w.trusted, w.signed = newIssuer(j), newAnchors(j, path)
	tls, https := freeAddress(t), freeAddress(t)
	w.program = newProgram(t, path, "--data-dir", filepath.Join(w.dir, "state"))
	w.knot = newSecondary(j, ownZone, w.program.dns)
	w.program.args = slices.Concat(w.program.args, w.trusted.flags(tls, https), w.signed.flags(ownZone), w.knot.flags())
	if err := w.program.start(); err != nil {
		t.Fatal(err)
	}
	w.dns, w.http = newNetwork(t, w.program.dns, j.seed), newNetwork(t, w.program.http, j.seed+1)
	w.tls, w.https = newNetwork(t, tls, j.seed+3), newNetwork(t, https, j.seed+4)
	for n := range services * instancesOfEach {
		w.enrolments = append(w.enrolments, newEnrolment(n))
	}
	for n := range watched {
		each := &watcher{j: j, api: w.http.addr(), service: serviceName(n), of: w.enrolments[n*instancesOfEach : (n+1)*instancesOfEach], weather: &w.httpWeather}
		if n%2 == 0 {
			each.api = w.program.http // where nothing cuts short the wait for what was missed
		}
		w.watchers = append(w.watchers, each)
	}
	w.turns = []*turns{newTurns(j, w.enrolments), newTurns(j, w.enrolments)}
	w.followers = []*follower{
		newFollower(j, w.http.addr(), 10*time.Second, w.turns[0].told), newFollower(j, w.program.http, 400*time.Millisecond, w.turns[1].told),
	}
	return w
}

// live starts the clients.
func (w *embeddedWorld) live() {
	for n := range writers {
		var own []*enrolment
		for i := n; i < len(w.enrolments); i += writers {
			own = append(own, w.enrolments[i])
		}
		w.clients.Go(func() { w.write(n, own) })
	}
	for n, a := range w.askers() {
		a.j, a.weather, a.pulse, a.trusts = w.j, &w.dnsWeather, &w.pulse, w.trusted
		w.clients.Go(func() { w.ask(n, a) })
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	w.hangUp = cancel
	w.followed(ctx)
	keys := rand.New(rand.NewPCG(w.j.seed, 700))
	w.clients.Go(func() { w.signed.roll(w.program.http, &w.httpWeather, &w.trusted.writing, keys, w.over) })
	certificates := rand.New(rand.NewPCG(w.j.seed, 500))
	w.clients.Go(func() { w.trusted.renew(w.tls.addr(), &w.dnsWeather, certificates, w.over) })
}

// followed starts those who wait for changes, over HTTP and over DNS.
func (w *embeddedWorld) followed(ctx context.Context) {
	for _, each := range w.watchers {
		w.clients.Go(func() { each.watch(ctx) })
	}
	for n, each := range w.followers {
		r := rand.New(rand.NewPCG(w.j.seed, uint64(600+n)))
		w.clients.Go(func() { each.follow(ctx, r) })
	}
	w.clients.Go(func() { w.knot.watch(w.program.dns, w.over) })
	for _, each := range newReplicas(w.j, ownZone, w.dns.addr()) {
		w.clients.Go(func() { each.follow(ctx) })
	}
}

// askers returns some for each transport. Of those that make sure whom they ask, one
// does so again and again.
func (w *embeddedWorld) askers() (all []*asker) {
	for range askersOverUDP {
		all = append(all, &asker{network: "udp", addr: w.dns.addr()})
	}
	for range askersOverTCP {
		all = append(all, &asker{network: "tcp", addr: w.dns.addr()})
	}
	return append(all,
		&asker{network: "tls", addr: w.tls.addr()}, &asker{network: "tls", addr: w.tls.addr(), most: askedOfOne},
		&asker{network: "https", addr: w.https.addr()}, &asker{network: "https", addr: w.https.addr(), most: askedOfOne},
		&asker{network: "udp", addr: w.dns.addr(), signed: w.signed, pause: betweenSigned},
		&asker{network: "tcp", addr: w.dns.addr(), signed: w.signed, pause: betweenSigned},
		&asker{network: "tls", addr: w.tls.addr(), signed: w.signed, pause: betweenSigned})
}

// rest ends them.
func (w *embeddedWorld) rest() {
	close(w.stop)
	w.hangUp()
	w.clients.Wait()
}

func (w *embeddedWorld) over() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// round breaks some things around rollcall, and in the midst of it, mostly, rollcall
// itself.
func (w *embeddedWorld) round() {
	j := w.j
	kinds := []func() func(){w.badNetwork, w.partition, w.garbage, w.halfOpen, w.slowBodies, w.knot.killed}
	if w.small {
		kinds = append(kinds, w.fullDisk)
	}
	var ends []func()
	for _, n := range j.random.Perm(len(kinds))[:j.random.IntN(3)] {
		ends = append(ends, kinds[n]())
	}
	time.Sleep(j.between(200*time.Millisecond, 2*time.Second))
	deeds := []func(){w.killed, w.killed, w.terminated, w.paused}
	if n := j.random.IntN(len(deeds) + 2); n < len(deeds) || len(ends) == 0 {
		deeds[n%len(deeds)]()
	}
	time.Sleep(j.between(200*time.Millisecond, 2*time.Second))
	for _, end := range ends {
		end()
	}
}

// calm ends all doubt about what the faults have left, and lets it live with nothing
// broken. It compares both times what is there with what was acknowledged, and at the
// end with what everybody else knows.
func (w *embeddedWorld) calm() {
	w.writing.Lock()
	w.httpWeather.worsen()
	w.http.reset()
	time.Sleep(300 * time.Millisecond) // what a client gave up is in the server's hands for no longer
	w.httpWeather.improve()
	w.settle()
	w.writing.Unlock()

	time.Sleep(w.j.between(time.Second, 3*time.Second))
	u := w.j.bounded(w.program)
	w.writing.Lock()
	defer w.writing.Unlock()
	all := w.settle()
	if took, unknown := w.httpWeather.eventually(knowsWithin, func() string { return w.unknown(all) }); unknown != "" {
		w.j.wrong("missed", "%v after the last change: %s", took.Round(time.Millisecond), unknown)
	}
	w.knot.agrees(w.program.dns, &w.dnsWeather)
	w.j.note("all is as acknowledged: %d instances; %d goroutines, %d files, %d MiB", len(all), u.goroutines, u.files, u.memory>>20)
}

// settle returns what is there while nobody changes it, and compares it with what was
// acknowledged.
func (w *embeddedWorld) settle() (all map[string]found) {
	all, err := inspect("http://" + w.program.http)
	if err != nil {
		w.j.wrong("wrong", "with nothing broken: %v", err)
		return nil
	}
	others := maps.Clone(all)
	for _, e := range w.enrolments {
		at := all[e.id]
		delete(others, e.id)
		if at.half != "" {
			w.j.wrong("by halves", "%s: %s", e.id, at.half)
		}
		if err := e.history.settle(at.port, at.present); err != nil {
			w.j.wrong("lost", "%s %v", e.id, err)
		}
	}
	for id := range others {
		w.j.wrong("by halves", "%s is there, and nobody has registered it", id)
	}
	return all
}

// unknown tells who has not heard of all that is there.
func (w *embeddedWorld) unknown(all map[string]found) string {
	for _, each := range w.watchers {
		of := make(map[string]found)
		for _, e := range each.of {
			if f, is := all[e.id]; is {
				of[e.id] = f
			}
		}
		if err := each.knows(of); err != nil {
			return err.Error()
		}
	}
	for _, each := range w.turns {
		if err := each.knows(); err != nil {
			return err.Error()
		}
	}
	return ""
}

// handsBack waits until rollcall holds no more than when it started.
func (w *embeddedWorld) handsBack(start use) {
	if !w.j.long { // or they are left for rollcall to end
		w.endAbuse()
	}
	defer w.endAbuse()
	w.dns.reset()
	w.tls.reset()
	w.https.reset()
	w.http.reset()
	w.j.handsBack(w.program, start)
}

func (w *embeddedWorld) endAbuse() {
	for _, end := range w.abused {
		end()
	}
	w.abused = nil
}

func serviceName(n int) string { return fmt.Sprintf("s%d", n) }
