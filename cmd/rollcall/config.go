package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"
)

// A setting comes from one of four places. From the weakest to the strongest
// they are: the default, the configuration file, the environment, and the
// command line.
type source struct {
	text string // where it is from, for people: "default", "rollcall.yaml:3:1", "ROLLCALL_TTL", "--ttl"
	code int    // the exit code of a mistake there
}

// configure reads the configuration file, where one is given, into those flags
// that are not set otherwise. The error names the place of every mistake.
func configure(ctx *cli.Context, has process) (*settings, error) {
	sources := make(map[string]source)
	for _, f := range serveFlags() {
		sources[f.Names()[0]] = sourceOf(ctx, f)
	}
	err := readConfig(ctx, sources)
	for _, name := range has.sockets.settings() {
		sources[name] = source{"the socket that the service manager passes", exitUsage}
	}
	if err != nil {
		return nil, err
	}
	s, mistakes := readSettings(ctx, has)
	if mistakes == nil {
		s.sources, s.values = sources, valuesOf(ctx)
		return s, nil
	}
	code, lines := exitConfig, make([]error, len(mistakes))
	for i, m := range mistakes {
		from := sources[m.flag]
		code = min(code, from.code)
		lines[i] = fmt.Errorf("%s: %w", from.text, m.err)
		if from.code == exitConfig {
			lines[i] = fmt.Errorf("%s: %w", from.text, m)
		}
	}
	return nil, &failure{code, errors.Join(lines...)}
}

// valuesOf returns the flags' values by the flags' names: texts, numbers, true, false,
// or lists of texts.
func valuesOf(ctx *cli.Context) map[string]any {
	values := make(map[string]any)
	for _, f := range serveFlags() {
		name := f.Names()[0]
		switch v := ctx.Value(name).(type) {
		case cli.StringSlice:
			values[name] = append([]string{}, separate(v.Value())...) // which is no null in JSON
		case bool, int:
			values[name] = v
		default:
			values[name] = fmt.Sprint(v)
		}
	}
	return values
}

// flow writes a setting's value as YAML on one line.
func flow(value any) string {
	if number, ok := value.(float64); ok { // from JSON, which knows no others
		value = int64(number)
	}
	var node yaml.Node
	_ = node.Encode(value) // which it can
	node.Style |= yaml.FlowStyle
	text, _ := yaml.Marshal(&node)
	return strings.TrimSpace(string(text))
}

// sourceOf tells where a flag's value is from, as long as no file was read.
func sourceOf(ctx *cli.Context, f cli.Flag) source {
	name := f.Names()[0]
	onCommandLine := func(arg string) bool {
		flag := strings.TrimLeft(arg, "-")
		return flag != arg && (flag == name || strings.HasPrefix(flag, name+"="))
	}
	switch env := f.(cli.DocGenerationFlag).GetEnvVars()[0]; {
	case !ctx.IsSet(name):
		return source{"default", exitUsage}
	case slices.ContainsFunc(ctx.Lineage()[1].Args().Slice(), onCommandLine):
		return source{"--" + name, exitUsage}
	default:
		return source{env, exitUsage}
	}
}

// readConfig sets the flags that the configuration file gives and nothing
// stronger does.
func readConfig(ctx *cli.Context, sources map[string]source) error {
	file := ctx.String("config")
	if file == "" {
		return nil
	}
	root, err := parseConfig(file)
	if err != nil || root == nil {
		return err
	}
	seen := make(map[string]int)
	var mistakes []error
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		name := key.Value
		at := fmt.Sprintf("%s:%d:%d", file, key.Line, key.Column)
		_, known := sources[name]
		switch line, twice := seen[name], seen[name] > 0; {
		case !known || name == "config":
			mistakes = append(mistakes, fmt.Errorf("%s: %s", at, unknownKey(ctx, name)))
		case twice:
			mistakes = append(mistakes, fmt.Errorf("%s: %s is set a second time, first in line %d", at, name, line))
		case sources[name].text == "default":
			if err := setFlag(ctx, name, value); err != nil {
				mistakes = append(mistakes, fmt.Errorf("%s: %s: %w", at, name, err))
			}
			sources[name] = source{at, exitConfig}
		}
		seen[name] = key.Line
	}
	if mistakes != nil {
		return &failure{exitConfig, errors.Join(mistakes...)}
	}
	return nil
}

// parseConfig returns the file's mapping, or nil when the file says nothing.
func parseConfig(file string) (*yaml.Node, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fail(exitConfig, "reading the configuration file: %w", err)
	}
	var document, second yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(data))
	if err := documents.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		text = regexp.MustCompile(`^line (\d+): `).ReplaceAllString(text, ":$1: ")
		if !strings.HasPrefix(text, ":") { // it names no line where that is the first
			text = ": " + text
		}
		return nil, fail(exitConfig, "%s%s", file, text)
	}
	if len(document.Content) == 0 {
		return nil, nil
	}
	if documents.Decode(&second) == nil {
		return nil, fail(exitConfig, "%s:%d:%d: a second document begins here, and one is all that is read", file, second.Content[0].Line, second.Content[0].Column)
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fail(exitConfig, "%s:%d:%d: the file must hold lines of the form NAME: VALUE", file, root.Line, root.Column)
	}
	return root, nil
}

// setFlag sets a flag to a YAML value. Lists are for flags that are repeatable.
func setFlag(ctx *cli.Context, name string, value *yaml.Node) error {
	values := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		if _, repeatable := ctx.Value(name).(cli.StringSlice); !repeatable {
			return errors.New("takes one value and no list")
		}
		values = value.Content
	}
	for _, v := range values {
		if v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
			return errors.New("has no value")
		}
		if err := ctx.Set(name, v.Value); err != nil {
			return fmt.Errorf("%q is %s", v.Value, notA(flagCalled(ctx.Command.Flags, name)))
		}
	}
	return nil
}

func unknownKey(ctx *cli.Context, name string) string {
	return fmt.Sprintf("there is no setting %q", name) + didYouMean(name, flagNames(ctx.Command.Flags, ""))
}
