//go:build packaging

package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/omnitron-dev/omnitron/cmd/cli"
	"github.com/omnitron-dev/omnitron/cmd/stay"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

func init() { packaging = writePackage }

// writePackage writes what a package has besides the program: the manual with a page a command, what shells complete, the unit.
func writePackage(dir string) error {
	root := cli.New(catalog.Specs(), environment())
	root.DisableAutoGenTag = true
	files := map[string][]byte{"omnitron.service": []byte(stay.Unit("system", "/usr/bin/omnitron", "/root/.omnitron", "/root"))}
	if err := manual(root, files); err != nil {
		return err
	}
	var bash, zsh, fish bytes.Buffer
	for _, err := range []error{root.GenBashCompletionV2(&bash, true), root.GenZshCompletion(&zsh), root.GenFishCompletion(&fish, true)} {
		if err != nil {
			return err
		}
	}
	files["completion/bash"], files["completion/zsh"], files["completion/fish"] = bash.Bytes(), zsh.Bytes(), fish.Bytes()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// manual adds the pages of a command and those below it, compressed as Debian wants them.
func manual(cmd *cobra.Command, files map[string][]byte) error {
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			if err := manual(c, files); err != nil {
				return err
			}
		}
	}
	// What is a placeholder for people would be HTML for the writer of the page.
	angles := strings.NewReplacer("<", "\\<", ">", "\\>")
	cmd.Long, cmd.Short = angles.Replace(cmd.Long), angles.Replace(cmd.Short)
	var page, packed bytes.Buffer
	if err := doc.GenMan(cmd, &doc.GenManHeader{Title: strings.ToUpper(strings.ReplaceAll(cmd.CommandPath(), " ", "-")), Section: "1", Source: "omnitron", Manual: "Omnitron"}, &page); err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(page.Bytes()); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	files["man/"+strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1.gz"] = packed.Bytes()
	return nil
}
