package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
	"github.com/rollcall-dns/rollcall/registry/admin"
)

// numbered is a line of an import: what a catalog takes, and what that means.
type numbered struct {
	number   int
	body     map[string]json.RawMessage
	node     registry.Node
	from     string             // the node that it was on, in lower case; empty: on the same
	keepNode bool               // the node stays as it is there
	instance *registry.Instance // nil: the line is of a node alone
	checks   []registry.Check   // the node's and the instance's
}

// agentAlive is the check that Consul has of each agent. To its leader a node
// with it was once an agent's, and is removed when there is none. So it is
// imported only to say that an agent was down, and by another name.
const (
	agentAlive = "serfHealth"
	agentDown  = "serfHealth-exported"
)

// maxImportLine is how long a line may be: as long as the body of a request.
const maxImportLine = 1 << 20

// readImport reads all lines. Of a file with mistakes it returns none, and every
// mistake with its line.
func readImport(in io.Reader, name string, renamed map[string]string) ([]*numbered, error) {
	var lines []*numbered
	var mistakes []mistake
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, maxImportLine)
	n := 1
	for ; scanner.Scan(); n++ {
		text := bytes.TrimSpace(scanner.Bytes())
		if len(text) == 0 {
			continue
		}
		line, err := readLine(text, renamed)
		if err != nil {
			mistakes = append(mistakes, mistake{n, err})
			continue
		}
		line.number = n
		lines = append(lines, line)
	}
	switch err := scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		mistakes = append(mistakes, mistake{n, fmt.Errorf("the line is longer than %d octets", maxImportLine)})
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	mistakes = append(mistakes, contradictions(lines)...)
	return lines, joined(name, nothingImported(mistakes), mistakes)
}

// mistake is what is wrong with a line.
type mistake struct {
	line int
	err  error
}

// mistakesShown is how many mistakes are shown of a file that has more.
const mistakesShown = 10

// joined returns the mistakes in a file, each on a line that begins with its place,
// in the order of the file; nil without any.
func joined(name, title string, mistakes []mistake) error {
	if len(mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(mistakes, func(a, b mistake) int { return a.line - b.line })
	text := title
	for _, m := range mistakes[:min(len(mistakes), mistakesShown)] {
		text += fmt.Sprintf("\n%s:%d: %v", name, m.line, m.err)
	}
	if more := len(mistakes) - mistakesShown; more > 0 {
		text += fmt.Sprintf("\nand %d more", more)
	}
	return errors.New(text)
}

// nothingImported is the title of mistakes in a file.
func nothingImported(mistakes []mistake) string {
	return fmt.Sprintf("nothing is imported: there is something wrong in %s", several(len(mistakes), "line"))
}

// readLine reads a line, and judges it as rollcall would.
func readLine(text []byte, renamed map[string]string) (*numbered, error) {
	line := new(numbered)
	if err := json.Unmarshal(text, &line.body); err != nil || line.body == nil {
		return nil, errors.New("the line is no JSON object")
	}
	if _, err := admin.ReadRegistration(text); err != nil {
		return nil, err
	}
	if err := line.rewrite(renamed); err != nil {
		return nil, err
	}
	body, err := json.Marshal(line.body)
	if err != nil {
		return nil, err
	}
	registrations, err := admin.ReadRegistration(body)
	if err != nil {
		return nil, err
	}
	for _, r := range registrations {
		line.node, line.instance = r.Node, r.Instance // the instance's is the last
		line.checks = append(line.checks, r.Checks...)
	}
	if line.instance != nil {
		line.instance.ID = cmp.Or(line.instance.ID, line.instance.Service)
	}
	return line, line.judgeChecks()
}

// rewrite moves a line that was found to be well formed to another node, whose
// address and metadata are its own, where that is asked for. It also takes out
// what Consul says of its agent.
func (l *numbered) rewrite(renamed map[string]string) (err error) {
	spell(l.body, "ID", "Node", "TaggedAddresses", "NodeMeta", "SkipNodeUpdate", "Check", "Checks")
	var checks []map[string]json.RawMessage
	for _, field := range []string{"Check", "Checks"} {
		var some []map[string]json.RawMessage
		text, ok := l.body[field]
		switch {
		case !ok:
			continue
		case field == "Check":
			text = slices.Concat([]byte("["), text, []byte("]"))
		}
		if err := json.Unmarshal(text, &some); err != nil {
			return err
		}
		checks = append(checks, some...)
		delete(l.body, field)
	}
	for _, c := range checks {
		spell(c, "Node", "CheckID", "Status")
	}
	checks = slices.DeleteFunc(checks, func(c map[string]json.RawMessage) bool {
		return c == nil || textOf(c["CheckID"]) == agentAlive && textOf(c["Status"]) == registry.Passing.String()
	})
	from := strings.ToLower(textOf(l.body["Node"]))
	to, moved := renamed[from]
	if moved {
		l.from = from
		maps.DeleteFunc(l.body, func(field string, _ json.RawMessage) bool {
			return field == "ID" || field == "TaggedAddresses" || field == "NodeMeta"
		})
		l.body["Node"], l.body["SkipNodeUpdate"] = jsonText(to), json.RawMessage("true")
	}
	for _, c := range checks {
		if moved {
			c["Node"] = jsonText(to)
		}
		if textOf(c["CheckID"]) == agentAlive {
			c["CheckID"] = jsonText(agentDown)
		}
	}
	l.keepNode = string(l.body["SkipNodeUpdate"]) == "true"
	if len(checks) > 0 {
		l.body["Checks"], err = json.Marshal(checks)
	}
	return err
}

// spell gives the keys of an object these names: it may have them in any case
// and with underscores, as Consul takes them.
func spell(object map[string]json.RawMessage, names ...string) {
	for _, key := range slices.Collect(maps.Keys(object)) {
		is := func(name string) bool { return strings.EqualFold(name, strings.ReplaceAll(key, "_", "")) }
		if at := slices.IndexFunc(names, is); at >= 0 && names[at] != key {
			object[names[at]] = object[key]
			delete(object, key)
		}
	}
}

// textOf returns the text that a value is; nothing where it is none.
func textOf(raw json.RawMessage) (text string) {
	_ = json.Unmarshal(raw, &text)
	return text
}

func jsonText(text string) json.RawMessage {
	raw, _ := json.Marshal(text) // a string always has one
	return raw
}

// judgeChecks holds the checks to what one line can say.
func (l *numbered) judgeChecks() error {
	for _, c := range l.checks {
		switch {
		case c.InstanceID != "" && (l.instance == nil || c.InstanceID != l.instance.ID):
			return fmt.Errorf("ServiceID of the check %.80q is %.80q, which is not the line's instance", cmp.Or(c.ID, c.Name), c.InstanceID)
		case c.InstanceID == "" && c.ID == "" && c.Name == "":
			return errors.New("CheckID of a check is missing")
		}
	}
	return nil
}

// contradictions returns what of two lines cannot both be so. A status may: one
// that has moved while the export was written.
func contradictions(lines []*numbered) (mistakes []mistake) {
	instances, nodes, checks := make(map[string]*numbered), make(map[string]*numbered), make(map[string]*numbered)
	contradicts := func(line, earlier *numbered, what string) {
		mistakes = append(mistakes, mistake{line.number, fmt.Errorf("%s in line %d already", what, earlier.number)})
	}
	for _, line := range lines {
		key, node := line.key(), strings.ToLower(line.node.Name)
		if earlier := instances[key]; earlier != nil {
			contradicts(line, earlier, fmt.Sprintf("%s is", line.title()))
			continue
		}
		instances[key] = line
		if !line.keepNode && line.node.Address != "" {
			if earlier := nodes[node]; earlier != nil && earlier.node.Address != line.node.Address {
				contradicts(line, earlier, fmt.Sprintf("Address of the node %q is %s, and %s", line.node.Name, line.node.Address, earlier.node.Address))
			} else if earlier == nil {
				nodes[node] = line
			}
		}
		for _, c := range line.checks {
			id := node + "\x00" + c.ID
			if c.ID == "" {
				continue
			}
			if earlier := checks[id]; earlier != nil && earlier.ownerOf(c.ID) != c.InstanceID {
				contradicts(line, earlier, fmt.Sprintf("the check %.80q on the node %q belongs to the instance %.80q", c.ID, line.node.Name, earlier.ownerOf(c.ID)))
			} else if earlier == nil {
				checks[id] = line
			}
		}
	}
	return mistakes
}

// key tells the line from all others.
func (l *numbered) key() string {
	id := ""
	if l.instance != nil {
		id = l.instance.ID
	}
	return strings.ToLower(l.node.Name) + "\x00" + id
}

// title names what the line registers.
func (l *numbered) title() string {
	if l.instance == nil {
		return fmt.Sprintf("the node %q", l.node.Name)
	}
	return fmt.Sprintf("the instance %q on the node %q", l.instance.ID, l.node.Name)
}

// ownerOf returns the instance that one of the line's checks is about.
func (l *numbered) ownerOf(check string) string {
	at := slices.IndexFunc(l.checks, func(c registry.Check) bool { return c.ID == check })
	return l.checks[at].InstanceID
}

// differs tells whether registering the line changes what is there.
func (l *numbered) differs(there *numbered) bool {
	n, m := l.node, there.node
	if !l.keepNode && (n.Address != m.Address || n.ID != m.ID || !maps.Equal(n.TaggedAddresses, m.TaggedAddresses) || !maps.Equal(n.Meta, m.Meta)) {
		return true
	}
	if i, j := l.instance, there.instance; i != nil {
		weights := cmp.Or(i.Weights, registry.Weights{Passing: 1, Warning: 1})
		if i.Service != j.Service || i.Port != j.Port || i.Address != j.Address || weights != j.Weights || i.EnableTagOverride != j.EnableTagOverride ||
			!slices.Equal(i.Tags, j.Tags) || !maps.Equal(i.TaggedAddresses, j.TaggedAddresses) || !maps.Equal(i.Meta, j.Meta) {
			return true
		}
	}
	for _, c := range l.checks {
		is := func(d registry.Check) bool {
			return c.ID == d.ID && c.Name == d.Name && c.Notes == d.Notes && c.Status == d.Status && c.Definition.Equal(d.Definition)
		}
		if !slices.ContainsFunc(there.checks, is) {
			return true
		}
	}
	return false
}

// count says how much there is in lines.
func count(lines []*numbered) string {
	instances, nodes, checks := 0, make(map[string]bool), make(map[string]bool)
	for _, line := range lines {
		if line.instance != nil {
			instances++
		}
		node := strings.ToLower(line.node.Name)
		nodes[node] = true
		for n, c := range line.checks {
			checks[node+"\x00"+cmp.Or(c.ID, c.Name, fmt.Sprint(line.number, ":", n))] = true
		}
	}
	return fmt.Sprintf("%s on %s, %s", several(instances, "instance"), several(len(nodes), "node"), several(len(checks), "check"))
}

// several returns a number of things in words.
func several(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
