package embedded

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-dns/rollcall/registry"
)

// registerForEver is the process that gets killed: 16 clients register, and
// print what was answered.
func registerForEver(dir string) {
	r, err := Open(context.Background(), Config{Dir: dir, Node: registry.Node{Name: "n1", Address: "10.0.0.1"}})
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	var out sync.Mutex
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for {
				id := fmt.Sprintf("w%d", rand.Uint64())
				if err := r.Register(context.Background(), whole(id)); err != nil {
					fmt.Println("failed:", err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(id)
				out.Unlock()
			}
		})
	}
	clients.Wait()
}

// whole is a registration whose parts tell that they belong together.
func whole(id string) registry.Registration {
	check := func(n string) registry.Check {
		return registry.Check{ID: id + n, Notes: id, Definition: registry.Definition{TTL: time.Minute}}
	}
	return registry.Registration{
		Instance: &registry.Instance{Service: "web", ID: id, Meta: map[string]string{"id": id}},
		Checks:   []registry.Check{check("-1"), check("-2")},
	}
}

func isWhole(i *registry.Instance) bool {
	return i != nil && i.Meta["id"] == i.ID && len(i.Checks) == 2 && i.Checks[0].Notes == i.ID && i.Checks[1].Notes == i.ID
}

func TestKilledWhileRegisteringNothingAnsweredIsLost(t *testing.T) {
	rounds := 8
	if os.Getenv("ROLLCALL_LONG") != "" {
		rounds = 50
	}
	dir := t.TempDir()
	answered := make(map[string]bool)
	for round := range rounds {
		for _, id := range registerAndKill(t, dir) {
			answered[id] = true
		}
		r := open(t, dir)
		for id := range answered {
			if !isWhole(r.View().Instance("n1", id)) {
				t.Fatalf("round %d: %s was answered and is %+v", round, id, r.View().Instance("n1", id))
			}
		}
		for i := range r.View().Instances() {
			if !isWhole(i) {
				t.Fatalf("round %d: half of one: %+v", round, i)
			}
		}
		closed(t, r)
	}
	t.Logf("%d rounds, %d registrations answered, none lost", rounds, len(answered))
}

// registerAndKill runs registerForEver, kills it, and returns what was answered.
func registerAndKill(t *testing.T, dir string) (answered []string) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "ROLLCALL_TEST_REGISTER_IN="+dir)
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	most := 50 + rand.IntN(400)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "failed:") {
			t.Errorf("a start or a registration %s", lines.Text())
		}
		if answered = append(answered, lines.Text()); len(answered) == most {
			_ = child.Process.Kill()
		}
	}
	_ = child.Wait()
	if len(answered) < most {
		t.Errorf("only %d registrations were answered", len(answered))
	}
	// The last line may be cut short.
	return answered[:len(answered)-1]
}

func TestDamageIsFoundAndNeverServed(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	for n := range 50 {
		enrol(t, r, whole(fmt.Sprintf("w%d", n)))
	}
	closed(t, r)
	good, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	backup, err := os.ReadFile(filepath.Join(dir, backupName))
	if err != nil {
		t.Fatal(err)
	}
	rounds := 200
	if os.Getenv("ROLLCALL_LONG") != "" {
		rounds = 1000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		dir := t.TempDir()
		write(t, filepath.Join(dir, fileName), mutate(rng, good))
		write(t, filepath.Join(dir, backupName), backup)
		r := open(t, dir)
		if got := r.View().InstancesLen(); got != 50 {
			t.Errorf("%d instances, want 50, from the file or from the backup", got)
		}
		for i := range r.View().Instances() {
			if !isWhole(i) {
				t.Errorf("half of one: %+v", i)
			}
		}
		closed(t, r)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// mutate returns a copy that is cut short, or has bits flipped or pages zeroed.
func mutate(rng *rand.Rand, data []byte) []byte {
	data = append([]byte(nil), data...)
	switch rng.IntN(3) {
	case 0:
		return data[:rng.IntN(len(data))]
	case 1:
		for range 1 + rng.IntN(20) {
			data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
		}
	case 2:
		page := rng.IntN(len(data)/4096) * 4096
		clear(data[page : page+4096])
	}
	return data
}
