package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// supervisor is the service manager that started the program, if it wants to
// know how the program is: see sd_notify(3) and sd_watchdog_enabled(3).
type supervisor struct {
	conn     net.Conn      // nil: nobody wants to know
	watchdog time.Duration // how often it wants a sign of life; zero: never
	told     atomic.Bool   // that the program is ready
}

// reach follows the environment that a service manager sets. It comes before all
// other methods.
func (s *supervisor) reach() error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:] // an abstract name
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("reaching the service manager: %w", err)
	}
	s.conn = conn
	if pid := os.Getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if µs, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && µs > 0 {
			s.watchdog = time.Duration(µs) * time.Microsecond / 2
		}
	}
	return nil
}

// tell sends lines of NAME=VALUE. Nobody can be told that it failed.
func (s *supervisor) tell(lines ...string) {
	if s.conn != nil {
		_, _ = s.conn.Write([]byte(strings.Join(lines, "\n")))
	}
}

// supervise tells the service manager when the server is ready, and gives it
// signs of life until ctx ends: only as long as a question is answered.
func (s *server) supervise(ctx context.Context) error {
	to := s.supervisor
	if to.conn == nil {
		return nil
	}
	defer to.conn.Close()
	defer to.tell("STOPPING=1", "STATUS=shutting down")
	s.awaitSync(ctx)
	to.told.Store(true)
	to.tell("READY=1", s.statusLine())
	if to.watchdog == 0 {
		<-ctx.Done()
		return nil
	}
	ticks := time.NewTicker(to.watchdog)
	defer ticks.Stop()
	for {
		if err := s.askOurselves(ctx, to.watchdog); err == nil {
			to.tell("WATCHDOG=1", s.statusLine())
		} else if ctx.Err() == nil {
			s.settings.logger.Error("rollcall does not answer itself, the service manager will see to that", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}

// awaitSync waits until the View is complete, or was once.
func (s *server) awaitSync(ctx context.Context) {
	if s.registry.freshness == nil {
		return
	}
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for !s.registry.freshness().Synced {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

func (s *server) statusLine() string {
	v := s.registry.View()
	line := fmt.Sprintf("STATUS=%d services, %d instances", v.ServicesLen(), v.InstancesLen())
	if f := s.registry.freshness; f != nil && f().Stale {
		line += ", stale"
	}
	return line
}

// askOurselves asks for the zone's SOA as any client would.
func (s *server) askOurselves(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	question := new(dns.Msg).SetQuestion(s.registry.zones[0], dns.TypeSOA)
	_, _, err := new(dns.Client).ExchangeContext(ctx, question, reachable(s.dns.Addrs()[0]).String())
	return err
}
