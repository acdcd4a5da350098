package embedded

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/rollcall-dns/rollcall/registry"
)

// A record is the CRC32C of its key and its text, and the text: a node or an
// instance as JSON, with all its checks and without what is empty. What a check
// is about is not said again. The types here are the format of the file; a
// field that is added to a noun is added here, too, and one that is renamed
// there keeps its name here.

type nodeRecord struct {
	Name            string
	ID              string            `json:",omitzero"`
	Address         string            `json:",omitzero"`
	TaggedAddresses map[string]string `json:",omitempty"`
	Meta            map[string]string `json:",omitempty"`
	Checks          []checkRecord     `json:",omitempty"`
	CreateIndex     uint64
	ModifyIndex     uint64
}

type instanceRecord struct {
	Node              string
	ID                string
	Service           string
	Tags              []string                          `json:",omitempty"`
	Address           string                            `json:",omitzero"`
	TaggedAddresses   map[string]registry.TaggedAddress `json:",omitempty"`
	Port              int                               `json:",omitzero"`
	Ports             []registry.Port                   `json:",omitempty"`
	Meta              map[string]string                 `json:",omitempty"`
	Weights           registry.Weights
	EnableTagOverride bool          `json:",omitzero"`
	Checks            []checkRecord `json:",omitempty"`
	CreateIndex       uint64
	ModifyIndex       uint64
}

type checkRecord struct {
	ID          string
	Name        string           `json:",omitzero"`
	Notes       string           `json:",omitzero"`
	Type        string           `json:",omitzero"`
	Status      registry.Status  `json:",omitzero"`
	Output      string           `json:",omitzero"`
	Since       time.Time        `json:",omitzero"`
	Until       time.Time        `json:",omitzero"`
	Definition  definitionRecord `json:",omitzero"`
	CreateIndex uint64
	ModifyIndex uint64
}

// definitionRecord has the fields of registry.Definition: each is converted
// into the other.
type definitionRecord struct {
	HTTP             string              `json:",omitzero"`
	Method           string              `json:",omitzero"`
	Header           map[string][]string `json:",omitempty"`
	Body             string              `json:",omitzero"`
	TCP              string              `json:",omitzero"`
	UDP              string              `json:",omitzero"`
	GRPC             string              `json:",omitzero"`
	DNS              string              `json:",omitzero"`
	TLSServerName    string              `json:",omitzero"`
	TLSSkipVerify    bool                `json:",omitzero"`
	GRPCUseTLS       bool                `json:",omitzero"`
	DisableRedirects bool                `json:",omitzero"`

	TTL      time.Duration `json:",omitzero"`
	Interval time.Duration `json:",omitzero"`
	Timeout  time.Duration `json:",omitzero"`

	SuccessBeforePassing           int           `json:",omitzero"`
	FailuresBeforeWarning          int           `json:",omitzero"`
	FailuresBeforeCritical         int           `json:",omitzero"`
	DeregisterCriticalServiceAfter time.Duration `json:",omitzero"`
}

func recordOfNode(n *registry.Node) nodeRecord {
	return nodeRecord{
		Name: n.Name, ID: n.ID, Address: n.Address, TaggedAddresses: n.TaggedAddresses, Meta: n.Meta,
		Checks: recordsOfChecks(n.Checks), CreateIndex: n.CreateIndex, ModifyIndex: n.ModifyIndex,
	}
}

func recordOfInstance(i *registry.Instance) instanceRecord {
	return instanceRecord{
		Node: i.Node, ID: i.ID, Service: i.Service, Tags: i.Tags, Address: i.Address,
		TaggedAddresses: i.TaggedAddresses, Port: i.Port, Ports: i.Ports, Meta: i.Meta, Weights: i.Weights,
		EnableTagOverride: i.EnableTagOverride,
		Checks:            recordsOfChecks(i.Checks), CreateIndex: i.CreateIndex, ModifyIndex: i.ModifyIndex,
	}
}

func recordsOfChecks(checks []*registry.Check) []checkRecord {
	records := make([]checkRecord, len(checks))
	for n, c := range checks {
		records[n] = checkRecord{
			ID: c.ID, Name: c.Name, Notes: c.Notes, Type: c.Type, Status: c.Status, Output: c.Output, Since: c.Since, Until: c.Until,
			Definition: definitionRecord(*c.Definition), CreateIndex: c.CreateIndex, ModifyIndex: c.ModifyIndex,
		}
	}
	return records
}

// node returns the node; the leases of its checks count from now.
func (r *nodeRecord) node(now time.Time) *registry.Node {
	return &registry.Node{
		Name: r.Name, ID: r.ID, Address: r.Address, TaggedAddresses: r.TaggedAddresses, Meta: r.Meta,
		Checks:      checksOf(r.Checks, registry.Check{Node: r.Name}, now),
		CreateIndex: r.CreateIndex, ModifyIndex: r.ModifyIndex,
	}
}

// instance returns the instance; the leases of its checks count from now.
func (r *instanceRecord) instance(now time.Time) *registry.Instance {
	return &registry.Instance{
		Node: r.Node, ID: r.ID, Service: r.Service, Tags: r.Tags, Address: r.Address,
		TaggedAddresses: r.TaggedAddresses, Port: r.Port, Ports: r.Ports, Meta: r.Meta, Weights: r.Weights,
		EnableTagOverride: r.EnableTagOverride,
		Checks:            checksOf(r.Checks, registry.Check{Node: r.Node, InstanceID: r.ID, Service: r.Service}, now),
		CreateIndex:       r.CreateIndex, ModifyIndex: r.ModifyIndex,
	}
}

// checksOf returns checks that are about what about says. No heartbeat is late
// before a full TTL has gone by since the start: their leases count from now.
func checksOf(records []checkRecord, about registry.Check, now time.Time) []*registry.Check {
	if len(records) == 0 {
		return nil
	}
	checks := make([]*registry.Check, len(records))
	for n, r := range records {
		c := about
		c.ID, c.Name, c.Notes, c.Type, c.Status, c.Output, c.Since, c.Until = r.ID, r.Name, r.Notes, r.Type, r.Status, r.Output, r.Since, r.Until
		definition := registry.Definition(r.Definition)
		c.Definition, c.CreateIndex, c.ModifyIndex = &definition, r.CreateIndex, r.ModifyIndex
		c.Lease = registry.NewLease(now)
		checks[n] = &c
	}
	return checks
}

func nodeKey(n *registry.Node) []byte { return []byte(strings.ToLower(n.Name)) }

func instanceKey(i *registry.Instance) []byte {
	return []byte(strings.ToLower(i.Node) + "\x00" + i.ID)
}

// recordText is how the text of a record is written, and read: times in nanoseconds,
// as they have always been, maps in an order, and what is no UTF-8 replaced.
var recordText = json.JoinOptions(jsonv1.FormatDurationAsNano(true), json.Deterministic(true), jsontext.AllowInvalidUTF8(true))

// encode returns the record of a value under a key.
func encode(key []byte, value any) ([]byte, error) {
	text, err := json.Marshal(value, recordText)
	if err != nil {
		return nil, fmt.Errorf("encode %q: %w", key, err)
	}
	record := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)), checksum(key, text))
	return append(record, text...), nil
}

// decode reads a record into a value, or fails where it is not the one that was
// written under the key.
func decode(key, record []byte, value any) error {
	if len(record) < 4 || digest(record) != checksum(key, record[4:]) {
		return fmt.Errorf("%w: the record %q is not what was written", errDamaged, key)
	}
	if err := json.Unmarshal(record[4:], value, recordText); err != nil {
		return fmt.Errorf("%w: the record %q: %w", errDamaged, key, err)
	}
	return nil
}

// digest returns the checksum that a record begins with.
func digest(record []byte) uint32 { return binary.BigEndian.Uint32(record) }

func checksum(key, text []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // made once by the library
	return crc32.Update(crc32.Checksum(key, table), table, text)
}
