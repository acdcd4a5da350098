package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"
)

func servicesCommand() *cli.Command {
	return &cli.Command{
		Name:  "services",
		Usage: "list the services, and how many instances of each are well",
		Flags: withAPI(withOutput()...),
		Action: func(ctx *cli.Context) error {
			if _, err := arguments(ctx); err != nil {
				return err
			}
			c, err := newClient(ctx)
			if err != nil {
				return err
			}
			services, err := countServices(ctx, c)
			if err != nil {
				return err
			}
			return output(ctx, services, func(t *table) {
				heading := []any{"SERVICE", "INSTANCES", "PASSING", "WARNING", "CRITICAL", "TAGS"}
				if t.wide {
					heading = append(heading, "PORTS", "NODES")
				}
				t.heading(heading...)
				for _, s := range services {
					cells := []any{s.Service, s.Instances, inStatus("passing", s.Passing), inStatus("warning", s.Warning), inStatus("critical", s.Critical), strings.Join(s.Tags, ",")}
					if t.wide {
						cells = append(cells, strings.Trim(fmt.Sprint(s.Ports), "[]"), strings.Join(s.Nodes, ","))
					}
					t.row(cells...)
				}
			})
		},
	}
}

// serviceCount is a line of `rollcall services`.
type serviceCount struct {
	Service                               string
	Instances, Passing, Warning, Critical int
	Tags                                  []string
	Ports                                 []int    // that the instances are at, each once
	Nodes                                 []string // that the instances are on, each once
}

func countServices(ctx *cli.Context, c *client) ([]serviceCount, error) {
	names, err := c.serviceNames(ctx.Context)
	if err != nil {
		return nil, err
	}
	services := make([]serviceCount, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		services = append(services, serviceCount{Service: name, Tags: names[name]})
	}
	group, groupCtx := errgroup.WithContext(ctx.Context)
	group.SetLimit(8)
	for i := range services {
		group.Go(func() error {
			instances, err := c.instances(groupCtx, services[i].Service, nil)
			services[i].count(instances)
			return err
		})
	}
	return services, group.Wait()
}

func (s *serviceCount) count(instances []*entry) {
	s.Instances = len(instances)
	for _, i := range instances {
		switch i.status() {
		case "passing":
			s.Passing++
		case "warning":
			s.Warning++
		default:
			s.Critical++
		}
		s.Ports, s.Nodes = append(s.Ports, i.Service.Port), append(s.Nodes, i.Node.Node)
	}
	slices.Sort(s.Ports)
	slices.Sort(s.Nodes)
	s.Ports, s.Nodes = slices.Compact(s.Ports), slices.Compact(s.Nodes)
}
