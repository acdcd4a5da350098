package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/rollcall-dns/rollcall/registry/embedded"
)

func backupCommand() *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "copy all that is registered with a running rollcall to a file",
		ArgsUsage: "FILE",
		Description: "Registrations go on meanwhile. The copy is read back before it takes FILE's place.\n" +
			"To restore it, stop rollcall, put it into an empty data directory as\n" +
			"registry.db.backup, and start rollcall: it says in its log what it has restored.",
		Flags: withAPI(),
		Action: func(ctx *cli.Context) error {
			args, err := arguments(ctx, "FILE")
			if err != nil {
				return err
			}
			if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
				return usageError(ctx, "FILE: %s is a directory", args[0])
			}
			if _, err := os.Stat(filepath.Dir(args[0])); err != nil {
				return usageError(ctx, "FILE: %v", err)
			}
			c, err := newClient(ctx)
			if err != nil {
				return err
			}
			instances, err := c.backup(ctx.Context, args[0])
			if err == nil {
				fmt.Fprintf(ctx.App.ErrWriter, "rollcall: %s holds %s\n", args[0], several(instances, "instance"))
			}
			return err
		},
	}
}

// backup writes a backup to a file, whole or not at all, and returns how many
// instances it has.
func (c *client) backup(ctx context.Context, path string) (instances int, err error) {
	err = c.stream(ctx, "/v1/backup", nil, func(body io.Reader) (err error) {
		instances, err = keep(body, path)
		return err
	})
	return instances, err
}

// keep writes a backup to a file.
func keep(backup io.Reader, path string) (instances int, err error) {
	fresh := path + ".new"
	file, err := os.OpenFile(fresh, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, fmt.Errorf("writing %s, which is to replace %s: %w", fresh, path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(fresh))
		}
	}()
	_, err = io.Copy(file, backup)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return 0, fmt.Errorf("copying to %s: %w", fresh, err)
	}
	if instances, err = embedded.ReadBackup(fresh); err != nil {
		return 0, err
	}
	return instances, os.Rename(fresh, path)
}
