package consul

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/rollcall-dns/rollcall/registry"
)

// The view on disk is a file of JSON lines: a head, the nodes, the instances,
// and at the end a checksum of all that is before it. A file that does not check
// out is as good as none. It is replaced whole, by renaming.

const (
	saveEvery = 10 * time.Second
	saveFirst = time.Second // until there is something: whoever is killed soon must not be left with nothing

	checksum = "crc32c "

	viewSuffix = ".view"
)

// kept is the head of the file, and the View that was made of the rest.
type kept struct {
	Written     time.Time
	Agent       agent
	Index       uint64 // of the View
	ConsulIndex uint64 // of the list of services
	Filtered    bool   // the token did not see all of it
	view        *registry.View
}

// line is one node or one instance.
type line struct {
	Node     *registry.Node     `json:",omitempty"`
	Instance *registry.Instance `json:",omitempty"`
}

// cacheName names a file for each Consul that there may be a view of.
func cacheName(c Config) string {
	address := c.Address
	if address == "" {
		address = api.DefaultConfig().Address
	}
	return "consul-" + strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '-':
			return r
		}
		return '_'
	}, address+"-"+c.Datacenter) + viewSuffix
}

// keepCache writes the View to disk now and then when it has changed.
func (r *Registry) keepCache(ctx context.Context) error {
	pause := saveFirst
	for {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		began := time.Now()
		saved, err := r.saveCache()
		if err != nil {
			r.log.Error("the view cannot be kept on disk", "file", r.cache, "err", err)
		}
		if saved || err != nil {
			pause = max(saveEvery, 50*time.Since(began))
		}
	}
}

// saveCache writes the View to disk if it is complete and has changed, and tells
// whether it has.
func (r *Registry) saveCache() (saved bool, err error) {
	r.mu.Lock()
	head := kept{Agent: *r.agent.Load(), ConsulIndex: r.services.index, Filtered: r.services.filtered, view: r.View()}
	due := r.cache != "" && r.complete && r.unsaved.Swap(false)
	r.mu.Unlock()
	if !due {
		return false, nil
	}
	head.Written, head.Index = time.Now(), head.view.Index()
	if err := writeCache(r.cache, &head); err != nil {
		r.unsaved.Store(true)
		return false, fmt.Errorf("keeping the view in %s: %w", r.cache, err)
	}
	return true, nil
}

func writeCache(path string, k *kept) error {
	return replaceFile(path, func(file io.Writer) error {
		sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
		buffered := bufio.NewWriterSize(file, 1<<16)
		lines := json.NewEncoder(io.MultiWriter(sum, buffered))
		if err := lines.Encode(k); err != nil {
			return err
		}
		for n := range k.view.Nodes() {
			if err := lines.Encode(line{Node: n}); err != nil {
				return err
			}
		}
		for i := range k.view.Instances() {
			if err := lines.Encode(line{Instance: i}); err != nil {
				return err
			}
		}
		_, _ = buffered.WriteString(seal(sum.Sum32())) // Flush tells of what failed
		return buffered.Flush()
	})
}

// loadCache reads the View from disk, whose index is beyond all that were reserved; nil
// if there is none.
func (r *Registry) loadCache() (*kept, error) {
	if r.cache == "" {
		return nil, nil
	}
	data, err := os.ReadFile(r.cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseCache(data, r.reserved.upTo)
}

// parseCache returns the View of a file, with an index beyond another.
func parseCache(data []byte, beyond uint64) (*kept, error) {
	text, err := unsealed(data)
	if err != nil {
		return nil, err
	}
	lines := json.NewDecoder(bytes.NewReader(text))
	var k kept
	if err := lines.Decode(&k); err != nil {
		return nil, fmt.Errorf("reading the head: %w", err)
	}
	likely := k.Index + reserveMore // should it not be known what was reserved
	txn := registry.NewView(k.Agent.Datacenter).Txn(max(likely, beyond) + 1)
	for lines.More() {
		var l line
		if err := lines.Decode(&l); err != nil {
			return nil, fmt.Errorf("reading at octet %d: %w", lines.InputOffset(), err)
		}
		if l.Node != nil {
			lease(l.Node.Checks)
			txn.PutNode(l.Node)
		}
		if l.Instance != nil {
			lease(l.Instance.Checks)
			txn.PutInstance(l.Instance)
		}
	}
	k.view = txn.Commit().View
	return &k, nil
}

// seal returns the last line of a file, which says that all before it is there.
func seal(sum uint32) string { return fmt.Sprintf("%s%08x\n", checksum, sum) }

// unsealed returns what is before the last line of a file, if that is its seal.
func unsealed(data []byte) (text []byte, err error) {
	end := bytes.LastIndex(data, []byte(checksum))
	if end < 0 {
		return nil, errors.New("the file has no end")
	}
	if string(data[end:]) != seal(crc32.Checksum(data[:end], crc32.MakeTable(crc32.Castagnoli))) {
		return nil, errors.New("the file's checksum is wrong")
	}
	return data[:end], nil
}

func lease(checks []*registry.Check) {
	now := time.Now()
	for _, c := range checks {
		c.Lease = registry.NewLease(now)
	}
}
