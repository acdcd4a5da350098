package main

import (
	"fmt"
	"os"
	"os/exec"
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
			if regexp.MustCompile(`^(git|make|curl|dig|kdig|python3|rollcall) `).MatchString(open) {
				commands = append(commands, strings.TrimSpace(open))
			}
			open = ""
		}
	}
	return commands
}

// TestTheReadmeIsTrueFromTheFirstLine does what the first section says, in the
// order in which it says it. It does not build the program, which is there, and has
// addresses of its own.
func TestTheReadmeIsTrueFromTheFirstLine(t *testing.T) {
	for _, program := range []string{"sh", "curl", "dig", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	server, api, addr := startProcess(t, t.TempDir())
	defer kill(server)
	host, port, _ := strings.Cut(addr, ":")
	_, web, _ := strings.Cut(freePort(), ":")
	here := strings.NewReplacer("http://127.0.0.1:5380", api, "@127.0.0.1 -p 5300", "@"+host+" -p "+port, "8000", web)
	run := func(command string) (string, error) {
		child := exec.CommandContext(t.Context(), "sh", "-c", here.Replace(command))
		child.Dir, child.WaitDelay = t.TempDir(), 10*time.Second
		child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out, err := child.CombinedOutput()
		return string(out), err
	}
	var did []string
	for _, command := range commandsOf(t, "Two minutes from nothing to an answer") {
		name, _, _ := strings.Cut(command, " ")
		did = append(did, name)
		switch {
		case name == "git", name == "make": // what this test is a part of
		case strings.HasSuffix(command, "&"):
			service := exec.Command("sh", "-c", "exec "+strings.TrimSuffix(here.Replace(command), "&"))
			service.Dir, service.SysProcAttr = t.TempDir(), &syscall.SysProcAttr{Setpgid: true}
			if err := service.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Kill(-service.Process.Pid, syscall.SIGKILL); _ = service.Wait() })
		case name == "dig":
			want := regexp.MustCompile(fmt.Sprintf(`(?s)SRV\s+1 1 %s .*ADDITIONAL SECTION.*IN\s+A\s`, web))
			for deadline := time.Now().Add(40 * time.Second); ; { // a check that came before the web server takes two more, 10 s apart
				out, err := run(command)
				if want.MatchString(out) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s: %v\n%s", command, err, out)
				}
				time.Sleep(50 * time.Millisecond) // waits for the check
			}
		default:
			if out, err := run(command + " --fail --silent --show-error"); err != nil {
				t.Fatalf("%s: %v\n%s", command, err, out)
			}
		}
	}
	if got := strings.Join(did, " "); got != "git make python3 curl dig" {
		t.Errorf("the first section has the commands %s", got)
	}
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
