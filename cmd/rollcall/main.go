// Command rollcall is a DNS server for service discovery, and the client to its
// HTTP interface. Each command is a file of its own: serve.go runs the server,
// which server.go puts together out of the other packages; the others ask a
// running one.
//
// Nothing is decided here that a package could decide; what lives here is the
// command line: flags, environment, configuration file, signals, tables and
// exit codes. Standard output is for data, standard error for everything else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

func main() {
	os.Exit(run(context.Background(), os.Args))
}

// run does what the arguments say and returns the exit code.
func run(ctx context.Context, args []string) int {
	app := newApp()
	out := &standardOutput{file: os.Stdout}
	app.Writer = out
	args, err := reorder(app, args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	if out.err != nil {
		err = fail(exitFailure, "standard output: %w", out.err)
	}
	if err != nil {
		fmt.Fprintln(app.ErrWriter, "rollcall:", err)
	}
	return exitCode(err)
}

// standardOutput keeps the first error of writing to it. What prints help and text
// looks at none, and a command whose data went nowhere must not end well.
type standardOutput struct {
	file *os.File
	err  error
}

// Stat tells whether it is a terminal.
func (o *standardOutput) Stat() (os.FileInfo, error) { return o.file.Stat() }

func (o *standardOutput) Write(text []byte) (int, error) {
	n, err := o.file.Write(text)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

func newApp() *cli.App {
	app := &cli.App{
		Name:  "rollcall",
		Usage: "a DNS server for service discovery",
		UsageText: "rollcall [FLAG]... COMMAND [FLAG]... [ARGUMENT]...\n\n" +
			"Before the command may stand those of its flags that many commands have:\n" +
			strings.Join(flagNames(common.Flags, "--"), ", "),
		Version: buildVersion().String(),
		Commands: []*cli.Command{
			serveCommand(), reloadCommand(), showCommand(), checkConfigCommand(), configSchemaCommand(),
			registerCommand(), deregisterCommand(), maintenanceCommand(),
			servicesCommand(), instancesCommand(), watchCommand(), topCommand(), queryCommand(),
			exportCommand(), importCommand(), backupCommand(), keygenCommand(), healthcheckCommand(),
			completionCommand(), completeCommand(), versionCommand(),
		},
		Action:                    unknownCommand,
		HideHelpCommand:           true, // reorder turns `help X` into `X --help`
		DisableSliceFlagSeparator: true, // a tag or a piece of metadata may hold a comma
		Writer:                    os.Stdout,
		ErrWriter:                 os.Stderr,
		ExitErrHandler:            func(*cli.Context, error) {}, // run handles them
		OnUsageError:              explainUsage,
	}
	nameVariables(app.Commands)
	for _, command := range app.Commands {
		command.HideHelpCommand = true // or no service could be called "help"
		command.OnUsageError = explainUsage
	}
	return app
}

// unknownCommand is what happens without a command that we know.
func unknownCommand(ctx *cli.Context) error {
	name := ctx.Args().First()
	if name == "" {
		return cli.ShowAppHelp(ctx)
	}
	return fail(exitUsage, "there is no command %q%s; see rollcall --help", name, didYouMean(name, commandNames(ctx.App.Commands)))
}

// explainUsage says in one line what is wrong with the flags.
func explainUsage(ctx *cli.Context, err error, _ bool) error {
	text := explainValue(ctx.Command.Flags, err.Error())
	if name, unknown := strings.CutPrefix(text, "flag provided but not defined: -"); unknown {
		if name = strings.TrimPrefix(name, "-"); len(name) == 1 {
			name = "-" + name
		} else {
			name = "--" + name
		}
		text = "there is no flag " + name + didYouMean(name, flagNames(ctx.Command.Flags, "--"))
	}
	return usageError(ctx, "%s", text)
}

// usageError is an error in what the user typed.
func usageError(ctx *cli.Context, format string, args ...any) error {
	name := strings.TrimSpace("rollcall " + strings.TrimPrefix(ctx.Command.Name, "rollcall"))
	return fail(exitUsage, "%s; see %s --help", fmt.Sprintf(format, args...), name)
}

// arguments returns the command's arguments, one for each name. Those whose
// name is in brackets may be missing, and are empty then.
func arguments(ctx *cli.Context, names ...string) ([]string, error) {
	given := ctx.Args().Slice()
	for i, name := range names {
		if i >= len(given) && !strings.HasPrefix(name, "[") || i < len(given) && given[i] == "" {
			return nil, usageError(ctx, "%s is missing", strings.Trim(name, "[]"))
		}
	}
	if len(given) > len(names) {
		return nil, usageError(ctx, "%q is one argument too many", given[len(names)])
	}
	return append(given, make([]string, len(names)-len(given))...), nil
}

// The exit codes, beside 0. The last two are those of sysexits.h.
const (
	exitFailure     = 1
	exitUsage       = 2  // the command line is wrong
	exitNotFound    = 3  // what was asked for is not there
	exitUnreachable = 69 // no rollcall answers
	exitConfig      = 78 // the configuration file is wrong
)

// failure is an error that knows the exit code it leads to.
type failure struct {
	code int
	err  error
}

func fail(code int, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...)}
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

func exitCode(err error) int {
	var f *failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f):
		return f.code
	}
	return exitFailure
}

// closing closes c and reports its error where there is no other.
func closing(c io.Closer, err *error) {
	if closeErr := c.Close(); *err == nil {
		*err = closeErr
	}
}
