// Package grpcresolver lets gRPC clients find the instances of a service as they
// change, by a name such as rollcall:///web:
//
//	conn, err := grpc.NewClient("rollcall:///web",
//		grpc.WithResolvers(grpcresolver.New(grpcresolver.Config{})),
//		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`))
//
// Unlike a name of DNS it has the instances' ports, and no TTL: a change is told
// when it happens. The authority, as in rollcall://10.0.0.2:5380/web, is where
// rollcall's admin endpoint is; a query narrows the choice, as in
// rollcall:///web?tag=v1 or rollcall:///web?port=grpc.
//
// The package speaks HTTP to rollcall, and imports nothing of it. A Consul agent
// understands it just as well.
package grpcresolver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/resolver"
)

// Scheme is that of the names.
const Scheme = "rollcall"

// Config says where rollcall is. The zero value is the one on this machine.
type Config struct {
	API    string       // its admin endpoint, as in https://10.0.0.2:5380; empty: http://127.0.0.1:5380
	Token  string       // to show there; empty: none
	Client *http.Client // nil: one of its own, without a time-out
}

// New returns a builder for grpc.WithResolvers.
func New(config Config) resolver.Builder {
	if config.API == "" {
		config.API = "http://127.0.0.1:5380"
	}
	if config.Client == nil {
		config.Client = &http.Client{}
	}
	return &builder{config}
}

type builder struct{ config Config }

// Scheme implements resolver.Builder.
func (b *builder) Scheme() string { return Scheme }

// Build implements resolver.Builder.
func (b *builder) Build(target resolver.Target, conn resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	service := strings.Trim(target.URL.Path, "/")
	if service == "" || strings.Contains(service, "/") {
		return nil, fmt.Errorf("%s names no service, as rollcall:///web does", target.URL.String())
	}
	api := b.config.API
	if target.URL.Host != "" {
		scheme, _, _ := strings.Cut(api, "://")
		api = scheme + "://" + target.URL.Host
	}
	query := target.URL.Query()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{
		config: b.config, conn: conn, port: query.Get("port"), cancel: cancel, ended: make(chan struct{}), now: make(chan struct{}, 1),
		url: strings.TrimSuffix(api, "/") + "/v1/health/service/" + url.PathEscape(service) + "?wait=5m",
	}
	if tag := query.Get("tag"); tag != "" {
		w.url += "&tag=" + url.QueryEscape(tag)
	}
	go w.run(ctx)
	return w, nil
}

// watch tells a connection of a service's instances, until it is closed.
type watch struct {
	config Config
	conn   resolver.ClientConn
	url    string
	port   string // the name of the instances' port; empty: the default one
	cancel context.CancelFunc
	ended  chan struct{}
	now    chan struct{} // told not to wait after an error
}

// ResolveNow implements resolver.Resolver. The instances are known as they change,
// so there is something to do only where rollcall could not be reached.
func (w *watch) ResolveNow(resolver.ResolveNowOptions) {
	select {
	case w.now <- struct{}{}:
	default:
	}
}

// Close implements resolver.Resolver.
func (w *watch) Close() {
	w.cancel()
	<-w.ended
}

// The time from one attempt to the next, doubled up to the longest, of which a
// random part is waited.
const firstWait, longestWait = 200 * time.Millisecond, 10 * time.Second

// run asks for the instances again and again; each question is answered when
// something has changed.
func (w *watch) run(ctx context.Context) {
	defer close(w.ended)
	index, wait := "", firstWait
	for ctx.Err() == nil {
		next, addresses, err := w.ask(ctx, index)
		if err == nil {
			wait = firstWait
			if next != index {
				_ = w.conn.UpdateState(resolver.State{Addresses: addresses})
			}
			index = next
			continue
		}
		if ctx.Err() != nil {
			return
		}
		w.conn.ReportError(err)
		index = "" // what it was has no meaning to a rollcall that began anew
		select {
		case <-ctx.Done():
		case <-w.now:
		case <-time.After(rand.N(wait)):
		}
		wait = min(2*wait, longestWait)
	}
}

// entry is an instance as /v1/health/service shows it.
type entry struct {
	Node    struct{ Address string }
	Service struct {
		Address string
		Port    int
		Ports   []struct {
			Name string
			Port int
		}
	}
	Checks []struct{ Status string }
}

// ask returns the instances when the index is another one than before.
func (w *watch) ask(ctx context.Context, index string) (next string, addresses []resolver.Address, err error) {
	target := w.url
	if index != "" {
		target += "&index=" + index
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", nil, err
	}
	if w.config.Token != "" {
		request.Header.Set("X-Consul-Token", w.config.Token)
	}
	response, err := w.config.Client.Do(request)
	if err != nil {
		return "", nil, fmt.Errorf("ask rollcall: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		return "", nil, fmt.Errorf("ask rollcall: %s: %s", response.Status, strings.TrimSpace(string(text)))
	}
	var entries []entry
	if err := json.NewDecoder(io.LimitReader(response.Body, 64<<20)).Decode(&entries); err != nil {
		return "", nil, fmt.Errorf("read rollcall's answer: %w", err)
	}
	if next = response.Header.Get("X-Consul-Index"); next == "" {
		return "", nil, errors.New("ask rollcall: the answer has no index, so it is not rollcall's")
	}
	for _, e := range entries {
		if a, ok := w.address(&e); ok {
			addresses = append(addresses, resolver.Address{Addr: a})
		}
	}
	return next, addresses, nil
}

// address returns where an instance is, if it may be used and has such a port. One
// in warning may, as in DNS.
func (w *watch) address(e *entry) (address string, ok bool) {
	for _, c := range e.Checks {
		if c.Status == "critical" {
			return "", false
		}
	}
	host, port := e.Service.Address, e.Service.Port
	if host == "" {
		host = e.Node.Address
	}
	if w.port != "" {
		port = 0
		for _, p := range e.Service.Ports {
			if strings.EqualFold(p.Name, w.port) {
				port = p.Port
			}
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), host != "" && port > 0
}
