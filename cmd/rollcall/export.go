package main

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:  "export",
		Usage: "print all that is registered with rollcall or with Consul, a line of JSON for each instance",
		Description: "The lines are what `rollcall import` takes, and what PUT /v1/catalog/register does.\n" +
			"A node without instances has a line of its own. Rollcall and Consul themselves are\n" +
			"left out.",
		Flags: withAPI(),
		Action: func(ctx *cli.Context) error {
			if _, err := arguments(ctx); err != nil {
				return err
			}
			c, err := newClient(ctx)
			if err != nil {
				return err
			}
			lines := json.NewEncoder(ctx.App.Writer)
			return c.export(ctx.Context, func(r *record) error { return lines.Encode(r) })
		},
	}
}

// record is a line of an export: an instance, or a node without any.
type record struct {
	ID              string `json:",omitempty"`
	Node, Address   string
	TaggedAddresses map[string]string `json:",omitempty"`
	NodeMeta        map[string]string `json:",omitempty"`
	Service         any               `json:",omitempty"`
	Checks          []recordedCheck   `json:",omitempty"`
}

type recordedCheck struct {
	Node, CheckID, Name, Status, Notes, Output, ServiceID, Type string
	Until                                                       *time.Time `json:",omitempty"`
	Definition                                                  json.RawMessage
}

// Exporting asks several questions at a time, and holds the answers of one batch.
const (
	exporters   = 8
	exportBatch = 64
)

// export hands over all records: instances by service, node and ID, then the
// nodes without any by name.
func (c *client) export(ctx context.Context, each func(*record) error) error {
	services, err := c.serviceNames(ctx)
	if err != nil {
		return err
	}
	inhabited := make(map[string]bool) // nodes, those of rollcall and Consul too
	names := slices.Sorted(maps.Keys(services))
	err = inOrder(ctx, names, c.allInstances, func(name string, instances []*entry) error {
		for _, i := range instances {
			inhabited[i.Node.Node] = true
			if name == ownService || name == "consul" {
				continue
			}
			if err := each(newRecord(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var nodes []*entryNode
	if err := c.get(ctx, "/v1/catalog/nodes", nil, &nodes); err != nil {
		return err
	}
	nodes = slices.DeleteFunc(nodes, func(n *entryNode) bool { return inhabited[n.Node] })
	slices.SortFunc(nodes, func(a, b *entryNode) int { return strings.Compare(a.Node, b.Node) })
	return inOrder(ctx, nodes, c.nodeChecks, func(n *entryNode, checks []check) error {
		return each(newRecord(&entry{Node: *n, Checks: checks}))
	})
}

// inOrder asks about all keys, several at a time, and uses the answers in the
// keys' order.
func inOrder[K, A any](ctx context.Context, keys []K, ask func(context.Context, K) (A, error), use func(K, A) error) error {
	for batch := range slices.Chunk(keys, exportBatch) {
		answers := make([]A, len(batch))
		group, asking := errgroup.WithContext(ctx)
		group.SetLimit(exporters)
		for n, key := range batch {
			group.Go(func() (err error) {
				answers[n], err = ask(asking, key)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for n, key := range batch {
			if err := use(key, answers[n]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *client) allInstances(ctx context.Context, service string) ([]*entry, error) {
	instances, err := c.instances(ctx, service, nil)
	slices.SortFunc(instances, func(a, b *entry) int {
		return cmp.Or(strings.Compare(a.Node.Node, b.Node.Node), strings.Compare(a.Service.ID, b.Service.ID))
	})
	return instances, err
}

func (c *client) nodeChecks(ctx context.Context, n *entryNode) (checks []check, err error) {
	err = c.get(ctx, "/v1/health/node/"+url.PathEscape(n.Node), nil, &checks)
	ofInstance := func(c check) bool { return c.ServiceID != "" } // that has come meanwhile
	return slices.DeleteFunc(checks, ofInstance), err
}

func newRecord(i *entry) *record {
	r := &record{
		ID: i.Node.ID, Node: i.Node.Node, Address: i.Node.Address,
		TaggedAddresses: i.Node.TaggedAddresses, NodeMeta: i.Node.Meta,
	}
	if i.Service.Service != "" {
		r.Service = i.Service
	}
	slices.SortFunc(i.Checks, func(a, b check) int {
		return cmp.Or(strings.Compare(a.ServiceID, b.ServiceID), strings.Compare(a.CheckID, b.CheckID))
	})
	for _, c := range i.Checks {
		r.Checks = append(r.Checks, recordedCheck{c.Node, c.CheckID, c.Name, c.Status, c.Notes, c.Output, c.ServiceID, c.Type, c.Until, c.Definition})
	}
	return r
}
