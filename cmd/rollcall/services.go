package main

import (
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
		Flags: withAPI(outputFlag()),
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
				t.row("SERVICE", "INSTANCES", "PASSING", "WARNING", "CRITICAL", "TAGS")
				for _, s := range services {
					t.row(s.Service, s.Instances, s.Passing, s.Warning, s.Critical, strings.Join(s.Tags, ","))
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
	}
}
