package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// readmeSection is what a section of README.md needs beside its own commands, and
// what shows that they do what it says.
type readmeSection struct {
	name     string
	programs []string // that it takes
	before   string   // files and programs, of a shell that has an /etc of its own
	proof    string   // a command
	want     string   // in its output
}

// TestTheReadmesServersServe runs each serve of README.md as it is written, and the
// commands around it, one section after the other: in a namespace of its own, where
// all addresses are free and /etc is empty.
func TestTheReadmesServersServe(t *testing.T) {
	for _, program := range []string{"unshare", "ip", "mount"} {
		needs(t, program)
	}
	if out, err := exec.Command("unshare", "-Urmnpf", "--kill-child", "true").CombinedOutput(); err != nil {
		t.Skipf("skipped: this machine gives no namespaces: %v %s", err, out)
	}
	consul, err := filepath.Abs("../../bin/consul")
	if err != nil {
		t.Fatal(err)
	}
	sections := []readmeSection{
		{"Names of others", []string{"dig"}, "", "dig @127.0.0.55 rollcall.service.rollcall.internal SRV", `status: NOERROR(?s:.*)flags: qr aa rd ra`},
		{"Over TLS and HTTPS", []string{"openssl", "kdig"},
			"printf '[req]\ndistinguished_name=dn\n[dn]\n' > openssl.cnf\nOPENSSL_CONF=openssl.cnf openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 1 -subj /CN=dns.example -addext subjectAltName=DNS:dns.example",
			"kdig @dns.example +tls-ca=cert.pem +tls-hostname=dns.example rollcall.service.rollcall.internal", `status: NOERROR`},
		{"In front of Consul", []string{consul, "dig"},
			consul + " agent -dev -log-level err >consul.log &\nuntil " + consul + " info >consul.log 2>&1; do sleep 0.1; done",
			"for n in $(seq 100); do dig +short @127.0.0.1 -p 5300 consul.service.consul SRV | grep 8300 && break; sleep 0.1; done", `8300`},
		{"Zone files", []string{"dig"},
			"printf '@ 60 IN SOA ns h 1 60 60 60 60\n@ 60 IN NS ns\nns 60 IN A 10.0.0.9\n' > /etc/rollcall/corp.zone",
			"dig @127.0.0.1 -p 5300 ns.corp.example", `10\.0\.0\.9`},
		{"DNSSEC", []string{"dig"}, "", "dig @127.0.0.1 -p 5300 +dnssec rollcall.service.rollcall.internal A", `RRSIG`},
		{"Secondaries", []string{"tsig-keygen", "dig"},
			"tsig-keygen transfer > /etc/rollcall/transfer.key\nip address add 10.0.0.2/32 dev lo",
			"dig -b 10.0.0.2 -k /etc/rollcall/transfer.key @127.0.0.1 -p 5300 rollcall.internal AXFR", `XFR size`},
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	played := 0
	for _, section := range sections {
		played += strings.Count(strings.Join(commandsOf(t, section.name), "\n"), "rollcall serve ")
		t.Run(section.name, section.play)
	}
	if all := strings.Count(string(text), "\n    rollcall serve --"); played != all {
		t.Errorf("%d of %d serves are run", played, all)
	}
}

// play runs a section's commands, a server in the background until it is healthy.
func (s readmeSection) play(t *testing.T) {
	for _, program := range s.programs {
		needs(t, program)
	}
	dir := t.TempDir()
	script := "set -e\nip link set lo up\nmount -t tmpfs none /etc\nmkdir /etc/rollcall\necho 127.0.0.1 localhost dns.example > /etc/hosts\n" + s.before + "\n"
	for _, command := range commandsOf(t, s.name) {
		switch {
		case strings.HasPrefix(command, "rollcall serve "):
			command = strings.Replace(command, "+TAG.", "+*.", 1) // the shell knows it
			script += command + " >server.log 2>&1 &\nserver=$!\n" +
				"until rollcall healthcheck >check.log 2>&1; do kill -0 $server || { cat server.log check.log; exit 1; }; sleep 0.05; done\n"
		case strings.HasPrefix(command, "kdig "): // web is not there, but it is to be answered
			script += "out=$(" + command + "); echo \"$out\"; echo \"$out\" | grep -q NXDOMAIN\n"
		default:
			script += command + "\n"
		}
	}
	script += "echo PROOF\n" + s.proof + "\nkill $server; wait $server\n"
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	shell := exec.CommandContext(ctx, "unshare", "-Urmnpf", "--kill-child", "--mount-proc", "sh", "-c", script)
	shell.Dir, shell.WaitDelay = dir, 10*time.Second
	shell.Env = append(os.Environ(), "HOME="+dir, "XDG_STATE_HOME=", "STATE_DIRECTORY=")
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	out, err := shell.CombinedOutput()
	_, proof, _ := strings.Cut(string(out), "\nPROOF\n")
	if strings.HasPrefix(string(out), "PROOF\n") {
		proof = string(out)
	}
	if err != nil || !regexp.MustCompile(s.want).MatchString(proof) {
		log, _ := os.ReadFile(filepath.Join(dir, "check.log"))
		t.Fatalf("%v\n%s\nthe script was\n%s\nthe server said\n%s", err, out, script, log)
	}
}
