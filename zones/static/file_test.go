package static

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// watched is a File that is kept fresh, in a bubble of its own time.
type watched struct {
	*File
	dir     string
	log     *bytes.Buffer
	changes int
}

func watch(t *testing.T, prepare func(dir string)) *watched {
	t.Helper()
	w := &watched{dir: t.TempDir(), log: new(bytes.Buffer)}
	w.write(t, "corp.zone", head)
	if prepare != nil {
		prepare(w.dir)
	}
	var err error
	w.File, err = Open("Corp.Example", filepath.Join(w.dir, "corp.zone"), slog.New(slog.NewTextHandler(w.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, func() { w.changes++ }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return w
}

func (w *watched) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// settle lets a second pass.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// serial returns head with another serial, and lines of text behind it.
func serial(n, text string) string { return strings.Replace(head, " 7 ", " "+n+" ", 1) + text }

func TestAFileThatChangesIsReadWithinASecond(t *testing.T) {
	for _, c := range []struct {
		how    string
		change func(t *testing.T, w *watched)
	}{
		{"in place", func(t *testing.T, w *watched) { w.write(t, "corp.zone", serial("8", "www A 10.0.0.2\n")) }},
		{"by a rename", func(t *testing.T, w *watched) {
			w.write(t, "new", serial("8", "www A 10.0.0.2\n"))
			if err := os.Rename(filepath.Join(w.dir, "new"), filepath.Join(w.dir, "corp.zone")); err != nil {
				t.Fatal(err)
			}
		}},
		{"by a link", func(t *testing.T, w *watched) {
			w.write(t, "new", serial("8", "www A 10.0.0.2\n"))
			if err := errors.Join(os.Remove(filepath.Join(w.dir, "corp.zone")), os.Symlink("new", filepath.Join(w.dir, "corp.zone"))); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, nil)
				stamp := w.Zone().Stamp()
				settle()
				if !stamp.Current() || w.changes != 0 {
					t.Fatal("it was read anew without a change")
				}
				c.change(t, w)
				settle()
				if w.Zone().Serial() != 8 || stamp.Current() || w.changes != 1 {
					t.Errorf("serial %d, the old stamp is current: %v, told %d times", w.Zone().Serial(), stamp.Current(), w.changes)
				}
			})
		})
	}
}

func TestAMistakeKeepsTheOldZoneAndIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, nil)
		w.write(t, "corp.zone", serial("8", "www A x\n"))
		settle()
		settle()
		if log := w.log.String(); w.Zone().Serial() != 7 || !w.Zone().Stamp().Current() || strings.Count(log, "\n") != 1 || !strings.Contains(log, "corp.zone:6: bad A") {
			t.Errorf("serial %d, log:\n%s", w.Zone().Serial(), log)
		}
		if got := measure(t, w.File, "rollcall_zone_file_wrong"); got != 1 {
			t.Errorf("wrong is %v", got)
		}
		w.write(t, "corp.zone", serial("9", "www A 10.0.0.2\n"))
		settle()
		if w.Zone().Serial() != 9 || measure(t, w.File, "rollcall_zone_file_wrong") != 0 {
			t.Errorf("what was put right is not read:\n%s", w.log)
		}
	})
}

func TestAFileThatIsGoneKeepsTheOldZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, nil)
		if err := os.Remove(filepath.Join(w.dir, "corp.zone")); err != nil {
			t.Fatal(err)
		}
		settle()
		settle()
		if log := w.log.String(); w.Zone().Serial() != 7 || strings.Count(log, "\n") != 1 || !strings.Contains(log, "corp.zone: no such file or directory") {
			t.Errorf("serial %d, log:\n%s", w.Zone().Serial(), log)
		}
		w.write(t, "corp.zone", serial("8", ""))
		settle()
		if w.Zone().Serial() != 8 {
			t.Error("it is back, and is not read")
		}
	})
}

func TestAFileThatIsIncludedIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, nil)
		w.write(t, "corp.zone", serial("8", "$INCLUDE more.zone\n"))
		settle()
		w.write(t, "more.zone", "www A 10.0.0.1\n")
		settle()
		if got := lookup(t, w.Zone(), "www.corp.example. A"); got != "here; www.corp.example. A 10.0.0.1" {
			t.Fatalf("what was missing came, and is not read: %s\n%s", got, w.log)
		}
		w.write(t, "more.zone", "www A 10.0.0.22\n")
		settle()
		if got := lookup(t, w.Zone(), "www.corp.example. A"); got != "here; www.corp.example. A 10.0.0.22" {
			t.Error(got)
		}
		if !strings.Contains(w.log.String(), "its serial has not risen: secondaries will not notice") {
			t.Errorf("the log does not say that the serial stays:\n%s", w.log)
		}
	})
}

func TestAFileIsNotReadWhileItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, nil)
		text := serial("8", "a A 10.0.0.1\nb A 10.0.0.2\nc A 10.0.0.3\n")
		for at := len(head); at < len(text); at += 10 { // somebody is slow
			w.write(t, "corp.zone", text[:at])
			time.Sleep(interval / 2)
		}
		synctest.Wait()
		if w.changes != 0 || strings.Contains(w.log.String(), "wrong") {
			t.Errorf("half a file was read:\n%s", w.log)
		}
		w.write(t, "corp.zone", text)
		settle()
		if w.Zone().Serial() != 8 {
			t.Error("the whole one is not read")
		}
	})
}

func TestWhatIsIncludedStaysInTheDirectory(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("root:x:0:0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{secret, "../../../../../../" + secret, "link"} {
		dir := t.TempDir()
		if err := os.Symlink(secret, filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "corp.zone")
		if err := os.WriteFile(file, []byte(head+"$INCLUDE "+path+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open("corp.example.", file, nil)
		if err == nil || strings.Contains(err.Error(), "root") || !strings.HasPrefix(err.Error(), file+":6: failed to open") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestWhatIsNoFileIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                             "it is no regular file",
		filepath.Join(dir, "x"):         "no such file or directory",
		filepath.Join(dir, "none", "x"): "no such file or directory",
	} {
		if _, err := Open("corp.example.", path, nil); err == nil || err.Error() != path+": "+want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func measure(t *testing.T, f *File, name string) float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(Files{f})
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := testutil.CollectAndLint(Files{f}); err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}
