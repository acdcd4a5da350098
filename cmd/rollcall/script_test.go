package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rollcall": main, "register-for-ever": registerForEver})
}

// TestScripts plays the stories in testdata/script. Beside testscript's own
// commands they have:
//
//	serve [FLAG]...           start rollcall on $DNS and $HTTP, its state in $WORK/state
//	terminate, crash          end it with SIGTERM, with SIGKILL
//	hangup                    send it SIGHUP
//	dump                      send it SIGUSR1
//	exits CODE COMMAND...     run COMMAND, which ends with the exit code CODE
//	http METHOD PATH [BODY]   ask $HTTP; the reply is the standard output
//	ask NAME TYPE             ask $DNS; response code, records and reason are the standard output
//	log                       what rollcall has logged so far
//	eventually COMMAND...     try COMMAND, one of these three, until it prints what comes after the last --
//	target up|down            a little web server at $TARGET that is well, or is not
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serveInScript, "exits": exits, "terminate": end(syscall.SIGTERM), "crash": end(syscall.SIGKILL),
			"http": httpInScript, "ask": askInScript, "log": logInScript, "hangup": signalInScript(syscall.SIGHUP), "dump": signalInScript(syscall.SIGUSR1), "eventually": eventually, "target": setTarget,
		},
		Condition: func(condition string) (bool, error) {
			switch condition {
			case "root":
				return os.Geteuid() == 0, nil
			case "resolved":
				_, err := os.Stat(resolvedDir() + "/lib/systemd/systemd-resolved")
				return err == nil, nil
			}
			return false, fmt.Errorf("there is no condition %q", condition)
		},
	})
}

// TestNoStoryEndsEarly looks for testscript's own stop, which ends a story there
// as if all of it had come true.
func TestNoStoryEndsEarly(t *testing.T) {
	stories, err := filepath.Glob(filepath.Join("..", "..", "testdata", "script", "*.txtar"))
	if err != nil || len(stories) == 0 {
		t.Fatalf("there are %d stories: %v", len(stories), err)
	}
	for _, story := range stories {
		text, err := os.ReadFile(story)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			if words := strings.Fields(line); len(words) > 0 && words[0] == "stop" {
				t.Errorf("%s:%d: stop ends the story: terminate ends rollcall", story, n+1)
			}
		}
	}
}

// resolvedDir is below which systemd-resolved is: the root, or where .ci/install
// unpacks it to, because it takes over /etc/resolv.conf where it is installed.
func resolvedDir() string {
	if dir, err := filepath.Abs("../../bin/systemd-resolved"); err == nil {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	return ""
}

// TestNothingIsSkippedInCI looks for what the stories need.
func TestNothingIsSkippedInCI(t *testing.T) {
	if os.Getenv("CI") == "" {
		t.Skip("skipped: elsewhere than in CI programs may be missing")
	}
	stories, err := filepath.Glob(filepath.Join("..", "..", "testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, story := range stories {
		text, err := os.ReadFile(story)
		if err != nil {
			t.Fatal(err)
		}
		for _, program := range regexp.MustCompile(`(?m)^\[!?exec:([^\]]+)\]`).FindAllStringSubmatch(string(text), -1) {
			if _, err := exec.LookPath(program[1]); err != nil {
				t.Errorf("%s: %v: .ci/install should have installed it", story, err)
			}
		}
		if strings.Contains(string(text), "[!resolved]") && resolvedDir() == "" {
			if _, err := exec.LookPath("resolvectl"); err != nil {
				t.Errorf("%s: systemd-resolved is missing: .ci/install should have unpacked it", story)
			}
		}
	}
}

// story is what a script has running.
type story struct {
	server *exec.Cmd
	stderr *diary
	down   atomic.Bool
}

type storyKey struct{}

func setUp(env *testscript.Env) error {
	s := new(story)
	env.Values[storyKey{}] = s
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if s.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	env.Defer(target.Close)
	env.Defer(func() {
		if s.server != nil {
			_ = s.server.Process.Kill()
			_ = s.server.Wait()
		}
	})
	dnsAddr, httpAddr := freePort(), freePort()
	host, port, _ := net.SplitHostPort(dnsAddr)
	env.Setenv("DNS", dnsAddr)
	env.Setenv("DNSHOST", host)
	env.Setenv("DNSPORT", port)
	env.Setenv("HTTP", httpAddr)
	env.Setenv("ROLLCALL_API", "http://"+httpAddr)
	env.Setenv("ROLLCALL_SERVER", dnsAddr)
	env.Setenv("TARGET", target.URL)
	env.Setenv("HOME", env.WorkDir)
	deploy, err := filepath.Abs("../../deploy")
	if err != nil {
		return err
	}
	env.Setenv("DEPLOY", deploy)
	env.Setenv("PAGES", filepath.Join(deploy, "../docs/integrations"))
	env.Setenv("RESOLVED", resolvedDir())
	return nil
}

// stories numbers what wants an address of its own.
var stories atomic.Uint32

// freePort returns an address that is free for TCP and UDP. On Linux each has a
// loopback address of its own, so that two stories never meet at a port.
func freePort() string {
	host := "127.0.0.1"
	if runtime.GOOS == "linux" {
		pid, n := os.Getpid(), stories.Add(1)
		host = fmt.Sprintf("127.%d.%d.%d", 64+pid>>8&63, pid&255, 1+n%254)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "127.0.0.1:0"
	}
	defer l.Close()
	return l.Addr().String()
}

func storyOf(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

func serveInScript(ts *testscript.TestScript, neg bool, args []string) {
	s := storyOf(ts)
	args = append([]string{"serve", "--dns-addr", ts.Getenv("DNS"), "--admin-addr", ts.Getenv("HTTP"),
		"--data-dir", ts.MkAbs("state"), "--node", "host-1", "--node-address", "127.0.0.1"}, args...)
	s.stderr = new(diary)
	s.server = exec.Command(lookPath(ts), args...)
	s.server.Dir = ts.MkAbs(".")
	s.server.Env = []string{"HOME=" + ts.Getenv("WORK"), "PATH=" + ts.Getenv("PATH")}
	s.server.Stderr, s.server.Stdout = s.stderr, s.stderr
	ts.Check(s.server.Start())
	for deadline := time.Now().Add(20 * time.Second); ; {
		response, err := http.Get("http://" + ts.Getenv("HTTP") + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			_ = s.server.Process.Kill()
			_ = s.server.Wait()
			ts.Fatalf("rollcall did not start:\n%s", s.stderr)
		}
		time.Sleep(10 * time.Millisecond) // waits for another process
	}
}

// lookPath returns the program, which the test is under another name.
func lookPath(ts *testscript.TestScript) string {
	path, err := exec.LookPath("rollcall")
	ts.Check(err)
	return path
}

func end(signal syscall.Signal) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, _ []string) {
		s := storyOf(ts)
		ts.Check(s.server.Process.Signal(signal))
		err := s.server.Wait()
		if signal == syscall.SIGTERM && err != nil {
			ts.Fatalf("rollcall ended with %v:\n%s", err, s.stderr)
		}
		s.server = nil
	}
}

func signalInScript(signal syscall.Signal) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, _ []string) {
		ts.Check(storyOf(ts).server.Process.Signal(signal))
	}
}

// exits runs a command, and looks at what `! exec` does not.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	var ended *exec.ExitError
	err, code := ts.Exec(args[1], args[2:]...), 0
	if errors.As(err, &ended) {
		code = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("the exit code is %d, want %s", code, args[0])
	}
}

func setTarget(ts *testscript.TestScript, _ bool, args []string) {
	storyOf(ts).down.Store(args[0] == "down")
}

func httpInScript(ts *testscript.TestScript, neg bool, args []string) {
	text, err := exchangeHTTP(ts, args)
	fmt.Fprint(ts.Stdout(), text)
	expect(ts, neg, err)
}

// diary is what a process writes, while it does.
type diary struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (d *diary) Write(text []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(text)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

func logInScript(ts *testscript.TestScript, _ bool, args []string) {
	text, _ := readLog(ts, args)
	fmt.Fprint(ts.Stdout(), text)
}

func readLog(ts *testscript.TestScript, _ []string) (string, error) {
	return storyOf(ts).stderr.String(), nil
}

func askInScript(ts *testscript.TestScript, neg bool, args []string) {
	text, err := exchangeDNS(ts, args)
	fmt.Fprint(ts.Stdout(), text)
	expect(ts, neg, err)
}

func expect(ts *testscript.TestScript, neg bool, err error) {
	if neg != (err != nil) {
		ts.Fatalf("got the error %v", err)
	}
}

func readFile(ts *testscript.TestScript, args []string) (string, error) {
	text, err := os.ReadFile(ts.MkAbs(args[0]))
	return string(text), err
}

// eventually tries until the output has a text in it.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	at := slices.Index(args, "--")
	if at < 1 {
		ts.Fatalf("usage: eventually http|ask|log|file ... -- TEXT")
	}
	want := strings.Join(args[at+1:], " ")
	exchange := map[string]func(*testscript.TestScript, []string) (string, error){"http": exchangeHTTP, "ask": exchangeDNS, "log": readLog, "file": readFile}[args[0]]
	for deadline := time.Now().Add(15 * time.Second); ; {
		text, err := exchange(ts, args[1:at])
		if err == nil && strings.Contains(text, want) {
			fmt.Fprint(ts.Stdout(), text)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("never saw %q, but\n%s%v", want, text, err)
		}
		time.Sleep(20 * time.Millisecond) // waits for another process
	}
}

// exchangeHTTP asks the admin endpoint, under the name HTTP_HOST where that is set. A
// status from 400 on is an error.
func exchangeHTTP(ts *testscript.TestScript, args []string) (string, error) {
	body := ""
	if len(args) > 2 {
		body = os.Expand(args[2], ts.Getenv)
	}
	request, err := http.NewRequest(args[0], "http://"+ts.Getenv("HTTP")+args[1], strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Host = ts.Getenv("HTTP_HOST")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 400 {
		err = fmt.Errorf("status %d", response.StatusCode)
	}
	return fmt.Sprintf("%d\n%s", response.StatusCode, text), err
}

// exchangeDNS asks rollcall, and prints the answer in an order that is always
// the same.
func exchangeDNS(ts *testscript.TestScript, args []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	question := new(dns.Msg).SetQuestion(dns.Fqdn(args[0]), dns.StringToType[args[1]]).SetEdns0(1232, false)
	answer, _, err := new(dns.Client).ExchangeContext(ctx, question, ts.Getenv("DNS"))
	if err != nil {
		return "", err
	}
	lines := []string{}
	for _, rr := range answer.Answer {
		lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
	}
	slices.Sort(lines)
	for _, rr := range answer.Extra {
		if opt, ok := rr.(*dns.OPT); ok {
			for _, option := range opt.Option {
				if ede, ok := option.(*dns.EDNS0_EDE); ok {
					lines = append(lines, "because: "+ede.ExtraText)
				}
			}
			continue
		}
		lines = append(lines, "beside: "+strings.Join(strings.Fields(rr.String()), " "))
	}
	return dns.RcodeToString[answer.Rcode] + "\n" + strings.Join(lines, "\n") + "\n", nil
}
