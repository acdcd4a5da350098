package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"
	"github.com/urfave/cli/v2"

	"github.com/rollcall-dns/rollcall/zones/dnssec"
)

func keygenCommand() *cli.Command {
	return &cli.Command{
		Name:      "keygen",
		Usage:     "make a key that signs a zone, for --dnssec-key",
		ArgsUsage: "ZONE",
		Description: "Writes the key to two files, KZONE+013+TAG.key and .private, in the format of BIND, and\n" +
			"prints the DS record that the zone above needs. A file that is there is never overwritten.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Value: ".", EnvVars: []string{"ROLLCALL_KEYGEN_DIR"}, TakesFile: true, Usage: "`DIRECTORY` to write the files to"},
		},
		Action: func(ctx *cli.Context) error {
			args, err := arguments(ctx, "ZONE")
			if err != nil {
				return err
			}
			if _, ok := dns.IsDomainName(args[0]); !ok || strings.ContainsAny(args[0], "/\\ \t") {
				return usageError(ctx, "%q is no zone's name", args[0])
			}
			key, err := writeKey(args[0], ctx.String("dir"))
			if err != nil {
				return err
			}
			fmt.Fprintln(ctx.App.Writer, key.DS())
			fmt.Fprintf(ctx.App.ErrWriter, "The key is in %s.private: name that in --dnssec-key, and keep it to yourself.\n", filepath.Join(ctx.String("dir"), key.Name()))
			return nil
		},
	}
}

// writeKey writes a new key of a zone. One whose tag another key has is thrown
// away: nobody could tell the two apart.
func writeKey(zone, dir string) (*dnssec.Key, error) {
	for range 10 {
		key, err := dnssec.Generate(zone)
		if err != nil {
			return nil, err
		}
		if err := key.Write(dir); !errors.Is(err, fs.ErrExist) {
			return key, err
		}
	}
	return nil, fmt.Errorf("%s has a key with each tag that was tried", dir)
}

// readKeys reads the keys that paths name. The error has a line for each that is
// wrong.
func readKeys(paths []string, logger *slog.Logger) (keys []*dnssec.Key, err error) {
	var mistakes []error
	for _, path := range paths {
		key, err := dnssec.ReadKey(path)
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		private := strings.TrimSuffix(strings.TrimSuffix(path, ".private"), ".key") + ".private"
		if info, err := os.Stat(private); err == nil && info.Mode().Perm()&0o007 != 0 && logger != nil {
			logger.Warn("everybody on this machine may read a private key", "file", private, "mode", info.Mode().Perm())
		}
		keys = append(keys, key)
	}
	return keys, errors.Join(mistakes...)
}
