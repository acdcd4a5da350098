package admin

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// How long a blocking query waits: as in Consul, and a random sixteenth more, so
// that queries that began together do not end together.
const (
	defaultWait = 5 * time.Minute
	maxWait     = 10 * time.Minute
)

// result is what was read from a View, the index of its last change, and the
// Stamp that tells when there may be another.
type result struct {
	value any
	index uint64
	stamp *registry.Stamp
}

// blocking answers a read, at once or, where the client names the index that it
// has seen, when there is something newer or its wait is over.
func (s *Server) blocking(w http.ResponseWriter, r *http.Request, read func(*registry.View) (result, error)) error {
	seen, wait, err := blockingParameters(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	if seen > 0 {
		s.metrics.watchers.Inc()
		defer s.metrics.watchers.Dec()
		// The time to write begins when there is something to write.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + writeTimeout))
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	for {
		found, err := read(s.cfg.Registry.View())
		if err != nil {
			return err
		}
		// A client that is ahead has seen another registry, and is told at once.
		if found.index = max(found.index, 1); seen == found.index && s.changes(ctx, found.stamp) {
			continue
		}
		return s.replyIndexed(w, r, found)
	}
}

// changes waits until a Stamp is superseded; false: until the wait is over.
func (s *Server) changes(ctx context.Context, stamp *registry.Stamp) bool {
	select {
	case <-stamp.Done():
		return true
	case <-ctx.Done():
	case <-s.closing:
	}
	return false
}

// replyIndexed says beside a value how old it is, in Consul's headers: while the
// registry behind this one is away, there is no leader.
func (s *Server) replyIndexed(w http.ResponseWriter, r *http.Request, found result) error {
	leader, age, consistency := true, time.Duration(0), "leader"
	for _, asked := range []string{"consistent", "stale"} {
		if r.URL.Query().Has(asked) {
			consistency = asked
		}
	}
	if f := s.freshness(); f.Stale {
		leader, consistency = false, "stale"
		if !f.Since.IsZero() {
			age = max(time.Since(f.Since), 0)
		}
	}
	header := w.Header()
	header.Set("X-Consul-Index", strconv.FormatUint(found.index, 10))
	header.Set("X-Consul-KnownLeader", strconv.FormatBool(leader))
	header.Set("X-Consul-LastContact", strconv.FormatInt(age.Milliseconds(), 10))
	header.Set("X-Consul-Effective-Consistency", consistency)
	if notModified(w, r, fmt.Sprintf(`W/"%s-%d"`, s.life, found.index)) {
		return nil
	}
	return reply(w, r, found.value)
}

func blockingParameters(r *http.Request) (seen uint64, wait time.Duration, err error) {
	query := r.URL.Query()
	if text := query.Get("index"); text != "" {
		if seen, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 0, 0, badRequest("Invalid index")
		}
	}
	wait = defaultWait
	if text := query.Get("wait"); text != "" {
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 {
			return 0, 0, badRequest("Invalid wait time")
		}
		if wait == 0 {
			wait = defaultWait
		}
	}
	wait = min(wait, maxWait)
	return seen, wait + rand.N(wait/16+1), nil
}
