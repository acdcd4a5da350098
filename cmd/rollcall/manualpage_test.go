package main

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// manualPage returns docs/rollcall.8: what the commands say of themselves, between what
// holds for all of them.
func manualPage(app *cli.App) string {
	var m manual
	m.printf(".\\\" Written by: go test ./cmd/rollcall -run Manual -update\n.TH ROLLCALL 8\n.nh\n.ad l\n") // names of variables stay whole
	m.section("NAME")
	m.printf("rollcall \\- %s\n", roff(app.Usage))
	m.section("SYNOPSIS")
	for n, command := range visibleCommands(app.Commands) {
		if n > 0 {
			m.printf(".br\n")
		}
		m.printf("%s\n", synopsis(command))
	}
	m.section("DESCRIPTION")
	m.text(manualDescription)
	m.section("COMMANDS")
	m.text("Flags may stand before or after the arguments. One that is repeatable may be given several times. Behind each stands " +
		"the environment variable that takes its place. Flags that several commands have are listed once, further down.")
	for _, command := range visibleCommands(app.Commands) {
		m.printf(".SS \"%s\"\n", strings.Join(strings.Fields("rollcall "+command.Name+" "+roff(command.ArgsUsage)), " "))
		m.text(strings.ToUpper(command.Usage[:1]) + command.Usage[1:] + ".")
		if command.Description != "" {
			m.text(command.Description)
		}
		m.flagsOf(command)
	}
	m.section("FLAGS OF SEVERAL COMMANDS")
	m.flags(shown(commonFlags()))
	for _, section := range manualSections {
		m.section(section.title)
		m.text(section.before)
		for _, entry := range section.entries {
			m.printf(".TP\n%s\n%s\n", marked(entry[0]), marked(entry[1]))
		}
	}
	m.section("EXAMPLES")
	m.text(manualExamples)
	m.section("SEE ALSO")
	m.printf(".BR dig (1),\n.BR resolv.conf (5),\n.BR systemd.service (5)\n.PP\n")
	m.text("https://github.com/rollcall-dns/rollcall has pages on names, HTTP, operation, Consul and other programs.")
	return m.String()
}

const manualDescription = `rollcall answers DNS queries for services. They register over HTTP, rollcall checks that they are well, and whoever can ask DNS finds the healthy ones, as in

   dig @127.0.0.1 -p 5300 web.service.rollcall.internal SRV

` + "`serve` runs the server, alone on a registry on disk, or in front of a Consul cluster. The other commands speak to a running one over HTTP, and " + "`query` over DNS, too." + `

What commands print for programs goes to standard output, all else to standard error.`

const manualExamples = `A server that forgets what it is told, to try things out, and one in front of Consul:

   rollcall serve --memory
   rollcall serve --registry consul

A service, with a check of its page, and how it is found:

   rollcall register web --port 8000 --tag blue --check http://127.0.0.1:8000/
   rollcall instances web
   rollcall query web SRV --explain

A machine is taken out of the answers for two hours:

   rollcall maintenance --node --for 2h --reason 'a new disk'

A configuration is looked at before it is in force:

   rollcall check-config --print /etc/rollcall/rollcall.yaml && rollcall reload

All that is registered, for another rollcall:

   rollcall export > registry.jsonl
   rollcall import registry.jsonl --api http://10.0.0.2:5380`

// manualSections are lists of what the commands have in common.
var manualSections = []struct {
	title, before string
	entries       [][2]string
}{
	{"ENVIRONMENT", "Flags overrule the environment, that overrules the configuration file, and the file the defaults. Beside the variables of flags there are", [][2]string{
		{"`CONSUL_HTTP_ADDR`, `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE`, `CONSUL_CACERT`, `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY`, `CONSUL_TLS_SERVER_NAME`", "Consul's own, for --registry consul, and for export and import from and to Consul."},
		{"`STATE_DIRECTORY`, `XDG_STATE_HOME`", "Where the registry is kept without --data-dir: in the first, or in rollcall in the second."},
		{"`LISTEN_FDS`, `NOTIFY_SOCKET`, `WATCHDOG_USEC`", "Of systemd: sockets that it has opened, and where to say that rollcall is ready and alive."},
		{"`OTEL_EXPORTER_OTLP_ENDPOINT`", "Where traces go, with the other variables of OpenTelemetry; without it there are none."},
	}},
	{"EXIT STATUS", "", [][2]string{
		{"`0`", "All went well. serve: it was told to end."},
		{"`1`", "A failure that is none of those below."},
		{"`2`", "A mistake on the command line."},
		{"`3`", "What was asked for is not there."},
		{"`69`", "No rollcall answers. For healthcheck that is 1."},
		{"`78`", "A mistake in the configuration. The unit of systemd does not start serve again after it."},
	}},
	{"SIGNALS", "serve takes", [][2]string{
		{"`SIGTERM`, `SIGINT`", "/readyz says no for the time of --drain; then what has come is answered, and serve ends. A second one ends it at once."},
		{"`SIGHUP`", "The configuration, tokens, zone files and keys are read anew. With a mistake in them all stays as it was."},
		{"`SIGUSR1`", "What is answered from is written to the log: how much there is, and the worst services."},
	}},
	{"FILES", "", [][2]string{
		{"~/.local/state/rollcall/registry.db", "What is registered, where nothing else is said. Beside it lie two copies, registry.db.backup and an older one: the newest takes the place of a file that is damaged."},
		{"/etc/rollcall/rollcall.yaml", "The configuration file of the unit; --config names another. Its keys are the names of the flags of serve."},
		{"/var/lib/rollcall", "The unit's directory of the registry."},
		{"KZONE+013+TAG.key, KZONE+013+TAG.private", "A key that signs a zone, as keygen makes it."},
	}},
}

// manual is a page in the language of troff.
type manual struct{ strings.Builder }

func (m *manual) printf(format string, args ...any) { fmt.Fprintf(m, format, args...) }

func (m *manual) section(title string) { m.printf(".SH \"%s\"\n", title) }

// text writes paragraphs; those with space before them are left as they are, as commands and
// tables are.
func (m *manual) text(text string) {
	for paragraph := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		switch {
		case paragraph == "":
		case strings.HasPrefix(paragraph, " "):
			m.printf(".PP\n.RS\n.nf\n")
			for line := range strings.SplitSeq(paragraph, "\n") {
				m.printf("%s\n", roff(strings.TrimPrefix(line, "   ")))
			}
			m.printf(".fi\n.RE\n")
		default:
			m.printf(".PP\n%s\n", marked(paragraph))
		}
	}
}

// commonFlags are those that many commands have.
func commonFlags() []cli.Flag { return withAPI(withOutput()...) }

// flagsOf writes the flags of a command: those that others have, too, by their names alone.
func (m *manual) flagsOf(command *cli.Command) {
	var own, common []cli.DocGenerationFlag
	ofServe := false
	for _, f := range shown(command.Flags) {
		name := f.Names()[0]
		switch {
		case flagCalled(commonFlags(), name) != nil:
			common = append(common, f)
		case command.Name == "check-config" && flagCalled(serveCommand().Flags, name) != nil:
			ofServe = true
		default:
			own = append(own, f)
		}
	}
	m.flags(own)
	if ofServe {
		m.text("And the flags of serve.")
	}
	if len(common) > 0 {
		var names []string
		for _, f := range common {
			names = append(names, "`--"+f.Names()[0]+"`")
		}
		m.text("And " + strings.Join(names, ", ") + ".")
	}
}

// shown returns the flags that help shows.
func shown(all []cli.Flag) (flags []cli.DocGenerationFlag) {
	for _, f := range all {
		if hidden, ok := f.(cli.VisibleFlag); !ok || hidden.IsVisible() {
			flags = append(flags, f.(cli.DocGenerationFlag))
		}
	}
	return flags
}

// flags writes flags, by their categories where they have any.
func (m *manual) flags(flags []cli.DocGenerationFlag) {
	category := func(f cli.DocGenerationFlag) string { return f.(cli.CategorizableFlag).GetCategory() }
	slices.SortStableFunc(flags, func(a, b cli.DocGenerationFlag) int { return cmp.Compare(category(a), category(b)) })
	before := ""
	for _, f := range flags {
		if c := category(f); c != before {
			m.printf(".PP\n\\fI%s\\fR\n", roff(c))
			before = c
		}
		placeholder, usage := "", f.GetUsage()
		if name := regexp.MustCompile("`([^`]+)`").FindStringSubmatch(usage); name != nil {
			placeholder, usage = name[1], strings.Replace(usage, name[0], name[1], 1)
		} else if f.TakesValue() {
			placeholder = "VALUE"
		}
		var names []string
		for _, name := range f.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			names = append(names, `\fB`+roff(dashes+name)+`\fR`)
		}
		if placeholder != "" {
			names[len(names)-1] += ` \fI` + roff(placeholder) + `\fR`
		}
		usage = strings.ToUpper(usage[:1]) + usage[1:]
		if text := cmp.Or(f.GetDefaultText(), f.GetValue()); f.TakesValue() && text != "" && text != `""` {
			usage += " (default: " + strings.Trim(text, `"`) + ")"
		}
		text := roff(usage) + "."
		for _, variable := range f.GetEnvVars() {
			text += ` \fB` + roff(variable) + `\fR`
		}
		m.printf(".TP\n%s\n%s\n", strings.Join(names, ", "), text)
	}
}

// synopsis is a command's line.
func synopsis(command *cli.Command) string {
	line := `\fBrollcall ` + roff(command.Name) + `\fR`
	if len(command.Flags) > 0 {
		line += ` [\fIFLAG\fR]...`
	}
	if command.ArgsUsage != "" {
		line += ` \fI` + roff(command.ArgsUsage) + `\fR`
	}
	return line
}

func visibleCommands(commands []*cli.Command) []*cli.Command {
	return slices.DeleteFunc(slices.Clone(commands), func(c *cli.Command) bool { return c.Hidden })
}

// marked is text in which backquotes set off what is typed.
func marked(text string) string {
	return regexp.MustCompile("`([^`]*)`").ReplaceAllString(roff(text), `\fB$1\fR`)
}

// roff is text that means nothing to troff.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(text)
	return regexp.MustCompile(`(?m)^([.'])`).ReplaceAllString(text, `\&$1`)
}
