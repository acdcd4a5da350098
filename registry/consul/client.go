package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxAnswer bounds what is read of one answer.
	maxAnswer = 64 << 20

	// maxLag is how long ago a server may have heard from its leader for its
	// answers to be believed.
	maxLag = 5 * time.Second

	// maxRetryAfter bounds how long a server can tell us to stay away.
	maxRetryAfter = time.Minute
)

// errLeaderless is the answer of a server that does not know what it says to
// be true: without a leader it may not even know of what it has on disk.
var errLeaderless = errors.New("the cluster has no leader that the server knows of")

// noLeader is in the answer, of 500, of a server that knows of no leader.
const noLeader = "No cluster leader"

// refusal is an answer that says to come back later.
type refusal struct {
	code  int
	after time.Duration
	text  string
	until time.Time // when after is over
}

func (r *refusal) Error() string {
	return fmt.Sprintf("Consul answered %d: %s", r.code, r.text)
}

// answer is what an answer says of itself.
type answer struct {
	index     uint64
	filtered  bool      // the token does not see all of it
	confirmed bool      // the leader gave it, sure to know everything
	floor     uint64    // what index was known before a confirmed answer was asked for
	heard     time.Time // when it began to come
}

// question is a GET of Consul's API.
type question struct {
	path       string
	index      uint64        // not zero: answer when there is something newer than this
	held       time.Duration // and at the latest after so long
	consistent bool          // let the leader answer, once it is sure to know everything
}

// ask puts a question to Consul and decodes the answer into out. An answer that
// is not to be believed is an error.
func (r *Registry) ask(ctx context.Context, q question, out any) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout(q.held))
	defer cancel()
	options := &api.QueryOptions{
		Datacenter: r.config.Datacenter, AllowStale: !q.consistent, RequireConsistent: q.consistent,
		WaitIndex: q.index, WaitTime: q.held,
	}
	var heard time.Time
	meta, err := r.client.Raw().Query(q.path, out, options.WithContext(context.WithValue(ctx, heardKey{}, &heard)))
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("asking Consul for %s: %w", q.path, err)
	case !meta.KnownLeader || meta.LastContact > maxLag:
		return answer{}, fmt.Errorf("asking Consul for %s: %w", q.path, errLeaderless)
	}
	r.metrics.lag.Set(meta.LastContact.Seconds())
	return answer{index: max(meta.LastIndex, 1), filtered: meta.ResultsFilteredByACLs, heard: heard}, nil
}

// heardKey is for a context that has a *time.Time, which is set to when the answer
// began to come.
type heardKey struct{}

// The kinds of failure that are counted.
const (
	kindNetwork    = "network"    // no connection, or it broke
	kindTimeout    = "timeout"    // no answer in time
	kindLeaderless = "leaderless" // the servers are not sure
	kindACL        = "acl"        // the token may not, or no longer, see it
	kindLimit      = "limit"      // we ask too much
	kindServer     = "server"     // any other refusal
	kindMalformed  = "malformed"  // no JSON, or not what it should be
)

var errorKinds = []string{kindNetwork, kindTimeout, kindLeaderless, kindACL, kindLimit, kindServer, kindMalformed}

// kindOf tells what went wrong, and how long the server wants not to be asked.
func kindOf(err error) (kind string, after time.Duration) {
	var (
		refused *refusal
		status  api.StatusError
		syntax  *json.SyntaxError
		wrong   *json.UnmarshalTypeError
		network net.Error
	)
	switch {
	case errors.As(err, &refused) && refused.code == http.StatusTooManyRequests:
		return kindLimit, refused.after
	case errors.As(err, &refused) && strings.Contains(refused.text, noLeader):
		return kindLeaderless, refused.after
	case errors.As(err, &refused):
		return kindServer, refused.after
	case errors.Is(err, errLeaderless):
		return kindLeaderless, 0
	case errors.Is(err, errFiltered):
		return kindACL, 0
	case errors.As(err, &status):
		switch {
		case status.Code == http.StatusForbidden:
			return kindACL, 0
		case strings.Contains(status.Body, noLeader):
			return kindLeaderless, 0
		}
		return kindServer, 0
	case errors.As(err, &syntax), errors.As(err, &wrong), errors.Is(err, errTooLong):
		return kindMalformed, 0
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return kindTimeout, 0
	}
	return kindNetwork, 0
}

// newClient returns a client of Consul's API that never has more than the given
// number of connections open: whoever needs one more waits for it. It counts
// them, gives up on dead ones within half a minute, and reads no endless answer.
func newClient(c Config, connections prometheus.Gauge) (*api.Client, *transport, error) {
	config := api.DefaultConfig()
	if c.Address != "" {
		config.Address = c.Address
	}
	dialer := &net.Dialer{
		Timeout:         answerWithin,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	path, unix := strings.CutPrefix(config.Address, "unix://")
	if unix {
		config.Address = "http://consul"
	}
	pattern := config.Transport
	pattern.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if unix {
			network, address = "unix", path
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		connections.Inc()
		return &countedConn{Conn: conn, closed: sync.OnceFunc(connections.Dec)}, nil
	}
	pattern.MaxConnsPerHost = c.Watches
	pattern.MaxIdleConnsPerHost = c.Watches
	pattern.MaxIdleConns = c.Watches
	pattern.IdleConnTimeout = 30 * time.Second
	transport := &transport{tls: c.tls, pattern: pattern}
	config.HttpClient = &http.Client{Transport: &bounded{transport: transport}, CheckRedirect: stay}
	if c.network != nil {
		config.HttpClient.Transport = &bounded{transport: c.network}
	}
	config.HttpClient.Transport = bearer{config.HttpClient.Transport, c.own}
	if c.Around != nil {
		config.HttpClient.Transport = c.Around(config.HttpClient.Transport)
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, nil, fmt.Errorf("setting up the client of Consul's API: %w", err)
	}
	return client, transport, nil
}

// stay follows redirects to the same host alone: others would be shown our token.
func stay(next *http.Request, before []*http.Request) error {
	if first := before[0].URL; next.URL.Host != first.Host || next.URL.Scheme != first.Scheme || len(before) > 5 {
		return http.ErrUseLastResponse
	}
	return nil
}

// bearer shows our own token with every request that is not somebody else's, whatever
// the environment says.
type bearer struct {
	http.RoundTripper
	own *atomic.Pointer[string] // empty: that of the environment, if there is one
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	if token := *b.own.Load(); token != "" && tokenOf(request.Context()) == "" {
		request = request.Clone(request.Context())
		request.Header.Set("X-Consul-Token", token)
	}
	return b.RoundTripper.RoundTrip(request)
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// bounded is a transport whose answers end after maxAnswer, and whose refusals
// to serve us now are errors that know for how long. Until then no question goes
// out, whoever has it: Consul counts by client. Writes are for Consul to refuse.
type bounded struct {
	transport http.RoundTripper
	refused   atomic.Pointer[refusal] // the last one
}

func (b *bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	if last := b.refused.Load(); last != nil && request.Method == http.MethodGet {
		if left := time.Until(last.until); left > 0 {
			return nil, &refusal{last.code, left, last.text, last.until}
		}
	}
	response, err := b.transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if heard, ok := request.Context().Value(heardKey{}).(*time.Time); ok {
		*heard = time.Now()
	}
	if refuses(request, response) {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		now := time.Now()
		after := retryAfter(response.Header.Get("Retry-After"), now)
		refused := &refusal{response.StatusCode, after, strings.TrimSpace(string(text)), now.Add(after)}
		b.refused.Store(refused)
		return nil, refused
	}
	response.Body = &boundedBody{response.Body, maxAnswer}
	return response, nil
}

// refuses tells whether an answer says to come back later. What other failures of the
// server say of a write is for who has it.
func refuses(request *http.Request, response *http.Response) bool {
	switch code := response.StatusCode; {
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		return true
	case code >= 500 && request.Method == http.MethodGet:
		return response.Header.Get("Retry-After") != ""
	}
	return false
}

var errTooLong = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(header string, now time.Time) time.Duration {
	var after time.Duration
	if seconds, err := strconv.Atoi(header); err == nil {
		after = time.Duration(min(seconds, 3600)) * time.Second
	} else if date, err := http.ParseTime(header); err == nil {
		after = date.Sub(now)
	}
	return min(max(0, after), maxRetryAfter)
}
