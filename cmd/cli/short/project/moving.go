package project

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/imports"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/source"
	"github.com/omnitron-dev/omnitron/core/sample"
	"github.com/spf13/cobra"
)

// move is what init and import have in common.
type move struct {
	*session.Session
	write, strict bool
	from          string
}

func (m *move) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&m.write, "write", false, "write ./omnitron.yaml; one that is there is never overwritten")
	cmd.Flags().BoolVar(&m.strict, "strict", false, "fail when anything did not come over")
}

// Init makes an omnitron.yaml of what the folder has.
func Init(s *session.Session) *cobra.Command {
	m := &move{Session: s}
	cmd := &cobra.Command{
		Use: "init", Short: "Make an omnitron.yaml of what this folder has",
		Long: `Print an omnitron.yaml made of the first of these that the folder has:
  ` + strings.Join(imports.Found, "\n  ") + `
The file goes to standard output, the report to standard error. Nothing of the project is run.
Local: no method.`,
		Example: "  omnitron init\n  omnitron init --write && omnitron up",
		Args:    method.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return m.init(cmd) },
	}
	m.flags(cmd)
	return cmd
}

// Import makes an omnitron.yaml of files that are named.
func Import(s *session.Session) *cobra.Command {
	m := &move{Session: s}
	var kinds strings.Builder
	for _, f := range imports.Formats() {
		fmt.Fprintf(&kinds, "  %-16s %s\n", f[0], f[1])
	}
	cmd := &cobra.Command{
		Use: "import [file…]", Short: "Make an omnitron.yaml of another supervisor's files",
		Long: `Print an omnitron.yaml made of the files of another supervisor; with --from and no file, of standard input. What they are is told by
their names, or by --from:
` + kinds.String() + `
The file goes to standard output, the report to standard error: what came over, what is not quite the same, and what did not come
over, each with its line and the reason. Nothing of the project is run.
Local: no method.`,
		Example: "  omnitron import Procfile > omnitron.yaml\n  omnitron import --write supervisord.conf\n  pm2 jlist | omnitron import --from pm2",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && m.from == "" {
				return fault.New(fault.Invalid, "%s needs <file>", cmd.CommandPath()).WithReason("missing_argument").WithHint("%s --help", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return m.importFiles(cmd, args) },
	}
	m.flags(cmd)
	cmd.Flags().StringVar(&m.from, "from", "", "what the files are: `format`")
	var names []string
	for _, f := range imports.Formats() {
		names = append(names, f[0])
	}
	_ = cmd.RegisterFlagCompletionFunc("from", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	return cmd
}

func (m *move) world() imports.World {
	sampler := sample.New()
	return imports.World{
		Dir: m.Dir, Home: m.Getenv("HOME"), Read: config.ReadFile, Glob: filepath.Glob,
		Listening: func(pid int) (ports []int) {
			for _, p := range sampler.Listening([]int{pid}) {
				ports = append(ports, int(p.Address.Port()))
			}
			return ports
		},
	}
}

// free refuses where an omnitron.yaml is already, which would be left alone.
func (m *move) free() error {
	for _, name := range []string{"omnitron.yaml", "omnitron.yml"} {
		if _, err := os.Lstat(filepath.Join(m.Dir, name)); err == nil {
			return fault.New(fault.Conflict, "there is %s already, and it is not overwritten", filepath.Join(m.Dir, name)).WithReason("import_exists").
				WithHint("move it away, or leave --write out to see the new one")
		}
	}
	return nil
}

func (m *move) init(cmd *cobra.Command) error {
	if m.write {
		if err := m.free(); err != nil {
			return err
		}
	}
	files, others, err := imports.Look(m.world())
	if err != nil {
		return err
	}
	if len(others) > 0 {
		m.Note("made of %s; there is also %s: omnitron import takes files by name", filepath.Base(files[0].Path), strings.Join(others, ", "))
	}
	return m.make(cmd, files)
}

func (m *move) importFiles(cmd *cobra.Command, args []string) error {
	if m.write {
		if err := m.free(); err != nil {
			return err
		}
	}
	var files []config.File
	if len(args) == 0 {
		args = []string{"-"}
	}
	for _, arg := range args {
		file := config.File{Path: filepath.Join(m.Dir, "-")}
		var err error
		if arg == "-" {
			var text []byte
			text, err = io.ReadAll(io.LimitReader(m.Stdin, source.MaxBytes+1))
			file.Text = string(text)
		} else {
			if file.Path = arg; !filepath.IsAbs(arg) {
				file.Path = filepath.Join(m.Dir, arg)
			}
			file.Text, err = config.ReadFile(file.Path)
		}
		if err != nil {
			code := fault.Invalid
			if errors.Is(err, fs.ErrNotExist) {
				code = fault.NotFound
			}
			return fault.New(code, "cannot read what is to be imported: %v", err).WithReason("config_unreadable")
		}
		files = append(files, file)
	}
	return m.make(cmd, files)
}

func (m *move) make(cmd *cobra.Command, files []config.File) error {
	r, err := imports.Import(m.world(), m.from, files...)
	if err != nil {
		return err
	}
	lossy := m.strict && len(r.Left) > 0
	if m.write && !lossy {
		if err := m.save(r); err != nil {
			return err
		}
	}
	if lossy {
		m.report(r)
		return fault.New(fault.Failed, "%d not carried over", len(r.Left)).WithReason("import_lossy").WithHint("without --strict the file is written all the same")
	}
	return m.ShowValue(cmd.Context(), r, func(o render.Options) {
		if r.Written == "" {
			fmt.Fprint(m.Stdout, r.YAML)
		}
		m.report(r)
	})
}

// save writes the file, unless somebody else has meanwhile.
func (m *move) save(r *imports.Result) error {
	path := filepath.Join(m.Dir, "omnitron.yaml")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return m.free()
	}
	if err == nil {
		_, err = io.WriteString(f, r.YAML)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fault.New(fault.Conflict, "cannot write %s: %v", path, err).WithReason("import_not_written")
	}
	r.Written = path
	return nil
}

// report tells a person what has become of the files.
func (m *move) report(r *imports.Result) {
	m.Note("read %s", render.Escape(strings.Join(r.Sources, ", ")))
	m.Note("%s; carried over %d, changed %d, not carried over %d", apps(r.Apps), r.Carried, len(r.Changed), len(r.Left))
	for _, part := range []struct {
		title string
		notes []draft.Note
	}{{"changed", r.Changed}, {"not carried over", r.Left}} {
		if len(part.notes) > 0 {
			m.Note("\n%s:", part.title)
		}
		for _, n := range part.notes {
			what := n.What
			if n.App != "" && n.App != n.What {
				what = n.App + ": " + what
			}
			m.Note("  %s %s: %s", render.Escape(n.Where), render.Escape(what), render.Escape(n.Why))
		}
	}
	if r.Written != "" {
		m.Note("\nwrote %s; next: omnitron up", render.Escape(r.Written))
	}
}
