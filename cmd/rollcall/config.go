package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
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

	file  string     // where it is a configuration file, that, and in it
	value *yaml.Node // the setting's value; nil: it is none
}

// of returns the source of a mistake: in a configuration file, the one of several values
// that it names, or else all of them.
func (s source) of(mistake error) string {
	if s.value == nil {
		return s.text
	}
	at, longest := s.value, 0
	for _, each := range s.value.Content {
		_, path, _ := strings.Cut(each.Value, "=")
		for _, text := range []string{strconv.Quote(each.Value), each.Value, path} {
			if len(text) >= longest && text != "" && strings.Contains(mistake.Error(), text) {
				at, longest = each, len(text)
			}
		}
		if strings.HasPrefix(mistake.Error(), strconv.Quote(each.Value)) {
			break // what follows may be an example
		}
	}
	return position(s.file, at)
}

// position is how a place in a file is written.
func position(file string, at *yaml.Node) string {
	return fmt.Sprintf("%s:%d:%d", file, at.Line, at.Column)
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
		sources[name] = source{text: "the socket that the service manager passes", code: exitUsage}
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
			lines[i] = fmt.Errorf("%s: %w", from.of(m.err), m)
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
		return source{text: "default", code: exitUsage}
	case slices.ContainsFunc(ctx.Lineage()[1].Args().Slice(), onCommandLine):
		return source{text: "--" + name, code: exitUsage}
	default:
		return source{text: env, code: exitUsage}
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
		at := position(file, key)
		_, known := sources[name]
		switch line, twice := seen[name], seen[name] > 0; {
		case !known || name == "config":
			mistakes = append(mistakes, fmt.Errorf("%s: %s", at, unknownKey(name)))
		case twice:
			mistakes = append(mistakes, fmt.Errorf("%s: %s is set a second time, first in line %d", at, name, line))
		case sources[name].text == "default":
			if wrong, err := setFlag(ctx, name, value); err != nil {
				mistakes = append(mistakes, fmt.Errorf("%s: %s: %w", position(file, wrong), name, err))
			}
			sources[name] = source{at, exitConfig, file, value}
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
		return nil, fail(exitConfig, "%s%s", file, syntaxError(err))
	}
	if len(document.Content) == 0 {
		return nil, nil
	}
	if documents.Decode(&second) == nil {
		return nil, fail(exitConfig, "%s: a second document begins here, and one is all that is read", position(file, second.Content[0]))
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fail(exitConfig, "%s: the file must hold lines of the form NAME: VALUE", position(file, root))
	}
	return root, nil
}

// syntaxError writes what the parser of YAML says with the line first, as
// positions are. It names no line where that is the first, and where a list or a mapping
// goes on wrongly the one before.
func syntaxError(err error) string {
	line, text := 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.HasPrefix(text, "unknown anchor") {
		return ": " + text
	}
	goesOnWrongly := false
	if named := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(text); named != nil {
		text = strings.TrimPrefix(text, named[0])
		line, _ = strconv.Atoi(named[1])
		goesOnWrongly = regexp.MustCompile(`^did not find expected (',' or|key|'-')`).MatchString(text)
	}
	if goesOnWrongly {
		line++
	}
	return fmt.Sprintf(":%d: %s", line, text)
}

// setFlag sets a flag to a YAML value, or says what of it is wrong. Lists are for flags
// that are repeatable.
func setFlag(ctx *cli.Context, name string, value *yaml.Node) (wrong *yaml.Node, err error) {
	values, takes := []*yaml.Node{value}, "one value"
	if _, repeatable := ctx.Value(name).(cli.StringSlice); repeatable {
		takes = "a value or a list of values"
		if value.Kind == yaml.SequenceNode {
			values = value.Content
		}
	}
	for _, v := range values {
		switch {
		case v.Kind == yaml.SequenceNode && v == value:
			return v, fmt.Errorf("takes %s and no list", takes)
		case v.Kind == yaml.SequenceNode:
			return v, fmt.Errorf("takes %s and no list in a list", takes)
		case v.Kind == yaml.MappingNode:
			return v, fmt.Errorf("takes %s and no mapping, as {a: b} is", takes)
		case v.Kind != yaml.ScalarNode:
			return v, fmt.Errorf("takes %s and no alias", takes)
		case v.Tag == "!!null":
			return v, errors.New("has no value")
		}
		if err := ctx.Set(name, v.Value); err != nil {
			return v, fmt.Errorf("%q is %s", v.Value, notA(flagCalled(ctx.Command.Flags, name)))
		}
	}
	return nil, nil
}

// unknownKey says what is wrong with a key that is no setting.
func unknownKey(name string) string {
	switch name {
	case "config":
		return "config names this file, and can be a flag or in the environment alone"
	case "print":
		return "print is a flag of check-config and no setting"
	}
	return fmt.Sprintf("there is no setting %q", name) + didYouMean(name, settingNames())
}

// settingNames returns the keys that the file may have.
func settingNames() []string {
	return slices.DeleteFunc(flagNames(serveFlags(), ""), func(name string) bool { return name == "config" })
}
