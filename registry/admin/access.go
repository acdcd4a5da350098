package admin

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

// Token is what a client shows, and what it may do then.
type Token struct {
	Name     string   // for the audit log
	Secret   string   // what is shown; it is never written anywhere
	Write    bool     // it may change what is registered, too
	Services []string // prefixes of the services it may see, and change if it may write; empty: everything
}

// How long a secret is at least: 128 bits in base 64, or in fewer digits.
const (
	leastSecret      = 22
	leastHexadecimal = 32
	leastDecimal     = 39
)

// ReadTokens reads a file of tokens, one a line: a secret alone, which may do
// everything, or NAME SECRET read|write [PREFIX…]. Lines that begin with # say
// something to people.
func ReadTokens(r io.Reader) ([]Token, error) {
	var tokens []Token
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		t, err := readToken(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		tokens = append(tokens, t)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return nil, fmt.Errorf("there is no token in it")
	}
	return tokens, nil
}

// readToken does not repeat a secret, or what may be one, in its errors.
func readToken(fields []string) (Token, error) {
	t := Token{Name: "admin", Secret: fields[0], Write: true}
	if len(fields) > 1 {
		if len(fields) < 3 || fields[2] != "read" && fields[2] != "write" {
			return t, fmt.Errorf("not of the form NAME SECRET read|write [PREFIX…]")
		}
		t = Token{Name: fields[0], Secret: fields[1], Write: fields[2] == "write", Services: fields[3:]}
	}
	return t, strongEnough(t.Secret)
}

// strongEnough returns an error if the secret cannot be one of 128 bits. The hyphens
// in one that is written as a UUID say nothing.
func strongEnough(secret string) error {
	digits := strings.ReplaceAll(secret, "-", "")
	switch {
	case len(secret) < leastSecret:
		return fmt.Errorf("a secret of fewer than %d characters can be guessed", leastSecret)
	case len(digits) < leastDecimal && strings.Trim(digits, "0123456789") == "":
		return fmt.Errorf("a secret of digits, of which it has fewer than %d, can be guessed", leastDecimal)
	case len(digits) < leastHexadecimal && strings.Trim(digits, "0123456789abcdefABCDEF") == "":
		return fmt.Errorf("a secret of hexadecimal digits, of which it has fewer than %d, can be guessed", leastHexadecimal)
	}
	return nil
}

// tokenOf returns the token with a secret. It takes as long whichever it is.
func tokenOf(tokens []Token, secret string) *Token {
	var found *Token
	got := sha256.Sum256([]byte(secret))
	for n := range tokens {
		if want := sha256.Sum256([]byte(tokens[n].Secret)); subtle.ConstantTimeCompare(want[:], got[:]) == 1 {
			found = &tokens[n]
		}
	}
	return found
}

type callerKey struct{}

// callerOf returns the token that a request showed; nil: none was asked for.
func callerOf(ctx context.Context) *Token {
	t, _ := ctx.Value(callerKey{}).(*Token)
	return t
}

// governed is a registry that takes from each caller what the caller's token
// allows. It stands between the routes and the registry, so that no route can
// forget to ask.
type governed struct {
	registry.Registry
	node string // the own one
}

func (g governed) nodeOf(name string) string { return cmp.Or(name, g.node) }

// Register implements registry.Registry.
func (g governed) Register(ctx context.Context, r registry.Registration) error {
	t := callerOf(ctx)
	if t == nil || t.Write && len(t.Services) == 0 {
		return g.Registry.Register(ctx, r)
	}
	var services []string
	v := g.View()
	if i := r.Instance; i != nil {
		services = append(services, i.Service)
		id := i.ID
		if id == "" {
			id = i.Service
		}
		if before := v.Instance(g.nodeOf(r.Node.Name), id); before != nil {
			services = append(services, before.Service)
		}
	}
	for _, c := range r.Checks {
		switch before := v.Instance(g.nodeOf(r.Node.Name), c.InstanceID); {
		case before != nil && c.InstanceID != "":
			services = append(services, before.Service)
		case r.Instance == nil:
			services = append(services, "") // a node's
		}
	}
	if r.Node.Address != "" || len(services) == 0 {
		services = append(services, "")
	}
	if err := t.mayChange(services...); err != nil {
		return err
	}
	for _, c := range r.Checks {
		if err := t.mayAsk(c.Definition); err != nil {
			return err
		}
	}
	return g.Registry.Register(ctx, r)
}

// Deregister implements registry.Registry.
func (g governed) Deregister(ctx context.Context, d registry.Deregistration) error {
	if t := callerOf(ctx); t != nil {
		service := ""
		if i := g.View().Instance(g.nodeOf(d.Node), d.InstanceID); i != nil && d.InstanceID != "" {
			service = i.Service
		} else if c := g.View().Check(g.nodeOf(d.Node), d.CheckID); c != nil && d.CheckID != "" {
			service = c.Service
		} else if d.InstanceID != "" || d.CheckID != "" {
			service = t.anything() // what is not there is for the registry to say
		}
		if err := t.mayChange(service); err != nil {
			return err
		}
	}
	return g.Registry.Deregister(ctx, d)
}

// SetStatus implements registry.Registry.
func (g governed) SetStatus(ctx context.Context, u registry.StatusUpdate) error {
	if t := callerOf(ctx); t != nil {
		service := t.anything()
		if c := g.View().Check(g.nodeOf(u.Node), u.CheckID); c != nil {
			service = c.Service
		}
		if err := t.mayChange(service); err != nil {
			return err
		}
	}
	return g.Registry.SetStatus(ctx, u)
}

// mayAsk tells whether the token may register a check that does more than look: one with
// a method, headers or a body of somebody's choosing could change things, in the name of
// rollcall's address.
func (t *Token) mayAsk(d *registry.Definition) error {
	if d == nil {
		return nil
	}
	field := ""
	switch m := strings.ToUpper(d.Method); {
	case m != "" && m != http.MethodGet && m != http.MethodHead:
		field = "Check.Method"
	case d.Body != "":
		field = "Check.Body"
	default:
		for name := range d.Header {
			if !strings.EqualFold(name, "Host") {
				field = "Check.Header"
			}
		}
	}
	if field == "" {
		return nil
	}
	return registry.Errorf(registry.Forbidden, "%s: the token %s may register checks that GET or HEAD, with no header but Host and no body", field, t.Name)
}

func (t *Token) anything() string {
	if len(t.Services) > 0 {
		return t.Services[0]
	}
	return ""
}

// mayChange tells whether the token may change services; an empty name is what
// belongs to no service.
func (t *Token) mayChange(services ...string) error {
	if !t.Write {
		return registry.Errorf(registry.Forbidden, "the token %s may read and not write", t.Name)
	}
	for _, service := range services {
		if !t.covers(service) {
			if service == "" {
				return registry.Errorf(registry.Forbidden, "the token %s may change %s, and no nodes", t.Name, t.extent())
			}
			return registry.Errorf(registry.Forbidden, "the token %s may change %s, and not %s", t.Name, t.extent(), service)
		}
	}
	return nil
}

// extent says in words which services the token is for.
func (t *Token) extent() string {
	return "services that begin with " + strings.Join(t.Services, " or ")
}

func (t *Token) covers(service string) bool {
	for _, prefix := range t.Services {
		if service != "" && len(service) >= len(prefix) && strings.EqualFold(service[:len(prefix)], prefix) {
			return true
		}
	}
	return len(t.Services) == 0
}
