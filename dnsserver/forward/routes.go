package forward

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Route says whom to ask for the names of a domain.
type Route struct {
	Domain string // the root for all names that are in no other's
	// Upstream is ADDRESS[:PORT], tls://ADDRESS[:PORT][#NAME] or tcp://ADDRESS[:PORT],
	// or the path of a file like /etc/resolv.conf, whose servers are asked, and which
	// is read again when it changes.
	Upstream string
}

// ParseRoute reads [DOMAIN=]UPSTREAM. The error is one sentence.
func ParseRoute(text string) (Route, error) {
	r := Route{Domain: ".", Upstream: text}
	if domain, upstream, ok := strings.Cut(text, "="); ok {
		if _, isName := dns.IsDomainName(domain); !isName || domain == "" {
			return r, fmt.Errorf("%q is no domain", domain)
		}
		r = Route{Domain: dns.CanonicalName(domain), Upstream: upstream}
	}
	if isFile(r.Upstream) {
		return r, nil
	}
	_, err := parseUpstream(r.Upstream)
	return r, err
}

func isFile(upstream string) bool { return strings.HasPrefix(upstream, "/") }

// Addresses returns the addresses of the upstreams that a Route names now.
func (r Route) Addresses() ([]netip.AddrPort, error) {
	texts := []string{r.Upstream}
	if isFile(r.Upstream) {
		var err error
		if texts, err = readServers(r.Upstream); err != nil {
			return nil, err
		}
	}
	var addrs []netip.AddrPort
	for _, text := range texts {
		u, err := parseUpstream(text)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, u.addr)
	}
	return addrs, nil
}

// addRoute adds an upstream to those of its domain.
func (a *Asker) addRoute(routes []*route, config Route) ([]*route, error) {
	domain := wire(dns.CanonicalName(config.Domain))
	if domain == "" {
		return nil, fmt.Errorf("%q is no domain", config.Domain)
	}
	texts := []string{config.Upstream}
	if isFile(config.Upstream) {
		file := &resolvFile{path: config.Upstream, domain: domain}
		var err error
		if texts, err = file.read(); err != nil {
			return nil, err
		}
		a.files = append(a.files, file)
	}
	upstreams, err := parseUpstreams(texts)
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		if r.domain == domain {
			r.upstreams = append(r.upstreams, upstreams...)
			return routes, nil
		}
	}
	return append(routes, &route{domain: domain, upstreams: upstreams}), nil
}

func parseUpstreams(texts []string) (upstreams []*upstream, err error) {
	for _, text := range texts {
		u, err := parseUpstream(text)
		if err != nil {
			return nil, err
		}
		upstreams = append(upstreams, u)
	}
	return upstreams, nil
}

// resolvFile is a file like /etc/resolv.conf.
type resolvFile struct {
	path, domain string
	changed      time.Time
	servers      []string
}

// resolvInterval is how often such files are looked at.
const resolvInterval = 2 * time.Second

// read returns the servers that the file names.
func (f *resolvFile) read() ([]string, error) {
	if info, err := os.Stat(f.path); err == nil {
		f.changed = info.ModTime() // before it is read: what comes after is another change
	}
	servers, err := readServers(f.path)
	if err == nil {
		f.servers = servers
	}
	return servers, err
}

func readServers(path string) ([]string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the upstreams: %w", err)
	}
	config, err := dns.ClientConfigFromReader(strings.NewReader(string(content)))
	if err != nil {
		return nil, fmt.Errorf("read the upstreams of %s: %w", path, err)
	}
	if len(config.Servers) == 0 {
		return nil, fmt.Errorf("%s names no server", path)
	}
	return config.Servers, nil
}

// followFiles reads files again when they change, until ctx ends. From one that
// cannot be read, or names no server, the upstreams stay as they are.
func (a *Asker) followFiles(ctx context.Context) error {
	ticker := time.NewTicker(resolvInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		for _, file := range a.files {
			a.follow(file)
		}
	}
}

func (a *Asker) follow(file *resolvFile) {
	info, err := os.Stat(file.path)
	if err != nil || info.ModTime().Equal(file.changed) {
		return
	}
	before := file.servers
	servers, err := file.read()
	var upstreams []*upstream
	if err == nil {
		upstreams, err = parseUpstreams(servers)
	}
	switch {
	case err != nil:
		a.logger.Warn("the upstreams stay as they were", "err", err)
	case !slices.Equal(before, servers):
		a.replace(file.domain, before, upstreams)
		a.logger.Info("the upstreams have changed", "file", file.path, "upstreams", servers)
	}
}

// replace puts upstreams in the place of those with the names.
func (a *Asker) replace(domain string, names []string, upstreams []*upstream) {
	old := *a.routes.Load()
	routes := make([]*route, len(old))
	for i, r := range old {
		routes[i] = r
		if r.domain != domain {
			continue
		}
		kept := slices.DeleteFunc(slices.Clone(r.upstreams), func(u *upstream) bool { return slices.Contains(names, u.name) })
		routes[i] = &route{domain: domain, upstreams: append(kept, upstreams...)}
	}
	a.use(routes)
}
