package main

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func instancesCommand() *cli.Command {
	return &cli.Command{
		Name:      "instances",
		Usage:     "list the instances of a service, and what is wrong with those that are not well",
		ArgsUsage: "SERVICE",
		Flags: withAPI(withOutput(
			&cli.StringFlag{Name: "tag", EnvVars: []string{"ROLLCALL_INSTANCES_TAG"}, Usage: "only instances that bear `TAG`"},
			&cli.BoolFlag{Name: "passing", EnvVars: []string{"ROLLCALL_INSTANCES_PASSING"}, Usage: "only instances whose checks all pass"},
		)...),
		Action: func(ctx *cli.Context) error {
			args, err := arguments(ctx, "SERVICE")
			if err != nil {
				return err
			}
			c, err := newClient(ctx)
			if err != nil {
				return err
			}
			query := url.Values{}
			if tag := ctx.String("tag"); tag != "" {
				query.Set("tag", tag)
			}
			if ctx.Bool("passing") {
				query.Set("passing", "1")
			}
			instances, err := c.instances(ctx.Context, args[0], query)
			if err != nil {
				return err
			}
			switch {
			case len(instances) == 0 && len(query) > 0:
				return fail(exitNotFound, "no instance of %q is of this kind", args[0])
			case len(instances) == 0:
				return fail(exitNotFound, "no service %q is registered", args[0])
			}
			return printInstances(ctx, instances)
		},
	}
}

// instanceLine is a line of `rollcall instances`.
type instanceLine struct {
	ID, Node, Address string
	Port              int
	Status            string
	Tags              []string
	Meta              map[string]string
	Weight            int    // of its answers while it passes
	Complaint         string `json:",omitempty"` // the check that is not passing, and its output
}

// meta returns the metadata as KEY=VALUE, in the order of the keys.
func (l *instanceLine) meta() string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(l.Meta)) {
		all = append(all, key+"="+l.Meta[key])
	}
	return strings.Join(all, ",")
}

func printInstances(ctx *cli.Context, instances []*entry) error {
	lines := make([]instanceLine, len(instances))
	for n, i := range instances {
		lines[n] = instanceLine{
			ID: i.Service.ID, Node: i.Node.Node, Address: i.address(), Port: i.Service.Port,
			Status: i.status(), Tags: i.Service.Tags, Meta: i.Service.Meta, Weight: i.Service.Weights.Passing, Complaint: i.complaint(),
		}
	}
	return output(ctx, lines, func(t *table) {
		heading := []any{"ID", "NODE", "ADDRESS", "PORT", "STATUS", "TAGS"}
		if t.wide {
			heading = append(heading, "WEIGHT", "META")
		}
		t.heading(append(heading, "COMPLAINT")...)
		for _, l := range lines {
			cells := []any{l.ID, l.Node, l.Address, l.Port, inStatus(l.Status, l.Status), strings.Join(l.Tags, ",")}
			if t.wide {
				cells = append(cells, l.Weight, l.meta())
			}
			t.row(append(cells, l.Complaint)...)
		}
	})
}
