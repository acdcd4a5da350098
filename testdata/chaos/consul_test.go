package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"

	"github.com/rollcall-dns/rollcall/registry/consul/consultest"
)

// inFrontOfConsul is the world in which rollcall follows a real Consul, and
// forwards what is not in its zone.
func inFrontOfConsul(t *testing.T, path string) {
	j := newJournal(t, "consul", 2)
	w := newConsulWorld(t, j, path)
	start, err := w.program.usesAtFirst()
	if err != nil {
		t.Fatal(err)
	}
	j.control(&w.ours, &w.others)
	w.live()
	j.until = time.Now().Add(j.length)
	for j.goesOn() {
		w.round()
		if j.ctx.Err() == nil { // an interrupt ends Consul, too
			w.agree()
		}
	}
	close(w.stop)
	w.hangUp()
	w.clients.Wait()
	w.j.handsBack(w.program, start)
	j.add("restarts", w.program.starts-1)
	j.table("changes acknowledged", "changes refused in faults", "views compared", "queries", "answered", "unanswered in faults",
		"unanswered outside of faults", "forwarded, no answer in faults", "wrong", "restarts", "restarts of Consul", "restarts of the upstream", "not given back", "times the machine stood still")
	j.lines()
}

// consulWorld is rollcall between its clients and a Consul, with a network between
// those two alone.
type consulWorld struct {
	t        *testing.T
	j        *journal
	agent    *consultest.Agent
	network  *network
	upstream *upstream
	program  *program
	trusted  *issuer
	signed   *anchors
	knot     *secondary
	askers   []*asker
	watchers []*watcher // by blocking queries
	follower *follower  // by the stream of events
	mirror   *mirror    // what it was told

	ours, others weather // for answers from the view, and from the upstream
	pulse        pulse
	changing     sync.RWMutex // held to compare while nobody changes Consul
	stop         chan struct{}
	hangUp       func() // ends what waits for news
	clients      sync.WaitGroup
}

const (
	steady      = 5 // services that are well all the time
	moving      = 10
	agreeWithin = 5 * time.Second

	consulDomain = "consul."
	consulZone   = ".service." + consulDomain
)

func newConsulWorld(t *testing.T, j *journal, path string) *consulWorld {
	t.Helper()
	w := &consulWorld{t: t, j: j, agent: consultest.Start(t, ""), stop: make(chan struct{})}
	for n := range steady {
		name := fmt.Sprint("steady-", n)
		w.agent.Service(name, 80, "critical")
		w.agent.Set(name, "passing") // which an agent that starts again still knows
	}
	w.mirror = &mirror{j: j}
	for n := range moving {
		name := fmt.Sprint("moving-", n)
		w.agent.Service(name, 80, "passing")
		w.mirror.names = append(w.mirror.names, name)
	}
	address, err := url.Parse(w.agent.Address())
	if err != nil {
		t.Fatal(err)
	}
	w.network = newNetwork(t, address.Host, j.seed+2)
	w.upstream = newUpstream(t)
	w.clientele(path)
	if err := w.program.start(); err != nil {
		t.Fatal(err)
	}
	w.agree()
	time.Sleep(2 * time.Second) // until it watches all that it was asked for, and has kept it on disk
	w.agree()
	return w
}

// clientele prepares rollcall and those who ask it.
func (w *consulWorld) clientele(path string) {
	w.trusted, w.signed = newIssuer(w.j), newAnchors(w.j, path)
	tls, https := freeAddress(w.t), freeAddress(w.t)
	w.program = newProgram(w.t, path, "--registry", "consul", "--consul-addr", w.network.addr(), "--forward", w.upstream.addr,
		"--data-dir", filepath.Join(w.t.TempDir(), "state"))
	w.knot = newSecondary(w.j, consulDomain, w.program.dns)
	w.program.args = slices.Concat(w.program.args, w.trusted.flags(tls, https), w.signed.flags(consulDomain), w.knot.flags())
	for _, network := range []string{"udp", "udp", "udp", "tcp"} {
		w.askers = append(w.askers, &asker{network: network, addr: w.program.dns})
	}
	w.askers = append(w.askers, &asker{network: "tls", addr: tls, most: askedOfOne}, &asker{network: "https", addr: https, most: askedOfOne},
		&asker{network: "tcp", addr: w.program.dns, signed: w.signed, pause: betweenSigned})
	w.mirror.api = w.program.http
	for _, name := range w.mirror.names {
		w.watchers = append(w.watchers, &watcher{j: w.j, api: w.program.http, service: name, weather: &w.ours})
	}
	w.follower = newFollower(w.j, w.program.http, 2*time.Second, w.mirror.told)
}

func (w *consulWorld) live() {
	for n, a := range w.askers {
		a.j, a.weather, a.pulse, a.trusts = w.j, &w.ours, &w.pulse, w.trusted
		w.clients.Go(func() { w.ask(n, a) })
		if a.network == "tls" {
			random := rand.New(rand.NewPCG(w.j.seed, 500))
			w.clients.Go(func() { w.trusted.renew(a.addr, &w.ours, random, w.over) })
		}
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	w.hangUp = cancel
	for _, each := range w.watchers {
		w.clients.Go(func() { each.watch(ctx) })
	}
	keys, random := rand.New(rand.NewPCG(w.j.seed, 700)), rand.New(rand.NewPCG(w.j.seed, 600))
	w.clients.Go(func() { w.signed.roll(w.program.http, &w.ours, &w.trusted.writing, keys, w.over) })
	w.clients.Go(func() { w.follower.follow(ctx, random) })
	w.clients.Go(func() { w.knot.watch(w.program.dns, w.over) })
	for _, each := range newReplicas(w.j, consulDomain, w.program.dns) {
		w.clients.Go(func() { each.follow(ctx) })
	}
	w.clients.Go(w.askOthers)
	w.clients.Go(w.change)
}

func (w *consulWorld) over() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// ask wants an instance of what is always well, and a reply that parses of the
// others.
func (w *consulWorld) ask(n int, a *asker) {
	defer a.hangUp()
	random := rand.New(rand.NewPCG(w.j.seed, uint64(300+n)))
	zone := consulDomain
	if a.signed != nil {
		zone = signedZone
	}
	for ; !w.over(); time.Sleep(max(a.pause, betweenAsks)) {
		name, well := fmt.Sprint("steady-", random.IntN(steady)), true
		if random.IntN(3) == 0 {
			name, well = fmt.Sprint("moving-", random.IntN(moving)), false
		}
		reply, _, _ := a.ask(name+".service."+zone, dns.TypeSRV)
		if reply == nil {
			continue
		}
		if a.signed != nil {
			a.signed.judge(reply, a)
		}
		if shown, err := read(reply); err != nil || well && len(shown) != 1 {
			w.j.wrong("wrong", "%s, %v:\n%v", name, err, reply)
		}
	}
}

// askOthers asks for names that only the upstream knows.
func (w *consulWorld) askOthers() {
	a := &asker{j: w.j, network: "udp", addr: w.program.dns}
	defer a.hangUp()
	for n := 0; !w.over(); n++ {
		question := new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.example.", n), dns.TypeA)
		question.Id = uint16(n)
		good := w.others.watch()
		reply, err := a.exchange(question)
		if err != nil {
			time.Sleep(noticeWithin)
		}
		if fine, _ := good(); err != nil || len(reply.Answer) != 1 {
			if fine {
				w.j.wrong("wrong", "%s with the upstream well: %v\n%v", question.Question[0].Name, err, reply)
			}
			w.j.add("forwarded, no answer in faults", 1)
		}
		time.Sleep(5 * betweenAsks)
	}
}

// change registers, changes and deregisters in Consul, while it is there.
func (w *consulWorld) change() {
	random := rand.New(rand.NewPCG(w.j.seed, 400))
	agent := w.agent.API.Agent()
	for ; !w.over(); time.Sleep(5 * time.Millisecond) {
		w.changing.RLock()
		name, err := fmt.Sprint("moving-", random.IntN(moving)), error(nil)
		switch random.IntN(5) {
		case 0:
			err = agent.ServiceDeregister(name)
		case 1:
			err = agent.UpdateTTL("service:"+name, "", []string{"passing", "critical"}[random.IntN(2)])
		default:
			err = agent.ServiceRegister(&api.AgentServiceRegistration{
				Name: name, Port: 1 + random.IntN(65535), Address: fmt.Sprintf("10.9.%d.%d", random.IntN(256), random.IntN(256)),
				Check: &api.AgentServiceCheck{TTL: "1h", Status: []string{"passing", "critical"}[random.IntN(2)]},
			})
		}
		if err != nil {
			w.j.add("changes refused in faults", 1)
		} else {
			w.j.add("changes acknowledged", 1)
		}
		w.changing.RUnlock()
	}
}

// round breaks one or two of Consul, what is between, the upstream and rollcall.
func (w *consulWorld) round() {
	kinds := []func() func(){w.consulKilled, w.partition, w.badNetwork, w.reset, w.upstreamKilled, w.upstreamHangs, w.knot.killed}
	var ends []func()
	for _, n := range w.j.random.Perm(len(kinds))[:1+w.j.random.IntN(3)] {
		ends = append(ends, kinds[n]())
	}
	time.Sleep(w.j.between(300*time.Millisecond, 5*time.Second))
	if w.j.random.IntN(3) == 0 {
		w.restart()
	}
	time.Sleep(w.j.between(300*time.Millisecond, 5*time.Second))
	for _, end := range ends {
		end()
	}
}
