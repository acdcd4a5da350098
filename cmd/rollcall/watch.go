package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

func watchCommand() *cli.Command {
	return &cli.Command{
		Name:      "watch",
		Usage:     "print changes as they happen",
		ArgsUsage: "[SERVICE]",
		Description: "A line a change, until it is interrupted. When the connection breaks it is made anew,\n" +
			"and the changes that were missed are printed.",
		Flags:  withAPI(withOutput()...),
		Action: watch,
	}
}

// change is the data of an event of /v1/events.
type change struct {
	Index    uint64
	Node     string
	Service  *watchedService `json:",omitempty"`
	Status   string          `json:",omitempty"`
	Gone     bool            `json:",omitempty"`
	Services int             `json:",omitempty"`
}

type watchedService struct {
	ID, Service, Address string
	Port                 int
	Tags                 []string
}

func watch(ctx *cli.Context) error {
	args, err := arguments(ctx, "[SERVICE]")
	if err != nil {
		return err
	}
	c, err := newClient(ctx)
	if err != nil {
		return err
	}
	last := ""
	for tries := 0; ; tries++ {
		seen, err := c.follow(ctx.Context, last, func(kind string, data []byte) error {
			return printChange(ctx, args[0], kind, data)
		})
		switch {
		case ctx.Context.Err() != nil:
			return nil
		case err != nil && (tries == 0 || exitCode(err) != exitUnreachable):
			return err
		}
		if seen != "" {
			last = seen
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Context.Done():
			return nil
		}
	}
}

// follow reads events until the connection ends, and returns the last one's ID.
func (c *client) follow(ctx context.Context, last string, told func(kind string, data []byte) error) (string, error) {
	header := http.Header{"Accept": {"text/event-stream"}}
	if last != "" {
		header.Set("Last-Event-ID", last)
	}
	err := c.stream(ctx, "/v1/events", header, func(events io.Reader) (err error) {
		last, err = readEvents(events, last, told)
		return err
	})
	return last, err
}

// readEvents reads events to their end, and returns the last one's ID.
func readEvents(events io.Reader, last string, told func(kind string, data []byte) error) (string, error) {
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20)
	id, kind, data := last, "", ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		case "": // what has no such end was cut off
			if data == "" {
				continue
			}
			if err := told(kind, []byte(data)); err != nil {
				return last, err
			}
			last, kind, data = id, "", ""
		}
	}
	return last, nil
}

// printChange prints an event, if it is about the service that is watched.
func printChange(ctx *cli.Context, service, kind string, data []byte) error {
	var c change
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("reading an event: %w", err)
	}
	if service != "" && (c.Service == nil || !strings.EqualFold(c.Service.Service, service)) {
		return nil
	}
	whole := struct {
		Event string
		change
	}{kind, c}
	switch ctx.String("output") {
	case "json":
		return json.NewEncoder(ctx.App.Writer).Encode(whole)
	case "yaml":
		if _, err := io.WriteString(ctx.App.Writer, "---\n"); err != nil {
			return err
		}
		return printYAML(ctx.App.Writer, whole)
	}
	line := fmt.Sprintf("%d %s", c.Index, kind)
	switch {
	case c.Service != nil:
		line += fmt.Sprintf(" %s %s %s", c.Service.Service, c.Service.ID, c.Status)
	case kind == "reset":
		line += ": " + several(c.Services, "service")
	default:
		line += " " + c.Node
	}
	_, err := fmt.Fprintln(ctx.App.Writer, strings.TrimRight(oneLine(line), " ")) // what is gone has no status
	return err
}
