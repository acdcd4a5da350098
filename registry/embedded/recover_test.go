package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/rollcall-dns/rollcall/registry"
)

// openLogged opens a registry, and returns what it logged as errors.
func openLogged(t testing.TB, dir string) (r *Registry, log *bytes.Buffer) {
	t.Helper()
	log = new(bytes.Buffer)
	r, err := Open(context.Background(), Config{
		Dir: dir, Node: registry.Node{Name: "n1", Address: "10.0.0.1"},
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, log
}

// ids returns the IDs of all instances, each of them whole.
func ids(t testing.TB, r *Registry) (ids []string) {
	t.Helper()
	for i := range r.View().Instances() {
		if !isWhole(i) {
			t.Errorf("half of one: %+v", i)
		}
		ids = append(ids, i.ID)
	}
	return ids
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// beforeAndAfter returns a file with 80 instances, 10 of them registered after
// its backup, as a restart and as a kill leaves it; and what each holds.
func beforeAndAfter(t *testing.T) (atRest, killed, backup []byte, all, older []string) {
	t.Helper()
	dir := t.TempDir()
	r := open(t, dir)
	for n := range 70 {
		enrol(t, r, whole(fmt.Sprintf("w%02d", n)))
	}
	older = ids(t, r)
	closed(t, r)
	backup = read(t, filepath.Join(dir, backupName))
	r = open(t, dir)
	for n := range 10 {
		enrol(t, r, whole(fmt.Sprintf("x%02d", n)))
	}
	all = ids(t, r)
	killed = read(t, filepath.Join(dir, fileName))
	closed(t, r)
	return read(t, filepath.Join(dir, fileName)), killed, backup, all, older
}

func TestDamageIsFoundAndNeverServed(t *testing.T) {
	atRest, killed, backup, all, older := beforeAndAfter(t)
	rounds := 200
	if os.Getenv("ROLLCALL_LONG") != "" {
		rounds = 1000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	outcomes := make(map[string]int)
	for round := range rounds {
		file, lastMayBeLost := atRest, false
		if round%2 == 0 {
			file, lastMayBeLost = killed, true
		}
		dir := t.TempDir()
		write(t, filepath.Join(dir, fileName), mutate(rng, file))
		write(t, filepath.Join(dir, backupName), backup)
		r, log := openLogged(t, dir)
		got := ids(t, r)
		enrol(t, r, whole("y"))
		closed(t, r)
		loud := strings.Contains(log.String(), "DAMAGED")
		switch {
		case cmp.Equal(got, all):
			outcomes["whole"]++
		case loud && cmp.Equal(got, older):
			outcomes["from the backup"]++
		case loud && lastMayBeLost && cmp.Equal(got, all[:len(all)-1]):
			outcomes["without the last, and said so"]++
		default:
			t.Errorf("round %d: %d instances, said loudly: %v", round, len(got), loud)
		}
		// What was written to it since is there after a restart, and no damage shows later.
		r, log = openLogged(t, dir)
		if diff := cmp.Diff(append(got, "y"), ids(t, r)); diff != "" || log.Len() > 0 {
			t.Errorf("round %d, after a restart: log %q, instances (-want +got)\n%s", round, log, diff)
		}
		closed(t, r)
	}
	t.Logf("outcomes: %v", outcomes)
}

// TestAFileCutAtAnyPageIsFound cuts the file short at each of its pages, as a disk does
// that forgets what was written last, and puts files in its place that are none of ours.
func TestAFileCutAtAnyPageIsFound(t *testing.T) {
	atRest, _, backup, all, older := beforeAndAfter(t)
	foreign := foreignDatabase(t)
	files := map[string][]byte{"of another program": foreign, "one octet": {0}, "text": []byte(strings.Repeat("text\n", 5000))}
	for size := os.Getpagesize(); size < len(atRest); size += os.Getpagesize() {
		files[fmt.Sprint("cut to ", size)] = atRest[:size]
	}
	outcomes := make(map[string]int)
	for name, file := range files {
		dir := t.TempDir()
		write(t, filepath.Join(dir, fileName), file)
		write(t, filepath.Join(dir, backupName), backup)
		r, log := openLogged(t, dir)
		switch got, loud := ids(t, r), strings.Contains(log.String(), "DAMAGED"); {
		case cmp.Equal(got, all):
			outcomes["whole"]++
		case loud && cmp.Equal(got, older):
			outcomes["from the backup"]++
		default:
			t.Errorf("%s: %d instances, said loudly: %v", name, len(got), loud)
		}
		closed(t, r)
	}
	t.Logf("%d files: %v", len(files), outcomes)
}

// TestEveryOctetThatLeadsToARecordIsHeldAgainstTheOthers flips a bit of what stands in
// the file beside the records: of pages that lead to others, with the first keys of
// these, of the list of free pages, and of the buckets. Nothing that is then registered may
// be lost, and nothing else by it.
func TestEveryOctetThatLeadsToARecordIsHeldAgainstTheOthers(t *testing.T) {
	atRest, _, backup, all, older := beforeAndAfter(t)
	octets := leading(t, atRest)
	rounds := min(len(octets), 100)
	if os.Getenv("ROLLCALL_LONG") != "" {
		rounds = len(octets)
	}
	outcomes := make(map[string]int)
	for _, n := range rand.Perm(len(octets))[:rounds] {
		at, bit := octets[n], byte(1)<<rand.IntN(8)
		file := bytes.Clone(atRest)
		file[at] ^= bit
		dir := t.TempDir()
		write(t, filepath.Join(dir, fileName), file)
		write(t, filepath.Join(dir, backupName), backup)
		r, log := openLogged(t, dir)
		got, loud := ids(t, r), strings.Contains(log.String(), "DAMAGED")
		switch {
		case cmp.Equal(got, all) && loud:
			outcomes["whole, and said so"]++
		case cmp.Equal(got, all):
			outcomes["whole"]++
		case loud && cmp.Equal(got, older):
			outcomes["from the backup"]++
		default:
			t.Errorf("octet %d of page %d, bit %#x: %d instances, said loudly: %v", at%os.Getpagesize(), at/os.Getpagesize(), bit, len(got), loud)
		}
		changeAll(t, r, got)
		closed(t, r)
		r, log = openLogged(t, dir)
		if diff := cmp.Diff(got, ids(t, r)); diff != "" || log.Len() > 0 {
			t.Errorf("octet %d of page %d, bit %#x, after a restart: log %q, instances (-want +got)\n%s", at%os.Getpagesize(), at/os.Getpagesize(), bit, log, diff)
		}
		closed(t, r)
	}
	t.Logf("%d of %d octets: %v", rounds, len(octets), outcomes)
}

// TestAPageThatLeadsInACircleIsFound has a page lead to itself, which whoever goes down
// from there without a look at where it was never comes back from.
func TestAPageThatLeadsInACircleIsFound(t *testing.T) {
	atRest, _, backup, _, older := beforeAndAfter(t)
	circles := 0
	for _, id := range inUse(t, atRest) {
		at := id * os.Getpagesize()
		p, _ := newPage(atRest[at:])
		if p.kind != pageOfPages {
			continue
		}
		for n := range p.count {
			file := bytes.Clone(atRest)
			binary.NativeEndian.PutUint64(file[at+pageHeader+n*elementSize+8:], uint64(id))
			dir := t.TempDir()
			write(t, filepath.Join(dir, fileName), file)
			write(t, filepath.Join(dir, backupName), backup)
			r, log := openLogged(t, dir)
			if got := ids(t, r); !cmp.Equal(got, older) || !strings.Contains(log.String(), "DAMAGED") {
				t.Errorf("page %d leads to itself: %d instances, and it is said: %s", id, len(got), log)
			}
			closed(t, r)
			circles++
		}
	}
	if circles == 0 {
		t.Error("no page leads to others")
	}
}

// leading returns the offsets of the octets of a file that are no records, and that bbolt
// believes.
func leading(t *testing.T, file []byte) (octets []int) {
	t.Helper()
	from := func(at, size int) {
		for n := range size {
			octets = append(octets, at+n)
		}
	}
	number := func(at int) int { return int(binary.NativeEndian.Uint32(file[at:])) }
	var visit func(at int)
	visit = func(at int) {
		p, _ := newPage(file[at:])
		if p.kind == pageOfFree {
			from(at, pageHeader+8*p.count)
			return
		}
		from(at, pageHeader+elementSize*p.count)
		for n := range p.count {
			element := at + pageHeader + n*elementSize
			if p.kind == pageOfPages {
				from(element+number(element), number(element+4)) // the key
			} else if value := element + number(element+4) + number(element+8); number(element) == 1 {
				from(value, 8) // of a bucket, the page of its root
				if number(value) == 0 {
					visit(value + bucketHeader)
				}
			}
		}
	}
	for _, id := range inUse(t, file) {
		visit(id * os.Getpagesize())
	}
	return octets
}

// inUse returns the numbers of the pages that are neither free nor meta pages.
func inUse(t *testing.T, file []byte) (ids []int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), fileName)
	write(t, path, file)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		for id := range int(tx.Size()) / os.Getpagesize() {
			if p, err := tx.Page(id); err == nil && p.Type != "free" && p.Type != "meta" {
				ids = append(ids, id)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// changeAll registers instances once more, each with another port.
func changeAll(t *testing.T, r *Registry, ids []string) {
	t.Helper()
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			changed := whole(id)
			changed.Instance.Port++
			if err := r.Register(t.Context(), changed); err != nil {
				t.Errorf("change %s: %v", id, err)
			}
		})
	}
	all.Wait()
}

// TestAMetaPageInThePlaceOfTheOtherIsFound copies each of the two meta pages over the
// other. Both are whole, and where the older one is left the last registration is not.
func TestAMetaPageInThePlaceOfTheOtherIsFound(t *testing.T) {
	_, killed, backup, all, _ := beforeAndAfter(t)
	page, lost := os.Getpagesize(), 0
	for n := range 2 {
		file := bytes.Clone(killed)
		copy(file[n*page:(n+1)*page], killed[(1-n)*page:])
		dir := t.TempDir()
		write(t, filepath.Join(dir, fileName), file)
		write(t, filepath.Join(dir, backupName), backup)
		r, log := openLogged(t, dir)
		got := ids(t, r)
		if !cmp.Equal(got, all) && !cmp.Equal(got, all[:len(all)-1]) || !strings.Contains(log.String(), "DAMAGED") {
			t.Errorf("page %d: %d of %d instances, and it is said: %s", n, len(got), len(all), log)
		}
		lost += len(all) - len(got)
		closed(t, r)
		if r, log = openLogged(t, dir); log.Len() > 0 {
			t.Errorf("page %d, after a restart: %s", n, log)
		}
		closed(t, r)
	}
	if lost != 1 {
		t.Errorf("%d registrations are lost, where one of the pages does not know the last one", lost)
	}
}

// foreignDatabase returns a file of bbolt's that is not a registry.
func foreignDatabase(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foreign")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("instances"))
		if err != nil {
			return err
		}
		return b.Put([]byte("key"), []byte("not a record"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return read(t, path)
}

func TestABackupThatCannotBeReadIsSaidInOneSentence(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, fileName), []byte("damaged"))
	if err := os.Mkdir(filepath.Join(dir, backupName), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{Dir: dir, Node: registry.Node{Name: "n1"}})
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), backupName) {
		t.Errorf("it is said that %v", err)
	}
}

// mutate returns a copy that is cut short, or has bits flipped or pages zeroed.
func mutate(rng *rand.Rand, data []byte) []byte {
	data = bytes.Clone(data)
	page := rng.IntN(len(data)/4096) * 4096
	switch rng.IntN(6) {
	case 0:
		return data[:rng.IntN(len(data))]
	case 1:
		for range 1 + rng.IntN(20) {
			data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
		}
	case 2:
		clear(data[page : page+4096])
	case 3: // a page that was written elsewhere
		copy(data[page:page+4096], data[rng.IntN(len(data)/4096)*4096:])
	case 4: // one of the meta pages
		data[4096*rng.IntN(2)+rng.IntN(80)] ^= 1 << rng.IntN(8)
	case 5: // what a page says of itself, and where it has what
		data[page+rng.IntN(64)] ^= 1 << rng.IntN(8)
	}
	return data
}

func TestIndexNeverFalls(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	enrol(t, r, web("a"))
	for _, damage := range []func(path string){
		func(string) {},
		func(path string) { write(t, path, bytes.Repeat([]byte{0}, 8192)) },
		func(string) {}, // the restart after: it must not forget the leap
		func(path string) { _ = os.Remove(path) },
		func(string) {},
	} {
		last := r.View().Index()
		closed(t, r)
		damage(filepath.Join(dir, fileName))
		r = open(t, dir)
		if got := r.View().Index(); got < last {
			t.Errorf("the index is %d, and was %d", got, last)
		}
		if r.View().Instance("n1", "a") == nil {
			t.Error("the instance is lost")
		}
	}
}

func TestIndexLeapsOverWhatWasLostWithTheDamage(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	enrol(t, r, web("a"))
	closed(t, r)
	backup := read(t, filepath.Join(dir, backupName))
	r = open(t, dir)
	for n := range 100 {
		enrol(t, r, web(fmt.Sprintf("w%d", n)))
	}
	told := r.View().Index()
	closed(t, r)
	write(t, filepath.Join(dir, fileName), []byte("damaged"))
	write(t, filepath.Join(dir, backupName), backup)
	if got := open(t, dir).View().Index(); got <= told {
		t.Errorf("the index is %d, and %d was told", got, told)
	}
}

// A list of free pages that names one in use would have bbolt write over it.
func TestFileWhosePagesDoNotAddUpIsWrittenAnew(t *testing.T) {
	_, file, backup, all, _ := beforeAndAfter(t)
	rebuilt := 0
	for page := 2 * 4096; page < len(file); page += 4096 {
		for _, at := range []int{12, 16} { // the page's size, and the first of the list
			dir := t.TempDir()
			damaged := bytes.Clone(file)
			damaged[page+at] ^= 1
			write(t, filepath.Join(dir, fileName), damaged)
			write(t, filepath.Join(dir, backupName), backup)
			r, log := openLogged(t, dir)
			got := ids(t, r)
			closed(t, r)
			if strings.Contains(log.String(), errPages.Error()) {
				rebuilt++
				if diff := cmp.Diff(all, got); diff != "" {
					t.Errorf("byte %d: instances (-want +got)\n%s", page+at, diff)
				}
			}
		}
	}
	if rebuilt < 2 {
		t.Errorf("%d files were written anew, and there is a list of free pages and a page in use at least", rebuilt)
	}
}

// A start that was killed while it restored may leave any of this behind.
func TestFileThatIsGoneIsRestoredFromItsBackup(t *testing.T) {
	for name, leave := range map[string]func(path string) error{
		"missing": os.Remove,
		"empty":   func(path string) error { return os.Truncate(path, 0) },
		"half restored": func(path string) error {
			return os.Rename(path, path+".restored")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := open(t, dir)
			enrol(t, r, whole("a"))
			closed(t, r)
			if err := leave(filepath.Join(dir, fileName)); err != nil {
				t.Fatal(err)
			}
			r, log := openLogged(t, dir)
			if diff := cmp.Diff([]string{"a"}, ids(t, r)); diff != "" {
				t.Error("instances (-want +got)\n" + diff)
			}
			closed(t, r)
			if !strings.Contains(log.String(), "DAMAGED") {
				t.Errorf("it was not said loudly: %s", log)
			}
		})
	}
}

func TestDamagedFileIsKeptAside(t *testing.T) {
	dir := t.TempDir()
	closed(t, open(t, dir))
	write(t, filepath.Join(dir, fileName), []byte("damaged"))
	open(t, dir)
	aside, err := filepath.Glob(filepath.Join(dir, fileName+".damaged-*"))
	if err != nil || len(aside) != 1 || string(read(t, aside[0])) != "damaged" {
		t.Errorf("aside is %v, %v", aside, err)
	}
}

func TestOlderBackupIsUsedWhenTheNewestIsDamagedToo(t *testing.T) {
	for name, damaged := range map[string][]byte{"damaged": []byte("damaged"), "empty": nil} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, id := range []string{"a", "b"} {
				r := open(t, dir)
				enrol(t, r, whole(id))
				closed(t, r)
			}
			write(t, filepath.Join(dir, fileName), []byte("damaged"))
			write(t, filepath.Join(dir, backupName), damaged)
			r, log := openLogged(t, dir)
			if diff := cmp.Diff([]string{"a"}, ids(t, r)); diff != "" {
				t.Error("instances (-want +got)\n" + diff)
			}
			closed(t, r)
			if !strings.Contains(log.String(), olderName) {
				t.Errorf("the log does not name the backup: %s", log)
			}
		})
	}
}

func TestWithoutAnyGoodBackupItBeginsAnew(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	enrol(t, r, whole("a"))
	last := r.View().Index()
	closed(t, r)
	for _, name := range []string{fileName, backupName, olderName} {
		write(t, filepath.Join(dir, name), []byte("damaged"))
	}
	r, log := openLogged(t, dir)
	if got := r.View().Index(); got <= last {
		t.Errorf("the index is %d, and was %d", got, last)
	}
	enrol(t, r, whole("b"))
	if diff := cmp.Diff([]string{"b"}, ids(t, r)); diff != "" {
		t.Error("instances (-want +got)\n" + diff)
	}
	closed(t, r)
	if !strings.Contains(log.String(), "begins anew") {
		t.Errorf("it was not said loudly: %s", log)
	}
}

func TestRestartWithoutAChangeMakesNoBackup(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	enrol(t, r, whole("a"))
	closed(t, r)
	before, err := os.Stat(filepath.Join(dir, backupName))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		closed(t, open(t, dir))
	}
	if after, err := os.Stat(filepath.Join(dir, backupName)); err != nil || !os.SameFile(before, after) {
		t.Errorf("there is another backup: %v", err)
	}
}

func TestFileOfANewerRollcallIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	r.store.summary.Format = format + 1
	closed(t, r) // writes the summary
	before := read(t, filepath.Join(dir, fileName))
	_, err := Open(t.Context(), Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "a newer one has written it") {
		t.Errorf("the error is %v", err)
	}
	if !bytes.Equal(before, read(t, filepath.Join(dir, fileName))) {
		t.Error("the file was touched")
	}
}
