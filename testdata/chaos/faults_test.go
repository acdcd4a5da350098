package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// What befalls rollcall itself: each returns when it is well again.

func (w *embeddedWorld) killed() { w.restarted("kill -9", w.program.kill) }

func (w *embeddedWorld) terminated() { w.restarted("SIGTERM", w.program.terminate) }

func (w *embeddedWorld) restarted(how string, end func() error) {
	away := w.j.between(0, 1500*time.Millisecond)
	w.broken(func() {
		began := time.Now()
		if err := end(); err != nil {
			w.j.wrong("wrong", "%v", err)
		}
		ended := time.Since(began)
		time.Sleep(away)
		w.trusted.writing.Lock()
		defer w.trusted.writing.Unlock()
		began = time.Now()
		if err := w.program.start(); err != nil {
			w.j.wrong("wrong", "%v", err)
			w.t.FailNow()
		}
		w.j.note("%s, ended after %v, away for %v, ready after %v", how, ended.Round(time.Millisecond), away.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	})
}

func (w *embeddedWorld) paused() {
	length := w.j.between(500*time.Millisecond, 5*time.Second)
	w.j.note("SIGSTOP, SIGCONT after %v", length.Round(time.Millisecond))
	w.broken(func() {
		_ = w.program.pause()
		time.Sleep(length)
		_ = w.program.resume()
		w.caughtUp()
	})
}

// caughtUp waits until rollcall has read what came meanwhile. Of a flood that is more
// than the kernel keeps for it, and then what comes next is lost, whoever sends it. Each
// of its sockets has a queue of its own, and gets the queries of some ports.
func (w *embeddedWorld) caughtUp() {
	const ports, within = 16, time.Second
	began := time.Now()
	for range ports {
		for {
			client := dns.Client{Timeout: noticeWithin}
			_, _, err := client.Exchange(new(dns.Msg).SetQuestion("rollcall.internal.", dns.TypeSOA), w.program.dns)
			if err == nil {
				break
			}
			if time.Since(began) > within {
				w.j.wrong("wrong", "%v after SIGCONT: %v", within, err)
				return
			}
		}
	}
	w.j.note("it has caught up after %v", time.Since(began).Round(time.Millisecond))
}

// broken does what neither an answer nor a change is expected in.
func (w *embeddedWorld) broken(deed func()) {
	w.dnsWeather.worsen()
	w.httpWeather.worsen()
	defer w.dnsWeather.improve()
	defer w.httpWeather.improve()
	deed()
}

// What befalls what is around it: each begins, and returns what ends it.

// badNetwork loses, delays, doubles and disorders, before DNS, HTTP or both.
func (w *embeddedWorld) badNetwork() func() {
	r := w.j.random
	var c conditions
	switch r.IntN(3) {
	case 0:
		c.loss = 0.01 + 0.29*r.Float64()
	case 1:
		c.delay, c.jitter = w.j.between(0, 100*time.Millisecond), w.j.between(0, 200*time.Millisecond)
	default:
		c.loss, c.twice, c.jitter = 0.1*r.Float64(), 0.2*r.Float64(), w.j.between(0, 50*time.Millisecond)
	}
	return w.network(c)
}

// partition cuts either way, or both.
func (w *embeddedWorld) partition() func() {
	way := w.j.random.IntN(3)
	return w.network(conditions{cutUp: way != 1, cutDown: way != 0})
}

func (w *embeddedWorld) network(c conditions) func() {
	where := w.j.random.IntN(3)
	dns, http := where != 1, where != 0
	before := [...]string{"DNS", "HTTP", "both"}[where]
	w.j.note("network before %s: %+v", before, c)
	if dns {
		w.dnsWeather.worsen()
		w.setDNS(c)
	}
	if http {
		w.httpWeather.worsen()
		w.http.set(c)
	}
	return func() {
		if dns {
			w.setDNS(conditions{})
			w.dnsWeather.improve()
		}
		if http {
			w.http.set(conditions{})
			w.httpWeather.improve()
		}
		w.j.note("network before %s: well", before)
	}
}

// setDNS changes the network before DNS, over whichever transport.
func (w *embeddedWorld) setDNS(c conditions) {
	for _, n := range append(w.knot.networks(), w.dns, w.tls, w.https) {
		n.set(c)
	}
}

// fullDisk leaves no room for anything: it is filled, and what room the registry has
// in its own file is used up by registrations. Answers come all the same, and what
// was acknowledged on the way is there afterwards.
func (w *embeddedWorld) fullDisk() func() {
	w.httpWeather.worsen()
	ballast := filepath.Join(w.dir, "ballast")
	size, err := fill(ballast)
	if err != nil {
		w.t.Error(err)
	}
	filled, last := w.registerUntilRefused()
	w.j.note("disk full with %d KiB and %d registrations more: %s", size>>10, len(filled), last)
	return func() {
		if err := os.Remove(ballast); err != nil {
			w.t.Error(err)
		}
		w.deregister(filled)
		w.httpWeather.improve()
		w.j.note("disk has room")
	}
}

// fill writes a file until not an octet more goes onto the disk.
func fill(path string) (size int, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for chunk := make([]byte, 64<<10); len(chunk) > 0; {
		n, err := f.Write(chunk)
		size += n
		if errors.Is(err, syscall.ENOSPC) {
			chunk = chunk[:len(chunk)/2]
		} else if err != nil {
			return size, err
		}
	}
	return size, nil
}

const mostFilling = 3000 // registrations of some kilobytes

func (w *embeddedWorld) registerUntilRefused() (acknowledged []string, last string) {
	client := &http.Client{Timeout: acknowledgedWithin, Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	meta := make(object)
	for n := range 8 {
		meta[fmt.Sprint("k", n)] = strings.Repeat("x", mostPadding)
	}
	for n := range mostFilling {
		id := fmt.Sprint("filling-", n)
		status, text, err := put(client, "http://"+w.program.http+"/v1/agent/service/register", object{"Name": "filling", "ID": id, "Meta": meta})
		switch {
		case err != nil:
			w.j.wrong("wrong", "a registration on a full disk has no reply: %v", err)
			return acknowledged, "no reply"
		case status != http.StatusOK:
			w.j.add("changes refused in faults", 1)
			return acknowledged, fmt.Sprintf("%d %s", status, bytes.TrimSpace(text))
		}
		acknowledged = append(acknowledged, id)
	}
	return acknowledged, "none was refused"
}

func (w *embeddedWorld) deregister(filled []string) {
	client := &http.Client{Timeout: acknowledgedWithin, Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	there, err := inspect("http://" + w.program.http)
	if err != nil {
		w.j.wrong("wrong", "after the disk was full: %v", err)
		return
	}
	for _, id := range filled {
		if !there[id].present {
			w.j.wrong("lost", "%s was acknowledged while the disk filled, and is gone", id)
			continue
		}
		w.j.add("changes acknowledged", 2)
		if status, text, err := put(client, "http://"+w.program.http+"/v1/agent/service/deregister/"+id, nil); err != nil || status != http.StatusOK {
			w.j.wrong("refused outside of faults", "%s, deregistered when the disk had room again: %d %s, %v", id, status, text, err)
		}
	}
}
