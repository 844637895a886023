package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/omnitron-dev/omnitron/cmd/cli"
	"github.com/omnitron-dev/omnitron/core/proc/proctest"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// extended is the name under which the test binary is omnitron with one service more.
const extended = "omnitron-extended"

// TestMain makes the test binary omnitron itself, keeper and daemon included, when it runs under another name.
func TestMain(m *testing.M) {
	if exe, err := os.Executable(); err == nil && filepath.Base(exe) == extended {
		catalog.Services = append(catalog.Services, moons{})
		main()
	}
	os.Exit(proctest.Main(m.Run))
}

// TestCommandsPage: docs/cli.md is what the binary says of itself, with every command and flag that it takes.
func TestCommandsPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	page, root := string(text), cli.New(catalog.Specs(), environment())
	if page != cli.Reference(root) {
		t.Error("docs/cli.md is stale; run make docs and commit what it wrote")
	}
	_, common, _ := strings.Cut(page, "\n## Flags\n")
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		_, section, found := strings.Cut(page, "\n## "+cmd.CommandPath()+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		if !found {
			t.Errorf("nothing of %s", cmd.CommandPath())
		}
		said := func(f *pflag.Flag) {
			where := section
			if root.PersistentFlags().Lookup(f.Name) == f {
				where = common
			}
			if !strings.Contains(where, "--"+f.Name+" ") || f.Shorthand != "" && !strings.Contains(where, "-"+f.Shorthand+", ") {
				t.Errorf("nothing of --%s of %s", f.Name, cmd.CommandPath())
			}
		}
		cmd.LocalFlags().VisitAll(said)
		cmd.InheritedFlags().VisitAll(said)
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				walk(c)
			}
		}
	}
	walk(root)
	for _, named := range []string{"omnitron up", "omnitron down", "omnitron wait", "omnitron mcp config", "omnitron kill", "omnitron completion", "omnitron daemon run"} {
		if !strings.Contains(page, "\n## "+named+"\n") {
			t.Errorf("nothing of %s", named)
		}
	}
}
