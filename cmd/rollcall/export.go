package main

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:  "export",
		Usage: "print all that is registered with rollcall or with Consul, a line of JSON for each instance",
		Description: "The lines are what `rollcall import` takes, and what PUT /v1/catalog/register does.\n" +
			"Rollcall and Consul themselves are left out.",
		Flags: withAPI(),
		Action: func(ctx *cli.Context) error {
			if _, err := arguments(ctx); err != nil {
				return err
			}
			return export(ctx)
		},
	}
}

// record is a line of an export.
type record struct {
	ID              string `json:",omitempty"`
	Node, Address   string
	TaggedAddresses map[string]string `json:",omitempty"`
	NodeMeta        map[string]string `json:",omitempty"`
	Service         any
	Checks          []recordedCheck `json:",omitempty"`
}

type recordedCheck struct {
	Node, CheckID, Name, Status, Notes, Output, ServiceID, Type string
	Definition                                                  json.RawMessage
}

func export(ctx *cli.Context) error {
	c, err := newClient(ctx)
	if err != nil {
		return err
	}
	names, err := c.serviceNames(ctx.Context)
	if err != nil {
		return err
	}
	delete(names, ownService)
	delete(names, "consul") // its own, too
	lines := json.NewEncoder(ctx.App.Writer)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		instances, err := c.instances(ctx.Context, name, nil)
		if err != nil {
			return err
		}
		slices.SortFunc(instances, func(a, b *entry) int {
			return cmp.Or(strings.Compare(a.Node.Node, b.Node.Node), strings.Compare(a.Service.ID, b.Service.ID))
		})
		for _, i := range instances {
			if err := lines.Encode(newRecord(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func newRecord(i *entry) record {
	r := record{
		ID: i.Node.ID, Node: i.Node.Node, Address: i.Node.Address,
		TaggedAddresses: i.Node.TaggedAddresses, NodeMeta: i.Node.Meta, Service: i.Service,
	}
	for _, c := range i.Checks {
		r.Checks = append(r.Checks, recordedCheck{c.Node, c.CheckID, c.Name, c.Status, c.Notes, c.Output, c.ServiceID, c.Type, c.Definition})
	}
	return r
}
