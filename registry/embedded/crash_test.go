package embedded

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
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
		return registry.Check{ID: id + n, Notes: id, Definition: &registry.Definition{TTL: time.Minute}}
	}
	return registry.Registration{
		Instance: &registry.Instance{Service: "web", ID: id, Meta: map[string]string{"id": id}},
		Checks:   []registry.Check{check("-1"), check("-2")},
	}
}

func isWhole(i *registry.Instance) bool {
	return i != nil && i.Meta["id"] == i.ID && len(i.Checks) == 2 && i.Checks[0].Notes == i.ID && i.Checks[1].Notes == i.ID
}

// TestKilledWhileRegisteringNothingAnsweredIsLost kills a process that writes, 8
// times, with ROLLCALL_LONG 200 times, and looks at the file each time.
func TestKilledWhileRegisteringNothingAnsweredIsLost(t *testing.T) {
	rounds := 8
	if os.Getenv("ROLLCALL_LONG") != "" {
		rounds = 200
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
	most := 100 + rand.IntN(400)
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
