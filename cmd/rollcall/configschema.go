package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// schemaURL is where the schema of the configuration file is published.
const schemaURL = "https://raw.githubusercontent.com/rollcall-dns/rollcall/main/deploy/rollcall.schema.json"

func configSchemaCommand() *cli.Command {
	return &cli.Command{
		Name:  "config-schema",
		Usage: "print the JSON schema of the configuration file, for editors",
		Description: "An editor with a YAML language server completes and checks a file whose first line is\n" +
			"# yaml-language-server: $schema=FILE, where FILE has what this prints.",
		Action: func(ctx *cli.Context) error {
			if _, err := arguments(ctx); err != nil {
				return err
			}
			text, err := configSchema()
			if err == nil {
				_, err = ctx.App.Writer.Write(text)
			}
			return err
		},
	}
}

// choices are the values of settings that have a few.
var choices = map[string][]string{
	"registry":   {"embedded", "consul"},
	"log-level":  {"debug", "info", "warn", "error"},
	"log-format": {"auto", "text", "json"},
}

// schema is the part of JSON Schema (2020-12) that settings take.
type schema struct {
	Schema      string             `json:"$schema,omitempty"`
	ID          string             `json:"$id,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        any                `json:"type,omitempty"`
	Default     any                `json:"default,omitempty"`
	Enum        []string           `json:"enum,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Minimum     *int               `json:"minimum,omitempty"`
	Not         *schema            `json:"not,omitempty"`
	AnyOf       []*schema          `json:"anyOf,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Additional  *bool              `json:"additionalProperties,omitempty"`
}

// configSchema returns the schema of the configuration file, as the flags of serve
// have it.
func configSchema() ([]byte, error) {
	root := &schema{
		Schema: "https://json-schema.org/draft/2020-12/schema", ID: schemaURL,
		Title: "rollcall.yaml", Description: "The configuration file of rollcall serve: its keys are the names of the flags.",
		Type: []string{"object", "null"}, Properties: make(map[string]*schema), Additional: new(bool),
	}
	for _, f := range serveFlags() {
		if name := f.Names()[0]; name != "config" {
			root.Properties[name] = schemaOf(f)
		}
	}
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	return append(text, '\n'), nil
}

// schemaOf returns the schema of a flag's value. A default that is another on each
// machine is told in words.
func schemaOf(f cli.Flag) *schema {
	s := new(schema)
	var usage, defaults string
	switch f := f.(type) {
	case *cli.BoolFlag:
		usage, s.Type, s.Default = f.Usage, "boolean", f.Value
	case *cli.IntFlag:
		usage, defaults, s.Type, s.Minimum = f.Usage, f.DefaultText, "integer", new(int)
		if defaults == "" {
			s.Default = f.Value
		}
	case *cli.DurationFlag:
		usage, defaults, s.Type = f.Usage, f.DefaultText, "string"
		s.Pattern = `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
		if f.Name == "max-stale" { // which a zero would be no bound for
			s.Not = &schema{Pattern: `^[^1-9]*$`}
		}
		if defaults == "" {
			s.Default = f.Value.String()
		}
	case *cli.StringSliceFlag:
		usage, defaults = f.Usage, f.DefaultText
		s.AnyOf = []*schema{{Type: "string"}, {Type: "array", Items: &schema{Type: "string"}}}
		if defaults == "" && f.Value != nil {
			s.Default = f.Value.Value()
		}
	case *cli.StringFlag:
		usage, defaults, s.Type, s.Enum = f.Usage, f.DefaultText, "string", choices[f.Name]
		if defaults == "" && f.Value != "" {
			s.Default = f.Value
		}
	}
	s.Description = strings.ReplaceAll(usage, "`", "")
	if defaults != "" {
		s.Description += " (default: " + defaults + ")"
	}
	return s
}
