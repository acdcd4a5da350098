package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandsOf returns the commands in the indented blocks of a section of README.md: a
// line that ends within quotes goes on in the next one.
func commandsOf(t *testing.T, section string) (commands []string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "\n## "+section+"\n")
	if !ok {
		t.Fatalf("README.md has no section %q", section)
	}
	after, _, _ = strings.Cut(after, "\n## ")
	open := ""
	for line := range strings.Lines(after) {
		line, indented := strings.CutPrefix(line, "    ")
		if !indented {
			continue
		}
		if open += line; strings.Count(open, "'")%2 == 0 {
			if regexp.MustCompile(`^(git|make|curl|dig|kdig|kill|pkill|python3|rollcall) `).MatchString(open) {
				commands = append(commands, strings.TrimSpace(open))
			}
			open = ""
		}
	}
	return commands
}

// walk is the shell of the second terminal in TestTheReadmeIsTrueFromTheFirstLine. What
// stands in for the first one is no job of it, so that %1 is the reader's.
const walk = `set -e
ip link set lo up
# first runs a command in the first terminal, until the server is ready.
first() {
	setsid sh -c "$1" >>"$OUT/first.log" 2>&1 & disown
	for n in $(seq 600); do curl -fs http://127.0.0.1:5380/readyz >"$OUT/ready" && return; sleep 0.1; done
	cat "$OUT/first.log"; return 1
}
# digs asks until the answer is what it has to be, which a check may take a while for.
digs() {
	for n in $(seq 200); do eval "$2" >"$OUT/dig"; tr '\n' ' ' <"$OUT/dig" | grep -Eq "$1" && { echo "dig: as it should be"; return; }; sleep 0.1; done
	echo "no $1 in"; cat "$OUT/dig"; return 1
}
`

// TestTheReadmeIsTrueFromTheFirstLine does what the first section says, as it is written and
// from the clone on: of this checkout with what is changed in it, in a namespace of its
// own, where the ports are free and pkill finds no other rollcall.
func TestTheReadmeIsTrueFromTheFirstLine(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it builds rollcall from a clone")
	}
	for _, program := range []string{"unshare", "ip", "bash", "git", "make", "go", "curl", "dig", "python3", "pkill", "setsid"} {
		needs(t, program)
	}
	if out, err := exec.Command("unshare", "-Urmnpf", "--kill-child", "true").CombinedOutput(); err != nil {
		t.Skipf("skipped: this machine gives no namespaces: %v %s", err, out)
	}
	dir := t.TempDir()
	published := publish(t, dir)
	// What each dig has to show, in one line: an answer with an address beside it, that
	// there is none and why, and the same after the crash.
	const none = `EDE: 0 \(Other\): \(1 instance of web, critical\)`
	shown := []string{`status: NOERROR.*ANSWER SECTION.*IN\s+SRV\s+1 1 8000 .*ADDITIONAL SECTION.*IN\s+A\s+127\.0\.0\.1`, none, none}
	script, did := walk, []string(nil)
	for _, command := range commandsOf(t, "Two minutes from nothing to an answer") {
		name, _, _ := strings.Cut(command, " ")
		did = append(did, name)
		switch {
		case name == "dig" && len(shown) > 0:
			script += fmt.Sprintf("digs '%s' '%s'\n", shown[0], command)
			shown = shown[1:]
		case command == "make run":
			script += "first '" + command + "'\n"
		case strings.HasSuffix(command, "&"): // it takes a moment, and a reader more
			script += command + "\nuntil curl -fs http://127.0.0.1:8000/ >\"$OUT/web\"; do sleep 0.1; done\n"
		case name == "curl":
			script += command + " --fail --silent --show-error\n"
		default:
			script += command + "\n"
		}
	}
	if got := strings.Join(did, " "); got != "git make python3 curl dig kill dig pkill make dig" {
		t.Errorf("the first section has the commands %s", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // the build may have nothing to go on
	defer cancel()
	shell := exec.CommandContext(ctx, "unshare", "-Urmnpf", "--kill-child", "--mount-proc", "bash", "-c", script+"echo THE END\n")
	shell.Dir, shell.WaitDelay = dir, 10*time.Second
	shell.Env = append(os.Environ(), "HOME="+dir, "OUT="+dir, "XDG_STATE_HOME=", "STATE_DIRECTORY=", "MAKEFLAGS=", "GOPROXY=off",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url."+published+".insteadOf", "GIT_CONFIG_VALUE_0=https://github.com/rollcall-dns/rollcall")
	for _, name := range []string{"GOPATH", "GOCACHE", "GOMODCACHE"} { // which are at home
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		shell.Env = append(shell.Env, name+"="+strings.TrimSpace(string(value)))
	}
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	if out, err := shell.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "\nTHE END\n") {
		log, _ := os.ReadFile(filepath.Join(dir, "first.log"))
		t.Fatalf("%v\n%s\nthe script was\n%s\nin the first terminal:\n%s", err, out, script, log)
	}
}

// publish makes a repository of what is in this checkout, committed or not, and returns
// where it is.
func publish(t *testing.T, dir string) string {
	t.Helper()
	list, err := exec.Command("git", "-C", "../..", "ls-files", "-coz", "--exclude-standard").Output()
	if err != nil {
		t.Skipf("skipped: this is no checkout: %v", err)
	}
	repository := filepath.Join(dir, "published")
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join("../..", name))
		switch {
		case os.IsNotExist(err): // removed, and not committed
			continue
		case err != nil:
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(repository, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=reader", "-c", "user.email=reader@example.com", "commit", "-qm", "As it is here"}} {
		if out, err := exec.Command("git", append([]string{"-C", repository}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
	return repository
}

// TestTheReadmesCommandsAreThere runs what README.md says about the command line, and
// has the configuration of each serve in it checked.
func TestTheReadmesCommandsAreThere(t *testing.T) {
	path, err := exec.LookPath("rollcall")
	if err != nil {
		t.Fatal(err)
	}
	server, api, addr := startProcess(t, t.TempDir())
	defer kill(server)
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		child := exec.CommandContext(t.Context(), path, args...)
		child.Dir = dir
		child.Env = append(os.Environ(), "ROLLCALL_API="+api, "ROLLCALL_SERVER="+addr)
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("rollcall %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	ran := 0
	for _, command := range commandsOf(t, "The command line") {
		command, _, _ = strings.Cut(command, " #")
		args := strings.Fields(command)[1:]
		switch args[0] {
		case "serve":
			args[0] = "check-config"
		case "register":
			args = append(args, "--id", "web-1") // as maintenance has it
		case "watch": // does not end
			continue
		case "export":
			args = args[:1] // and where to
		case "query":
			run("query", "rollcall", "SRV", "--explain") // web is not well: nothing is at its port
			args = append([]string{"instances"}, args[1])
		}
		run(args...)
		ran++
	}
	if ran < 6 {
		t.Errorf("only %d commands were run", ran)
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range regexp.MustCompile(`(?m)^    rollcall serve( --.*)$`).FindAllStringSubmatch(string(text), -1) {
		if !regexp.MustCompile(`/etc/rollcall/|\.pem`).MatchString(line[1]) { // files that are nobody's here
			run(append([]string{"check-config"}, strings.Fields(line[1])...)...)
		}
	}
}
