package main

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/zones"
)

// entry is an instance as /v1/health/service tells of it, and as
// /v1/catalog/register takes it back.
type entry struct {
	Node    entryNode
	Service struct {
		ID, Service, Address string
		Port                 int
		Tags                 []string
		Meta                 map[string]string
		TaggedAddresses      map[string]taggedAddress
		Weights              weights
		EnableTagOverride    bool
	}
	Checks []check
}

type entryNode struct {
	ID, Node, Address     string
	TaggedAddresses, Meta map[string]string
}

type taggedAddress struct {
	Address string
	Port    int
}

type weights struct{ Passing, Warning int }

type check struct {
	Node, CheckID, Name, Status, Notes, Output, ServiceID, ServiceName, Type string
	Until                                                                    *time.Time // nil: it does not end by itself
	Definition                                                               json.RawMessage
	CreateIndex, ModifyIndex                                                 uint64
}

// address returns where the instance is reached.
func (e *entry) address() string {
	if e.Service.Address != "" {
		return e.Service.Address
	}
	return e.Node.Address
}

// status returns the worst status of the checks, which is what DNS goes by.
func (e *entry) status() string {
	worst := "passing"
	for _, c := range e.Checks {
		if c.Status == "critical" || c.Status == "warning" && worst == "passing" {
			worst = c.Status
		}
	}
	return worst
}

// complaint says in words which check made the status what it is.
func (e *entry) complaint() string {
	status := e.status()
	if status == "passing" {
		return ""
	}
	for _, c := range e.Checks {
		if c.Status == status {
			awaited := zones.Awaited(&registry.Check{Type: c.Type, Output: c.Output, CreateIndex: c.CreateIndex, ModifyIndex: c.ModifyIndex})
			first, _, _ := strings.Cut(strings.TrimSpace(cmp.Or(c.Output, awaited, c.Notes)), "\n")
			return strings.TrimSuffix(c.Name+": "+first, ": ")
		}
	}
	return ""
}

// serviceNames returns the names of the services, with their tags.
func (c *client) serviceNames(ctx context.Context) (map[string][]string, error) {
	var services map[string][]string
	return services, c.get(ctx, "/v1/catalog/services", nil, &services)
}

// instances returns the instances of a service, healthy or not.
func (c *client) instances(ctx context.Context, service string, query url.Values) ([]*entry, error) {
	var entries []*entry
	return entries, c.get(ctx, "/v1/health/service/"+url.PathEscape(service), query, &entries)
}
