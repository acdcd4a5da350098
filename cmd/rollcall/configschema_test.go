package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// TestTheSchemaIsTrue holds the published schema to the flags that there are.
func TestTheSchemaIsTrue(t *testing.T) {
	const file = "../../deploy/rollcall.schema.json"
	text, err := configSchema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, text) {
		t.Error("deploy/rollcall.schema.json is not what the flags say: go test ./cmd/rollcall -run Schema -update writes it")
	}
}

func TestTheSchemaAcceptsWhatServeDoes(t *testing.T) {
	example, err := os.ReadFile("../../deploy/rollcall.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if first, _, _ := strings.Cut(string(example), "\n"); first != "# yaml-language-server: $schema="+schemaURL {
		t.Errorf("the example begins with %q", first)
	}
	text, err := configSchema()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(schemaURL, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(schemaURL)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, yaml string
		ok         bool
	}{
		{"the example", string(example), true},
		{"nothing", "", true},
		{"one of several", "zone: a.example", true},
		{"several", "zone: [a.example, b.example]", true},
		{"a duration in parts", "ttl: 1h30m", true},
		{"an end to what is stale", "max-stale: 10m", true},
		{"an end before the beginning", "max-stale: 0m0s", false},
		{"an unknown key", "tll: 5s", false},
		{"a duration without a unit", "ttl: 5", false},
		{"a list for what is one", "node: [a, b]", false},
		{"none of the levels", "log-level: loud", false},
		{"a number that is less than none", "rate-limit: -1", false},
		{"a word for a number", "max-answers: many", false},
		{"a word for yes or no", "only-passing: maybe", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var value any
			if err := yaml.Unmarshal([]byte(row.yaml), &value); err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(value); (err == nil) != row.ok {
				t.Errorf("%v", err)
			}
		})
	}
}
