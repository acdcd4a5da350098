package chaos

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// secondary is a Knot DNS that holds a zone of rollcall's, over networks of its own,
// either way. Where it is not installed there is none, and its methods do nothing.
type secondary struct {
	j       *journal
	path    string
	zone    string
	addr    string   // where it answers
	config  string   // its configuration's file
	masters *network // before rollcall's DNS, as it sees it
	notices *network // before itself, as rollcall sees it

	process *exec.Cmd
	output  *tail
	deaths  atomic.Int64 // by kill -9
}

const (
	hasItWithin    = 10 * time.Second // after the faults
	transferWithin = 5 * time.Second
	betweenSerials = 50 * time.Millisecond
)

// newSecondary prepares one for a zone of the rollcall at an address, which need not
// answer yet.
func newSecondary(j *journal, zone, primary string) *secondary {
	j.t.Helper()
	path, err := exec.LookPath("knotd")
	if err != nil {
		j.note("there is no knotd here: nobody transfers %s", zone)
		return nil
	}
	s := &secondary{j: j, path: path, zone: zone, addr: freeAddress(j.t)}
	s.masters, s.notices = newNetwork(j.t, primary, j.seed+5), newNetwork(j.t, s.addr, j.seed+6)
	dir := j.t.TempDir()
	s.config = filepath.Join(dir, "knot.conf")
	at := func(addr string) string { return strings.Replace(addr, ":", "@", 1) }
	text := fmt.Sprintf(`server:
    listen: %s
    rundir: %q
    background-workers: 2
database:
    storage: %q
log:
  - target: stderr
    any: notice
remote:
  - id: rollcall
    address: %s
acl:
  - id: rollcall
    address: 127.0.0.0/8
    action: [notify, transfer]
template:
  - id: default
    storage: %q
zone:
  - domain: %s
    master: rollcall
    acl: rollcall
`, at(s.addr), dir, dir, at(s.masters.addr()), dir, zone)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		j.t.Fatal(err)
	}
	s.start()
	j.t.Cleanup(s.kill)
	return s
}

// flags has rollcall tell it of changes, and hand the zone to it and others.
func (s *secondary) flags() []string {
	flags := []string{"--transfer-to", "127.0.0.0/8"}
	if s != nil {
		flags = append(flags, "--notify", s.notices.addr())
	}
	return flags
}

func (s *secondary) start() {
	s.output = new(tail)
	s.process = exec.Command(s.path, "-c", s.config)
	s.process.Stdout, s.process.Stderr = s.output, s.output
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.process.WaitDelay = 5 * time.Second
	if err := s.process.Start(); err != nil {
		s.j.t.Error(err)
	}
}

func (s *secondary) kill() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

// killed ends it as a loss of power does, until what is returned is called.
func (s *secondary) killed() func() {
	if s == nil {
		return func() {}
	}
	s.j.note("secondary: kill -9")
	s.kill()
	s.deaths.Add(1)
	return func() {
		s.start()
		s.j.add("restarts of the secondary", 1)
		s.j.note("secondary: started")
	}
}

// networks are those between it and rollcall.
func (s *secondary) networks() []*network {
	if s == nil {
		return nil
	}
	return []*network{s.masters, s.notices}
}

// watch looks that the serials which rollcall and it show never go back. What it kept of
// the last transfer when it was killed is for it to say, and no promise of rollcall's.
func (s *secondary) watch(rollcall string, over func() bool) {
	if s == nil {
		return
	}
	shown, deaths := make(map[string]uint32), int64(0)
	for ; !over(); time.Sleep(betweenSerials) {
		if died := s.deaths.Load(); died != deaths {
			deaths = died
			delete(shown, "the secondary")
		}
		for who, addr := range map[string]string{"rollcall": rollcall, "the secondary": s.addr} {
			serial, err := serialOf(s.zone, addr)
			if err != nil {
				continue
			}
			last, known := shown[who]
			switch {
			case known && int32(serial-last) < 0:
				s.j.wrong("wrong", "the serial of %s at %s went from %d to %d", s.zone, who, last, serial)
			case serial != last:
				s.j.add("serials of "+who, 1)
			}
			shown[who] = serial
		}
	}
}

func serialOf(zone, addr string) (uint32, error) {
	client := dns.Client{Timeout: answerWithin}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion(zone, dns.TypeSOA), addr)
	if err != nil {
		return 0, err
	}
	for _, rr := range reply.Answer {
		if soa, is := rr.(*dns.SOA); is {
			return soa.Serial, nil
		}
	}
	return 0, fmt.Errorf("it has no SOA: %v", reply)
}

// hadItAfter is how long the secondary took at most.
const hadItAfter = "ms until it had the zone, at the slowest"

// agrees waits until it has the zone that rollcall has, while nobody changes it.
func (s *secondary) agrees(rollcall string, weather *weather) {
	if s == nil {
		return
	}
	took, differs := weather.eventually(hasItWithin, func() string { return s.compare(rollcall) })
	if differs != "" {
		s.j.wrong("wrong", "%v after the faults: %s\nThe secondary says:\n%s", took.Round(time.Millisecond), differs, s.output)
		return
	}
	s.j.add("zones compared with the secondary's", 1)
	s.j.most(hadItAfter, int(took.Milliseconds()))
	s.j.note("the secondary has the zone, after %v", took.Round(time.Millisecond))
}

// compare tells where it has something else.
func (s *secondary) compare(rollcall string) (differs string) {
	want, serial, err := transferred(s.zone, rollcall)
	if err != nil {
		return fmt.Sprintf("no transfer of %s from rollcall: %v", s.zone, err)
	}
	has, its, err := transferred(s.zone, s.addr)
	if err != nil {
		return fmt.Sprintf("no transfer of %s from the secondary: %v", s.zone, err)
	}
	if its != serial {
		return fmt.Sprintf("the secondary has serial %d of %s, and rollcall %d", its, s.zone, serial)
	}
	maps.DeleteFunc(want, func(text string, _ bool) bool {
		both := has[text]
		delete(has, text)
		return both
	})
	if len(want)+len(has) > 0 {
		return fmt.Sprintf("of serial %d the secondary lacks %v, and has besides %v", serial, want, has)
	}
	return ""
}

// transferred returns a zone's records, but for the SOA, and its serial.
func transferred(zone, addr string) (records map[string]bool, serial uint32, err error) {
	conn, err := net.DialTimeout("tcp", addr, answerWithin)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	transfer := dns.Transfer{Conn: &dns.Conn{Conn: conn}, ReadTimeout: transferWithin}
	envelopes, err := transfer.In(new(dns.Msg).SetAxfr(zone), addr)
	if err != nil {
		return nil, 0, err
	}
	records = make(map[string]bool)
	for e := range envelopes {
		if err = e.Error; err != nil {
			continue // until it is closed
		}
		for _, rr := range e.RR {
			if soa, is := rr.(*dns.SOA); is {
				serial = soa.Serial
			} else {
				records[rr.String()] = true
			}
		}
	}
	return records, serial, err
}
